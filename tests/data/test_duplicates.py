"""Pictures that are there twice: found, all of them and no others, and kept on one side."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from safelight.data import duplicates as duplicates_module
from safelight.data.duplicates import NEAR_THUMBNAIL, _kin, duplicates, families, superfluous
from safelight.data.prepare import prepare
from safelight.data.prints import Prints
from tests.data.conftest import MakeFolder, noise, smooth

PLANTED = 14


def printed(pixels: np.ndarray) -> Prints:
    prints = Prints()
    for start in range(0, len(pixels), 7):
        prints.add(pixels[start : start + 7])
    return prints


def found_in(pixels: np.ndarray) -> list[list[int]]:
    return duplicates(printed(pixels), lambda some: pixels[some]).tolist()


@given(sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)), c=st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_the_same_pictures_are_found_at_any_size(sizes: tuple[int, int], c: int) -> None:
    rng = np.random.default_rng(sizes[0])
    pixels = rng.integers(0, 256, (20, c, *sizes), np.uint8)
    _, first, which = np.unique(
        pixels.reshape(20, -1), axis=0, return_index=True, return_inverse=True
    )
    pixels[[11, 17]] = pixels[[3, 3]]
    expected = {11: first[which[3]], 17: first[which[3]]}
    expected |= {i: int(first[which[i]]) for i in range(20) if i not in (11, 17)}
    same = {row[0]: row[1] for row in found_in(pixels) if row[2] == 1}
    assert same == {i: k for i, k in expected.items() if k != i}


def test_grey_and_colour_of_one_picture_are_the_same() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (9, 1, 16, 16), np.uint8)
    wide = grey.repeat(3, axis=1)
    one, other = printed(grey), printed(wide)
    assert (one.hashes() == other.hashes()).all()
    assert (one.thumbnails() == other.thumbnails()).all()
    assert other.grey().all()
    wide[4, 0, 0, 0] ^= 128
    assert printed(wide).grey().tolist() == [i != 4 for i in range(9)]


@given(
    seed=st.integers(0, 100),
    n=st.integers(0, 60),
    block=st.sampled_from([1, 7, 1024]),
    worth=st.sampled_from([0, 0.1, 16]),
)
@settings(deadline=None, max_examples=80)
def test_neighbours_are_those_of_all_pairs(seed: int, n: int, block: int, worth: float) -> None:
    """The trees miss no pair, and find none besides, however often they are put together anew."""
    rng = np.random.default_rng(seed)
    thumbnails = rng.integers(0, 256, (n, 64))
    for i in range(n // 2):  # some of them near another, about as far as the limit is
        other = thumbnails[rng.integers(n)]
        thumbnails[i] = other + rng.normal(size=64) * other.std() * rng.uniform(0, 0.2)
    levels = thumbnails.clip(0, 255).astype(np.uint8)
    x = levels.astype(float)
    gaps = np.square(x[:, None] - x[None]).mean(2)
    near = gaps <= (NEAR_THUMBNAIL * np.maximum(x.std(1)[:, None], x.std(1)[None])) ** 2
    expected = [(i, j, 0) for i in range(n) for j in range(i) if near[i, j]]
    blank = np.zeros((n, 1, 1, 1), np.uint8)  # in their pixels, all are alike
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("safelight.data.duplicates.BLOCK", block)
        patch.setattr("safelight.data.duplicates.CANDIDATES", 3 * block)
        patch.setattr("safelight.data.duplicates.WORTH", worth)
        found = _kin(levels, lambda some: blank[some])
    assert (found == families(np.array(expected, int).reshape(-1, 3), n)).all()


@pytest.mark.parametrize(("n", "size", "noisy"), [(1000, 16, 16), (40, 512, 1)])
def test_a_film_is_compared_about_once(n: int, size: int, noisy: int) -> None:
    """Every frame is near every other: of all pairs, which are half a million, few are compared.

    Of large frames few at once: a thousand pairs of them would be gigabytes.
    """
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(20, 236, (1, 3, 8, 8)), np.ones((size // 8, size // 8), int))
    frames = (scene + rng.integers(-3, 4, (n, 3, noisy, noisy))).astype(np.uint8)
    read = []

    def pixels(some: np.ndarray) -> np.ndarray:
        read.append(len(some))
        return frames[some]

    assert len(duplicates(printed(frames), pixels)) == n - 1
    assert sum(read) < 6 * n
    assert max(read) * frames[0].nbytes <= 16 * 2**20


def test_a_film_is_searched_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its 16 million pairs few are come upon."""
    found, around = [0], duplicates_module._around

    def counting(*given: Any) -> Any:
        asked, i, j = around(*given)
        found[0] += len(i)
        return asked, i, j

    monkeypatch.setattr(duplicates_module, "_around", counting)
    rng, n = np.random.default_rng(0), 4000
    others = rng.integers(0, 256, (500, 64))
    film = rng.integers(20, 236, 64) + rng.integers(-3, 4, (n, 64))
    thumbnails = np.concatenate([others[:250], film, others]).astype(np.uint8)
    kin = _kin(thumbnails, lambda some: np.zeros((len(some), 1, 1, 1), np.uint8))
    assert (kin[250 : 250 + n] == 250).all()
    assert (kin[-500:-250] == np.arange(250)).all()
    assert (kin[-250:] == np.arange(4500, 4750)).all()
    assert found[0] < n**2 / 20


@given(data=st.data(), n=st.integers(1, 30))
def test_families_are_connected(data: st.DataObject, n: int) -> None:
    drawn = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))))
    rows = np.array([(max(p), min(p), 0) for p in drawn], int).reshape(-1, 3)
    expected = list(range(n))
    for _ in range(n):
        for i, j, _kind in rows.tolist():
            expected = [
                min(expected[i], expected[j]) if k in (i, j) else e for k, e in enumerate(expected)
            ]
    assert families(rows, n).tolist() == expected


