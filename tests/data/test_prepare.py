"""`prepare`: the same cache from every form of the same pictures, and no surprise from bad ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight.data.cache import Cache, open_data
from safelight.data.prepare import prepare
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise, smooth, zipped


def counts(cache: Cache, split: str) -> list[int]:
    labels = cache.subset(split).class_labels()
    assert labels is not None
    return np.bincount(labels, minlength=len(cache.classes)).tolist()


def test_every_picture_arrives_under_its_class(make_folder: MakeFolder, tmp_path: Path) -> None:
    """L2: labels are the names of the sub-folders; pictures are in natural order."""
    cache = prepare(make_folder(coast=12, desert=15), out=tmp_path / "out")
    assert cache.classes == ("coast", "desert")
    assert cache.shape == (3, 16, 16)
    labels = cache.class_labels()
    assert labels is not None
    assert labels.tolist() == [0] * 12 + [1] * 15
    seeds = [*range(12), *range(1000, 1015)]
    expected = np.stack([np.asarray(noise(seed)).transpose(2, 0, 1) for seed in seeds])
    assert (cache.read(np.arange(27)) == expected).all()
    assert (np.load(tmp_path / "out" / "images.npy", mmap_mode="r") == expected).all()


def test_without_labels(make_folder: MakeFolder, tmp_path: Path) -> None:
    """L1: the folders' names are ignored, and so is what lies beside them."""
    folder = make_folder(coast=12, desert=15)
    noise(5).save(folder / "loose.png")
    cache = prepare(folder, out=tmp_path / "out", labels="none")
    assert cache.classes == ()
    assert cache.class_labels() is None
    assert cache.labels([0, 1]) is None
    assert cache.count == 28
    with pytest.raises(UserError, match=r"1 pictures .* beside the class folders.*--labels none"):
        prepare(folder, out=tmp_path / "other")


def test_lsun_is_one_set_without_classes(tmp_path: Path) -> None:
    """B1: JPEGs in folders called by the beginning of their hashes, at 64x64; none is a class.

    In a zip neither, and the cache has the same pictures as that of one flat folder.
    """
    flat, nested = tmp_path / "flat", tmp_path / "sample" / "data0" / "lsun" / "bedroom"
    for i in range(40):
        key = hashlib.sha1(str(i).encode()).hexdigest()
        place = nested.joinpath(*key[:3])
        for folder in (flat, place):
            folder.mkdir(parents=True, exist_ok=True)
            smooth((256 + 8 * (i % 5), 256)).save(folder / f"{key}.jpg")
    archive = zipped(tmp_path / "sample", tmp_path / "lsun.zip")
    sets = [
        prepare(source, size=64, out=tmp_path / f"cache{i}", split="80/10/10")
        for i, source in enumerate((tmp_path / "sample", archive, flat))
    ]
    for cache in sets:
        assert (cache.shape, cache.classes, cache.count) == ((3, 64, 64), (), 40)
        assert cache.meta.counts == {"all": {"train": 32, "validation": 4, "test": 4}}
        assert not cache.meta.rejected
        assert cache.labels([0]) is None
        assert sorted(bytes(x) for x in cache.read(np.arange(40))) == sorted(
            bytes(x) for x in sets[-1].read(np.arange(40))
        )


def test_flat_folder(make_folder: MakeFolder, tmp_path: Path) -> None:
    """L1."""
    cache = prepare(make_folder(coast=20) / "coast", out=tmp_path / "out")
    assert (cache.count, cache.classes) == (20, ())


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


