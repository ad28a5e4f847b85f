"""`prepare`: the same cache from every form of the same pictures, and no surprise from bad ones."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight.data.cache import Cache, open_data
from safelight.data.prepare import prepare
from safelight.data.writer import ImageWriter
from safelight.errors import UserError
from safelight.starting import run_folder
from tests.data.conftest import MakeFolder, encoded, noise, smooth, zipped
from tests.data.forms import tarred


def test_the_same_from_folder_and_zip_and_with_any_number_of_workers(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight.data.parts.FEW_FILES", 1)
    monkeypatch.setattr("safelight.data.workers.BATCH_FILES", 7)
    folder = make_folder(a=20, b=31)
    (folder / "b" / "img7.png").write_bytes(b"no picture")
    zipped(folder, tmp_path / "plain.zip")
    zipped(folder, tmp_path / "enclosed.zip", "enclosing/")
    sources = [(folder, 1), (folder, 2), (folder, 5)]
    sources += [(tmp_path / "plain.zip", 1), (tmp_path / "enclosed.zip", 3)]
    caches = [
        prepare(source, size=12, out=tmp_path / f"out{i}", workers=workers)
        for i, (source, workers) in enumerate(sources)
    ]
    assert caches[0].count == 50
    assert len({cache.fingerprint for cache in caches}) == 1
    assert len({cache.meta.hashes["images"] for cache in caches}) == 1
    assert [r.file for r in caches[2].meta.rejected] == ["b/img7.png"]
    assert [r.file for r in caches[4].meta.rejected] == ["enclosing/b/img7.png"]


def test_other_pictures_or_splits_have_other_fingerprints(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder(a=20, b=20)
    caches = [
        prepare(folder, out=tmp_path / "0"),
        prepare(folder, out=tmp_path / "1", seed=1),
        prepare(folder, out=tmp_path / "2", size=8),
        prepare(folder, out=tmp_path / "3", labels="none"),
    ]
    prints = {cache.fingerprint for cache in caches}
    prints |= {caches[0].subset(split).fingerprint for split in ("train", "validation", "test")}
    assert len(prints) == 7


def test_grey_stays_one_channel_until_a_colour_picture_comes(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder(mode="L", a=400)
    grey = prepare(folder, out=tmp_path / "grey")
    assert grey.shape == (1, 16, 16)
    forced = prepare(folder, out=tmp_path / "rgb", channels="rgb")
    noise(1).save(folder / "a" / "zz.png")
    mixed = prepare(folder, out=tmp_path / "mixed")
    assert mixed.shape == forced.shape == (3, 16, 16)
    expected = grey.read(np.arange(400)).repeat(3, axis=1)
    assert (forced.read(np.arange(400)) == expected).all()
    assert (mixed.read(np.arange(400)) == expected).all()
    mixed.verify()
    back = prepare(folder, out=tmp_path / "back", channels="grey")
    assert (back.read(np.arange(400)) == grey.read(np.arange(400))).all()
    last = np.asarray(noise(1).convert("L"))
    assert (back.read(np.array([400]))[0, 0] == last).all()


def test_large_pictures_are_widened_in_little_memory(tmp_path: Path) -> None:
    """24 grey pictures of 1024x1024 are 24 MB, and 72 in colour."""
    side = 1024
    with ImageWriter(tmp_path / "images.npy", (side, side)) as writer:
        for i in range(24):
            writer.append(np.full((1, 1, side, side), i, np.uint8))
        tracemalloc.start()
        writer.append(np.full((1, 3, side, side), 24, np.uint8))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert writer.read(np.arange(25))[:, 2, -1, -1].tolist() == list(range(25))
    assert peak < 40 * 10**6


def test_run_again_does_nothing_until_something_changes(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = make_folder(a=20), tmp_path / "out"
    first = prepare(folder, out=out)
    made = (out / "meta.json").stat().st_mtime_ns
    assert prepare(folder, out=out).fingerprint == first.fingerprint
    assert (out / "meta.json").stat().st_mtime_ns == made
    assert "nothing to prepare" in capsys.readouterr().err
    noise(77).save(folder / "a" / "new.png")
    assert prepare(folder, out=out).count == 21
    assert "have changed" in capsys.readouterr().err
    (folder / "a" / "new.png").unlink()
    assert prepare(folder, out=out).fingerprint == first.fingerprint


def test_a_cache_made_otherwise_is_not_overwritten(make_folder: MakeFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(make_folder(a=20), out=out)
    before = (out / "images.npy").read_bytes()
    with pytest.raises(UserError, match=r"--size was not given and is 8 now.*another --out"):
        prepare(tmp_path / "pictures", size=8, out=out)
    with pytest.raises(UserError, match="source was .*pictures and is .*others now"):
        prepare(make_folder("others", a=21), out=out)
    assert (out / "images.npy").read_bytes() == before


def test_no_folder_of_the_users_is_overwritten(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(a=20)
    for out in (folder, folder / "a", folder / "a" / "img0.png"):
        with pytest.raises(UserError, match="holds something else|cannot create"):
            prepare(folder, out=out)
    prepare(folder, out=tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        prepare(folder, out=tmp_path / "out")
    assert len(list(folder.rglob("*.png"))) == 20
    (tmp_path / "empty").mkdir()
    assert prepare(folder, out=tmp_path / "empty").count == 20


def test_a_damaged_cache_is_prepared_again_as_its_error_says(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder, out = make_folder(a=20), tmp_path / "out"
    whole = prepare(folder, out=out).fingerprint
    for name in ("images.npy", "labels.npy", "splits.npy", "meta.json"):
        data = (out / name).read_bytes()
        (out / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match="safelight prepare"):
            Cache.open(out)
        assert prepare(folder, out=out).fingerprint == whole
        (out / name).unlink()
        assert prepare(folder, out=out).fingerprint == whole


def test_bad_files_are_listed_and_the_rest_goes_on(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(a=20, b=20)
    (folder / "a" / "text.jpg").write_text("no picture")
    (folder / "a" / "zero.png").write_bytes(b"")
    (folder / "b" / "zero.png").write_bytes(b"")
    noise(1, (1, 5000)).save(folder / "b" / "long.png")
    (folder / "b" / "notes.txt").write_text("")
    (folder / ".hidden.png").write_text("")
    cache = prepare(folder, size=16, out=tmp_path / "out")
    assert cache.count == 40
    record = json.loads((tmp_path / "out" / "meta.json").read_text(encoding="utf-8"))
    assert {entry["file"]: entry["reason"] for entry in record["rejected"]} == {
        "a/text.jpg": "not a picture in a format that can be read",
        "a/zero.png": "empty file",
        "b/zero.png": "empty file",
        "b/long.png": "of 1x5000 less than a tenth would show in 16x16",
    }
    assert record["ignored"] == {".txt": 1}
    assert record["left_aside"] == ["b/notes.txt"]
    said = capsys.readouterr().out
    assert "4 left out (named in " in said
    assert "2: empty file (such as a/zero.png)" in said
    assert "1 left aside for their endings (named in " in said
    assert "1 text (.txt)" in said


def test_sizes(make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(a=20)
    noise(3, (40, 40)).save(folder / "a" / "large.png")
    with pytest.raises(UserError, match=r"different sizes \(16x16, 40x40\).*--size 64"):
        prepare(folder, out=tmp_path / "out")
    cache = prepare(folder, size=32, out=tmp_path / "out")
    assert cache.meta.enlarged == 20
    assert "20 smaller than 32x32, enlarged" in capsys.readouterr().out
    wide = tmp_path / "wide"
    wide.mkdir()
    for i in range(4):
        noise(i, (20, 16)).save(wide / f"{i}.png")
    kept = prepare(wide, out=tmp_path / "wide-out")
    assert kept.shape == (3, 16, 20)
    assert (kept.read(np.arange(4))[2] == np.asarray(noise(2, (20, 16))).transpose(2, 0, 1)).all()
    for size in (0, -3, 5000, "4x", "x4", "32x0", "a", (3, 4, 5)):
        with pytest.raises(UserError, match="--size: .* is no size: give the side in pixels"):
            prepare(folder, size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("archived", [False, True])
def test_a_damaged_first_picture_does_not_give_the_size(
    archived: bool, make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Its header says 40x40, and there is no more of it."""
    folder = make_folder(a=20)
    (folder / "a" / "a first.png").write_bytes(encoded(noise(1, (40, 40)))[:2000])
    source = tarred(folder, tmp_path / "a.tar.gz", "w:gz") if archived else folder
    cache = prepare(source, out=tmp_path / "out")
    assert (cache.shape, cache.count) == ((3, 16, 16), 20)
    assert [rejected.file for rejected in cache.meta.rejected] == ["a/a first.png"]