def test_who_tests_stays() -> None:
    rows = np.array([[2, 0, 1], [3, 0, 0], [5, 4, 1]])
    splits = np.array([0, 0, 1, 2, 0, 0], np.uint8)
    assert superfluous(rows, 6, None).tolist() == [[2, 0], [3, 0], [5, 4]]
    assert superfluous(rows, 6, splits).tolist() == [[0, 3], [2, 3], [5, 4]]


def saved(image: Image.Image, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]


def photograph(seed: int) -> Image.Image:
    """As photographs are: large shapes of their own."""
    levels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(levels).resize((240, 240), Image.Resampling.BICUBIC)


def test_what_is_nearly_the_same(tmp_path: Path) -> None:
    """Compressed again, resized, a little brighter; not what is mirrored, moved or another."""
    folder = tmp_path / "pictures"
    for i in range(12):
        saved(photograph(i), folder / f"{i}.png")
    saved(photograph(0), folder / "z compressed.jpg", quality=50)
    saved(photograph(1).resize((100, 100)), folder / "z resized.png")
    saved(ImageEnhance.Brightness(photograph(2)).enhance(1.02), folder / "z brighter.png")
    saved(ImageOps.mirror(photograph(3)), folder / "z mirrored.png")
    saved(photograph(4).rotate(5), folder / "z turned.png")
    saved(photograph(5), folder / "z the same.bmp")
    cache = prepare(folder, size=32, out=tmp_path / "out")
    names, found = cache.file_names(), cache.duplicates()
    assert names is not None
    assert found is not None
    said = {(names[i], names[k], bool(same)) for i, k, same in found.tolist()}
    assert said == {
        ("z compressed.jpg", "0.png", False),
        ("z resized.png", "1.png", False),
        ("z brighter.png", "2.png", False),
        ("z the same.bmp", "5.png", True),
    }
    assert (cache.meta.same, cache.meta.nearly, cache.meta.across) == (1, 3, 0)


@pytest.fixture
def planted(shared: Path, tmp_path: Path) -> Path:
    """Real pictures in train and test, and 14 of those of train among those of test."""
    folder = tmp_path / "planted"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(shared / "cifar10.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        for name in rng.choice(names, 1500, replace=False):
            place = folder / Path(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))
    train = sorted((folder / "train").rglob("*.jpg")) or sorted(folder.rglob("train/*/*.jpg"))
    for k, picture in enumerate(rng.choice(train, PLANTED, replace=False)):
        test = Path(str(picture).replace("/train/", "/test/")).with_name(f"copy {k:02}.jpg")
        test.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, test)
    return folder


def test_planted_across_a_split_are_found_and_no_others(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = prepare(planted, out=tmp_path / "out")
    names, found = cache.file_names(), cache.duplicates()
    assert names is not None
    assert found is not None
    copies = [name for pair in found[:, :2] for name in (names[i] for i in pair) if "copy" in name]
    assert sorted(Path(name).name for name in copies) == [
        f"copy {k:02}.jpg" for k in range(PLANTED)
    ]
    assert (cache.meta.same, cache.meta.nearly, cache.meta.across) == (PLANTED, 0, PLANTED)
    assert f"{PLANTED} to the last value" in capsys.readouterr().out
    dropped = prepare(planted, out=tmp_path / "dropped", duplicates="drop")
    assert dropped.count == cache.count - PLANTED
    assert dropped.subset("test").count == cache.subset("test").count
    assert len(dropped.meta.rejected) == PLANTED
    assert all("a duplicate of " in each.reason for each in dropped.meta.rejected)
    assert (dropped.meta.same, dropped.meta.across) == (0, 0)
    divided = prepare(planted, out=tmp_path / "divided", split="80/10/10")
    assert (divided.meta.same, divided.meta.across) == (PLANTED, 0)


def test_what_is_left_out_is_replaced_where_there_are_quotas(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    """L3: a balanced subset stays balanced, of different pictures."""
    folder = make_folder(a=30, b=30)
    for i in range(10):
        shutil.copy(folder / "a" / f"img{i}.png", folder / "a" / f"copy{i}.png")
        data = io.BytesIO()
        noise(1000 + i).save(data, "BMP")
        (folder / "b" / f"copy{i}.bmp").write_bytes(data.getvalue())
    cache = prepare(folder, per_class=30, duplicates="drop", split="80/10/10", out=tmp_path / "out")
    assert [sum(row.values()) for row in cache.meta.counts.values()] == [30, 30]
    everything = cache.read(np.arange(60)).reshape(60, -1)
    assert len(np.unique(everything, axis=0)) == 60
    assert cache.verify() is None
    again = prepare(folder, per_class=30, duplicates="drop", split="80/10/10", out=tmp_path / "2")
    assert again.fingerprint == cache.fingerprint


def test_grey_stored_in_colour_and_pictures_of_nothing_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    for i in range(20):
        saved(noise(i, mode="L").convert("RGB"), folder / f"{i}.jpg", quality=90)
    cache = prepare(folder, out=tmp_path / "out")
    assert (cache.shape[0], cache.meta.grey, cache.meta.constant) == (3, 20, 0)
    assert "all are grey, but stored in colour; --channels grey" in capsys.readouterr().out
    saved(Image.new("RGB", (16, 16), "red"), folder / "red.png")
    saved(smooth((16, 16)), folder / "colour.png")
    cache = prepare(folder, out=tmp_path / "other")
    assert (cache.meta.grey, cache.meta.constant) == (20, 1)
    said = capsys.readouterr().out
    assert "all are grey" not in said
    assert "1 is of one colour, with nothing to see" in said
