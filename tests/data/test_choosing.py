"""Which pictures of a source are taken, under which classes and in which splits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise, smooth, splits_of, zipped


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


@pytest.mark.parametrize(("trained_on", "said"), [(0, "no pictures"), (1, "1 pic"), (2, "2 pic")])
def test_splits_of_the_source_with_next_to_nothing_to_train_on(
    trained_on: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of each class, or none of those that were chosen: those that test stay what they are."""
    places = [f"train/{name}/{name}.png" for name in "cab"[: trained_on + 1]]
    places += [f"test/{name}/{i}.png" for name in "abc" for i in range(5)]
    for i, place in enumerate(places):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        noise(i).save(tmp_path / place)
    cache = prepare(tmp_path, classes="a,b", out=tmp_path / "out")
    assert splits_of(cache) == [trained_on, 0, 10]
    error = " ".join(capsys.readouterr().err.split())
    assert f"training split has {said}" in error
    assert "too few to take any to validate; --split 80/10/10 divides all pictures anew" in error


def test_a_real_archive_with_splits(shared: Path, tmp_path: Path) -> None:
    """K1: the cats of CIFAR-10."""
    cache = prepare(shared / "cifar10.zip", classes=["cat"], per_class=600, out=tmp_path / "out")
    assert cache.shape == (3, 32, 32)
    assert [cache.subset(split).count for split in ("train", "validation", "test")] == [
        475,
        25,
        100,
    ]


@pytest.mark.parametrize("per_class", [0, -1])
def test_per_class_of_nothing(per_class: int) -> None:
    with pytest.raises(UserError, match="--per-class: .* greater than or equal to 1"):
        prepare("digits", per_class=per_class)