@pytest.mark.parametrize("workers", [0, -3])
def test_no_processes_to_decode(workers: int, make_folder: MakeFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"by {workers} processes; give --workers 1 or more"):
        prepare(make_folder(a=20), out=tmp_path / "out", workers=workers)


def test_originals_are_written_down(make_folder: MakeFolder, tmp_path: Path) -> None:
    """F11: the name and the own size of each picture, in the order of the cache and of a split."""
    folder = make_folder(a=9, b=9)
    noise(1, (20, 30)).save(folder / "a" / "line\nend.png")
    cache = prepare(folder, size=16, out=tmp_path / "out")
    names, sizes = cache.file_names(), cache.own_sizes()
    assert names is not None
    assert sizes is not None
    assert (len(names), sizes.shape) == (19, (19, 2))
    assert sizes[names.index("a/line end.png")].tolist() == [20, 30]
    assert (sizes == [16, 16]).all(1).sum() == 18
    test = cache.subset("test")
    where = np.flatnonzero(np.load(cache.path / "splits.npy") == 2)
    assert test.file_names() == [names[i] for i in where]
    for i, name in enumerate(names):
        if "img" in name:
            seed = int(name.removesuffix(".png").rpartition("img")[2]) + 1000 * (name[0] == "b")
            assert (
                cache.read(np.array([i]))[0] == np.asarray(noise(seed)).transpose(2, 0, 1)
            ).all()


