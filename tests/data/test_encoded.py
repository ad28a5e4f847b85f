"""A cache without pixels (--store files): the same pictures, decoded each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from safelight.config import Data
from safelight.data.cache import Cache
from safelight.data.encoded import EncodedFiles
from safelight.data.prepare import prepare
from safelight.errors import DamagedFile, UserError
from safelight.training.batches import Batches, Pictures
from tests.data.conftest import MakeFolder, noise, zipped


@pytest.fixture
def folder(make_folder: MakeFolder) -> Path:
    folder = make_folder(a=40, b=40)
    (folder / "a" / "img7.png").write_bytes(b"no picture")
    (folder / "b" / "img9.png").write_bytes((folder / "b" / "img3.png").read_bytes())
    return folder


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_the_same_pictures_labels_and_splits(
    folder: Path, tmp_path: Path, archived: bool, duplicates: str
) -> None:
    """L3: nothing of the pixels is on the disk, and all of it is read as if it were."""
    source = zipped(folder, tmp_path / "pictures.zip") if archived else folder
    stored = prepare(source, size=12, duplicates=duplicates, out=tmp_path / "pixels")
    encoded = prepare(source, size=12, duplicates=duplicates, store="files", out=tmp_path / "files")
    assert not (encoded.path / "images.npy").exists()
    assert encoded.count == stored.count == (79 if duplicates == "keep" else 78)
    assert encoded.meta.counts == stored.meta.counts
    assert encoded.file_names() == stored.file_names()
    assert (encoded.duplicates() == stored.duplicates()).all()
    rng = np.random.default_rng(0)
    for split in (None, "train", "test"):
        one, other = (Cache.open(cache.path, split) for cache in (stored, encoded))
        some = rng.integers(0, one.count, 50)
        assert (one.read(some) == other.read(some)).all()
        assert (one.class_labels() == other.class_labels()).all()
        assert other.read(some[:0]).shape == (0, 3, 12, 12)
    encoded.verify()
    again = prepare(source, size=12, duplicates=duplicates, store="files", out=tmp_path / "again")
    assert again.fingerprint == encoded.fingerprint != stored.fingerprint


def test_large_pictures_are_verified_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(30):
        noise(i, (8, 8)).save(tmp_path / f"{i}.png")
    cache = prepare(tmp_path, size=256, store="files", out=tmp_path / "out")
    asked, read = [], EncodedFiles.read

    def reading(self: EncodedFiles, positions: np.ndarray) -> np.ndarray:
        asked.append(len(positions))
        return read(self, positions)

    monkeypatch.setattr(EncodedFiles, "read", reading)
    cache.verify()
    assert sum(asked) == 30
    assert max(asked) * 3 * 256 * 256 <= 4 * 2**20


def named_by_bytes(folder: Path) -> None:
    """Make it; the test is skipped where the disk takes text only."""
    try:
        folder.mkdir()
    except (OSError, UnicodeEncodeError):
        pytest.skip("this disk takes no such names")
    for i in range(12):
        noise(i % 11).save(folder / f"\udcfe{i}.png")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Each file is found again; and a folder, which the record could not tell, is refused first."""
    named_by_bytes(tmp_path / "a\udcff")
    cache = prepare(tmp_path, labels="none", duplicates="drop", store="files", out=tmp_path / "out")
    cache.verify()
    assert [(r.file, r.reason) for r in cache.meta.rejected] == [
        ("a\\xff/\\xfe11.png", "a duplicate of a\\xff/\\xfe0.png")
    ]
    with pytest.raises(UserError, match=r"can't write down the place .*a.xff.* another name"):
        prepare(tmp_path / "a\udcff", store="files", out=tmp_path / "not")
    assert not (tmp_path / "not").exists()


def test_a_training_sees_the_same_batches(folder: Path, tmp_path: Path) -> None:
    caches = [
        prepare(folder, size=12, store=store, out=tmp_path / store) for store in ("pixels", "files")
    ]
    options = Data(flip=True, shift=2)
    batches = [
        Batches(Pictures(cache.subset("train"), options, torch.device("cpu")), size=16, seed=3)
        for cache in caches
    ]
    for step in range(6):
        pairs = zip(*(each.at(step, 5) for each in batches), strict=True)
        assert all(torch.equal(one.images, other.images) for (one, _), (other, _) in pairs)


def test_a_file_that_is_another_now_is_not_taken_for_the_old_one(
    folder: Path, tmp_path: Path
) -> None:
    cache = prepare(folder, size=12, store="files", out=tmp_path / "out")
    names = cache.file_names()
    assert names is not None
    changed, gone = names.index("a/img3.png"), names.index("b/img5.png")
    others = np.array([i for i in range(cache.count) if i not in (changed, gone)])
    noise(99).save(folder / "a" / "img3.png")
    (folder / "b" / "img5.png").unlink()
    with pytest.raises(DamagedFile, match=r"picture a/img3.png in .*: it is another picture now"):
        cache.read(np.array([0, changed]))
    remedy = f"prepare it again: safelight prepare {cache.path}$"
    with pytest.raises(DamagedFile, match=rf"picture b/img5.png in .*: not there any.*{remedy}"):
        cache.read(np.array([gone]))
    with pytest.raises(DamagedFile):
        cache.verify()
    assert cache.read(others).shape == (len(others), 3, 12, 12)


@pytest.mark.parametrize("name", ["checks.npy", "places.txt"])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_damage_is_seen_on_opening(folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    cache = prepare(folder, size=12, store="files", out=tmp_path / "out")
    file = cache.path / name
    data = file.read_bytes()
    file.unlink() if damage == "gone" else file.write_bytes(data[:-1] if damage == "cut" else b"")
    with pytest.raises(DamagedFile, match=f"{name} .*; prepare it again"):
        Cache.open(cache.path)
    assert prepare(folder, size=12, store="files", out=tmp_path / "out").count == 79


def test_what_lies_in_no_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--store files is for pictures in files"):
        prepare("digits", store="files", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_grey_is_what_is_asked_for(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(mode="L", a=20)
    assert prepare(folder, store="files", out=tmp_path / "auto").shape == (3, 16, 16)
    grey = prepare(folder, store="files", channels="grey", out=tmp_path / "grey")
    assert grey.shape == (1, 16, 16)
    expected = prepare(folder, out=tmp_path / "pixels").read(np.arange(20))
    assert (grey.read(np.arange(20)) == expected).all()
