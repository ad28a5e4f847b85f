"""LSUN's databases, small ones in its own layout."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from safelight.data.prepare import prepare
from safelight.errors import UserError
from tests.data.conftest import counted, noise, pixels_of, splits_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SAFELIGHT_DATA."""
    monkeypatch.setenv("SAFELIGHT_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_lsun(folder: Path, n: int, seed: int) -> None:
    lmdb = pytest.importorskip("lmdb")
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**24) as environment, environment.begin(write=True) as w:
        for i in range(n):
            picture = folder / "picture.webp"
            noise(seed + i, (24, 20)).save(picture, lossless=True)
            w.put(f"{(7 * i) % n:040x}".encode(), picture.read_bytes())
            picture.unlink()


def as_torchvision_reads(root: Path, *names: str) -> NDArray[np.uint8]:
    from torchvision.datasets import LSUN

    theirs = LSUN(str(root), classes=list(names))
    pixels = np.stack([np.asarray(theirs[i][0]).transpose(2, 0, 1) for i in range(len(theirs))])
    for database in theirs.dbs:  # a process may open one only once
        database.env.close()
    return pixels


def test_lsun(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B1: its databases; categories are classes, and what torchvision's own class reads."""
    monkeypatch.chdir(tmp_path)  # where torchvision leaves a list of the keys
    write_lsun(root / "bedroom_train_lmdb", 15, 0)
    write_lsun(root / "bedroom_val_lmdb", 5, 100)
    expected = as_torchvision_reads(root, "bedroom_train", "bedroom_val")
    one = prepare("lsun", size=16, out=tmp_path / "one")
    assert one.classes == ()
    assert splits_of(one) == [15, 5, 0]
    same = prepare("LSUN", out=tmp_path / "same")
    assert (pixels_of(same) == expected).all()
    write_lsun(root / "church_outdoor_train_lmdb", 4, 200)
    two = prepare(root, size=16, out=tmp_path / "two", workers=2)
    assert two.classes == ("bedroom", "church_outdoor")
    assert splits_of(two) == [19, 5, 0]
    church = prepare("lsun", size=16, classes="church_outdoor", out=tmp_path / "church")
    assert church.count == 4
    alone = prepare(root / "church_outdoor_train_lmdb", size=16, out=tmp_path / "alone")
    assert (pixels_of(alone) == pixels_of(church)).all()
    kept = prepare(root, size=16, store="files", out=tmp_path / "kept")
    assert (pixels_of(kept) == pixels_of(two)).all()


def test_some_categories_of_lsun(root: Path, tmp_path: Path) -> None:
    """By the names that they get; a name that none has is told as of any set."""
    for k, name in enumerate(("bedroom", "church", "tower")):
        write_lsun(root / f"{name}_train_lmdb", 12, 100 * k)
    holy = prepare("lsun", size=16, rename={"church": "holy"}, classes="holy", out=tmp_path / "1")
    assert holy.classes == ("holy",)
    assert holy.count == 12
    both = {"church": "holy", "bedroom": "room"}
    room = prepare("lsun", size=16, rename=both, classes="room,tower", out=tmp_path / "2")
    assert counted(room) == {"room": 12, "tower": 12}
    with pytest.raises(
        UserError, match="unknown class 'towr'; did you mean 'tower'. choose one of"
    ):
        prepare("lsun", size=16, classes="towr", out=tmp_path / "3")


def test_the_test_pictures_of_lsun_are_of_no_class(root: Path, tmp_path: Path) -> None:
    """They lie beside the categories in test_lmdb, without labels."""
    for k, name in enumerate(("bedroom_train", "tower_train", "test")):
        write_lsun(root / f"{name}_lmdb", 12, 100 * k)
    assert counted(prepare("lsun", size=16, out=tmp_path / "out")) == {"bedroom": 12, "tower": 12}
    assert prepare(root / "test_lmdb", size=16, out=tmp_path / "alone").count == 12


def test_lsun_that_is_not_there(own_cache: Path) -> None:
    with pytest.raises(
        UserError, match=r"no LSUN here, .*unpack bedroom_train_lmdb .* into .*SAFE"
    ):
        prepare("lsun")


def test_a_damaged_database(root: Path) -> None:
    pytest.importorskip("lmdb")
    (root / "bedroom_train_lmdb").mkdir()
    (root / "bedroom_train_lmdb" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"bedroom_train_lmdb (cannot be read as LMDB|is damaged)"):
        prepare("lsun")


def test_a_database_without_its_library(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "bedroom_train_lmdb").mkdir()
    (root / "bedroom_train_lmdb" / "data.mdb").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError, match=r"is read by lmdb, .* pip install 'safelight\[lmdb\]'"):
        prepare("lsun")