def test_wide_and_high(tmp_path: Path) -> None:
    """24x16 is 24 wide and 16 high, cut out of the middle; of pictures on their side too."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    smooth((96, 96)).save(folder / "0.png")
    smooth((64, 200)).transpose(Image.Transpose.ROTATE_90).save(folder / "1.png", exif=exif)
    smooth((64, 200)).save(folder / "2.png")
    cache = prepare(folder, size="24x16", split="100/0/0", out=tmp_path / "out")
    assert (cache.shape, cache.meta.size) == ((3, 16, 24), (24, 16))
    first, turned, upright = cache.read(np.arange(3))
    expected = smooth((96, 96)).resize((24, 16), Image.Resampling.LANCZOS, box=(0, 16, 96, 80))
    assert (first == np.asarray(expected).transpose(2, 0, 1)).all()
    # Turning commutes with the filter but for its rounding between the two passes.
    assert np.abs(turned.astype(int) - upright).max() <= 1
    with pytest.raises(UserError, match="holds 24x16 pictures, not 24x24; .* --size 24"):
        open_data(cache.path, size=24)


def test_what_is_not_there(tmp_path: Path, make_folder: MakeFolder) -> None:
    with pytest.raises(
        UserError, match="no folder, file or named set 'nowhere'; .* such as digits"
    ):
        prepare("nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no pictures in .*empty; give"):
        prepare(empty)
    (empty / "a.txt").write_text("")
    (empty / "b.mp4").write_text("")
    with pytest.raises(UserError, match=r"among its 2 files \(by ending: 1 \.\w+, 1 \.\w+\)"):
        prepare(empty)
    (empty / "c.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"none of the 1 files .* c\.jpg: not a picture"):
        prepare(empty)
    with pytest.raises(UserError, match=r"none of the 1 files .* c\.jpg: not a picture"):
        prepare(empty, size=8)
    with pytest.raises(UserError, match=r"1 picture is too few to split.*--split 100/0/0"):
        prepare(make_folder(a=1))
    with pytest.raises(UserError, match=r"c\.jpg is a picture; give the folder"):
        prepare(empty / "c.jpg")
    (empty / "c.zip").write_text("no archive")
    with pytest.raises(UserError, match="cannot be read as a zip"):
        prepare(empty / "c.zip")


def test_names_of_all_kinds(make_folder: MakeFolder, tmp_path: Path) -> None:
    names = ["mit Leerzeichen", 'it\'s "quoted"', "砂漠", "été", "[1] {x}", "-rf", "a;b&c"]
    folder = make_folder(**dict.fromkeys(names, 4))
    for name in names:
        (folder / name / "img0.png").rename(folder / name / f"{name} 0.png")
    cache = prepare(folder, out=tmp_path / "aus gabe's")
    assert sorted(cache.classes) == sorted(names)
    packed = zipped(folder, tmp_path / "砂 漠's.zip")
    assert prepare(packed, out=tmp_path / "zip").fingerprint == cache.fingerprint
    again = open_data(f"{tmp_path}/aus gabe's:test")
    assert again.count == cache.subset("test").count


def test_a_name_that_is_no_text(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(a=12)
    try:
        (folder / "b\udcff").mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this disk takes no such names")
    for i in range(4):
        noise(50 + i).save(folder / "b\udcff" / f"\udcfe{i}.png")
    (folder / "b\udcff" / "\udcfex.png").write_bytes(b"")
    cache = prepare(folder, out=tmp_path / "out", workers=2)
    assert cache.count == 16
    assert cache.classes == ("a", "b\\xff")


def test_pictures_are_found_again_by_open_data(make_folder: MakeFolder, own_cache: Path) -> None:
    folder = make_folder(a=20, b=20)
    first = open_data(folder, size=8)
    assert first.path.parent == own_cache / "caches"
    assert open_data(str(folder), size=8).path == first.path
    assert open_data(folder, size=9).path != first.path
    assert open_data(first.path).fingerprint == first.fingerprint
    test = open_data(f"{first.path}:test")
    assert (test.split, test.name) == ("test", "pictures:test")
    with pytest.raises(UserError, match="'tset' of .* is unknown; it has train .*, test"):
        open_data(f"{first.path}:tset")
    with pytest.raises(UserError, match="holds 8x8 pictures, not 32x32"):
        open_data(first.path, size=32)


def test_a_cache_of_long_names_has_a_name_that_a_disk_takes(
    make_folder: MakeFolder, tmp_path: Path, own_cache: Path
) -> None:
    folder = make_folder(a=12)
    long = folder.rename(tmp_path / ("ä" * 122))
    several = [tmp_path / f"clip {i:<15}." for i in range(16)]
    for clip in several:
        shutil.copytree(long, clip)
    for source in (long, several):
        cache = prepare(source, size=8)
        assert cache.path.parent == own_cache / "caches"
        assert len(cache.path.name.encode()) <= 143  # what an encrypted disk takes
        assert run_folder(cache, "tiny", None).name != run_folder(cache, "small", None).name
        assert len(run_folder(cache, "tiny", None).name.encode()) <= 143


def test_a_picture_folder_may_hold_its_cache(make_folder: MakeFolder) -> None:
    folder = make_folder(a=20, b=20)
    first = prepare(folder, out=folder / "cache")
    assert prepare(folder, out=folder / "cache").fingerprint == first.fingerprint
    assert first.classes == ("a", "b")


def test_an_image_mode_survives_the_round_trip(tmp_path: Path) -> None:
    """PNG out of a cache and in again is the same cache."""
    folder = tmp_path / "p"
    folder.mkdir()
    for i in range(12):
        noise(i).save(folder / f"{i}.png")
    cache = prepare(folder, out=tmp_path / "one")
    again = tmp_path / "again"
    again.mkdir()
    for i, pixels in enumerate(cache.read(np.arange(12))):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(again / f"{i}.png")
    assert prepare(again, out=tmp_path / "two").fingerprint == cache.fingerprint