def test_a_balanced_subset_is_exact_and_repeatable(make_folder: MakeFolder, tmp_path: Path) -> None:
    """L3: --per-class 20 --split 80/10/10 gives 16 a class to train and 2 to test."""
    folder = make_folder(a=30, b=25, c=41)
    for bad in ("a/img3.png", "a/img4.png", "b/img20.png"):
        (folder / bad).write_bytes(b"")
    caches = [
        prepare(folder, per_class=20, split="80/10/10", seed=seed, out=tmp_path / f"{k}")
        for k, seed in enumerate((0, 0, 1))
    ]
    assert counts(caches[0], "train") == [16, 16, 16]
    assert counts(caches[0], "validation") == counts(caches[0], "test") == [2, 2, 2]
    assert caches[0].fingerprint == caches[1].fingerprint != caches[2].fingerprint
    with pytest.raises(UserError, match=r"'b' has only 24 pictures.*use --per-class 24"):
        prepare(folder, per_class=25, out=tmp_path / "more")
    with pytest.raises(UserError, match=r"'b' has only 25 pictures"):
        prepare(folder, per_class=26, out=tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_chosen_classes(make_folder: MakeFolder, tmp_path: Path) -> None:
    """K1, K2."""
    folder = make_folder(cat=12, dog=10, frog=11)
    cats = prepare(folder, classes=["cat"], out=tmp_path / "cats")
    both = prepare(folder, classes=["frog", "cat"], out=tmp_path / "both")
    assert (cats.classes, cats.count) == (("cat",), 12)
    assert both.classes == ("cat", "frog")
    labels = both.class_labels()
    assert labels is not None
    assert labels.tolist() == [0] * 12 + [1] * 11
    assert (both.read(np.arange(12)) == cats.read(np.arange(12))).all()
    frog = np.asarray(noise(2000)).transpose(2, 0, 1)
    assert (both.read(np.array([12]))[0] == frog).all()
    with pytest.raises(UserError, match="unknown class 'cow'.* cat, dog, frog"):
        prepare(folder, classes=["cow"], out=tmp_path / "cows")


@pytest.mark.parametrize("per_class", [None, 50])
def test_splits_of_the_source_are_kept(
    make_folder: MakeFolder, tmp_path: Path, per_class: int | None
) -> None:
    """K1: as in cifar10.zip; validation is 5 % of train, class by class."""
    folder = make_folder("x", **{"train/a": 60, "train/b": 80, "test/a": 20, "test/b": 20})
    cache = prepare(folder, out=tmp_path / "out", per_class=per_class)
    assert cache.classes == ("a", "b")
    if per_class is None:
        assert counts(cache, "test") == [20, 20]
        assert counts(cache, "train") == [57, 76]
        assert counts(cache, "validation") == [3, 4]
    else:  # the subset keeps the source's proportions: 50 x 20/80 and 50 x 20/100
        assert [
            a + b for a, b in zip(counts(cache, "train"), counts(cache, "validation"), strict=True)
        ] == [38, 40]
    again = prepare(folder, out=tmp_path / "again", split="50/25/25", per_class=per_class)
    total = [80, 100] if per_class is None else [50, 50]
    assert np.abs(np.array(counts(again, "test")) - np.array(total) / 4).max() < 1


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
    with pytest.raises(UserError, match=r"--size was None and is 8 now.*another --out"):
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
    with pytest.raises(UserError, match="no folder, file or named set 'nowhere'.*digits, mnist"):
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


def test_a_class_with_one_picture_is_trained_on_and_said(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = prepare(make_folder(many=30, one=1), out=tmp_path / "out")
    assert counts(cache, "train")[1] == 1
    assert "a class with one picture is only trained on" in capsys.readouterr().out


def test_a_class_without_any_readable_picture_is_gone(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder(a=12, b=1, c=12)
    (folder / "b" / "img0.png").write_bytes(b"")
    cache = prepare(folder, out=tmp_path / "out")
    assert cache.classes == ("a", "c")
    assert np.bincount(cache.class_labels()).tolist() == [12, 12]


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


def test_a_real_archive_with_splits(shared: Path, tmp_path: Path) -> None:
    """K1: the cats of CIFAR-10."""
    cache = prepare(shared / "cifar10.zip", classes=["cat"], per_class=600, out=tmp_path / "out")
    assert cache.shape == (3, 32, 32)
    assert [cache.subset(split).count for split in ("train", "validation", "test")] == [
        475,
        25,
        100,
    ]


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


def test_a_picture_folder_may_hold_its_cache(make_folder: MakeFolder) -> None:
    folder = make_folder(a=20, b=20)
    first = prepare(folder, out=folder / "cache")
    assert prepare(folder, out=folder / "cache").fingerprint == first.fingerprint
    assert first.classes == ("a", "b")


@pytest.mark.parametrize("per_class", [0, -1])
def test_per_class_of_nothing(per_class: int) -> None:
    with pytest.raises(UserError, match="--per-class: .* greater than or equal to 1"):
        prepare("digits", per_class=per_class)


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
