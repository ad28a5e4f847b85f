"""Reading a cache: right pixels, little memory, and no trust in a damaged file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.data.cache import Cache
from safelight.data.meta import FORMAT, Meta
from safelight.data.options import Options
from safelight.data.prepare import prepare
from safelight.data.stored import content_hash
from safelight.data.writer import ImageWriter
from safelight.errors import DamagedFile, UserError
from safelight.images import ImageSource
from tests.data.conftest import MakeFolder


@pytest.fixture
def cache(make_folder: MakeFolder, tmp_path: Path) -> Cache:
    return prepare(make_folder(a=30, b=20), out=tmp_path / "out")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return prepare("digits", out=tmp_path_factory.mktemp("digits") / "out")


@given(data=st.data())
@settings(deadline=None)
def test_any_positions_in_any_order(digits: Cache, data: st.DataObject) -> None:
    everything = np.load(digits.path / "images.npy")
    positions = np.array(data.draw(st.lists(st.integers(0, 1796), max_size=40)), np.int64)
    assert (digits.read(positions) == everything[positions]).all()
    assert digits.read(positions).shape == (len(positions), 1, 8, 8)


def test_views_of_the_splits(digits: Cache) -> None:
    codes = np.load(digits.path / "splits.npy")
    labels = np.load(digits.path / "labels.npy")
    everything = np.load(digits.path / "images.npy")
    total = 0
    for code, split in enumerate(("train", "validation", "test")):
        view = Cache.open(digits.path, split)
        assert isinstance(view, ImageSource)
        where = np.flatnonzero(codes == code)
        assert view.count == len(where)
        assert (view.read(np.arange(view.count)) == everything[where]).all()
        assert (view.class_labels() == labels[where]).all()
        seeds = [5, 0, 7]
        images, of = view.images(seeds), view.labels(seeds)
        assert of is not None
        assert (images.dtype, of.dtype) == (torch.uint8, torch.int64)
        assert (images.numpy() == everything[where[seeds]]).all()
        assert of.tolist() == labels[where[seeds]].tolist()
        total += view.count
    assert total == digits.count == 1797


def test_a_crop_is_the_centre_of_every_picture(digits: Cache) -> None:
    """F2: of a split too; its name and fingerprint tell of it, and those of the whole stay."""
    seen, everything = digits.cropped(4, 6), np.load(digits.path / "images.npy")
    assert isinstance(seen, ImageSource)
    assert seen.shape == (1, 4, 6)
    assert (seen.read(np.arange(9)) == everything[:9, :, 2:6, 1:7]).all()
    assert (seen.images([3]).numpy() == everything[3:4, :, 2:6, 1:7]).all()
    assert seen.read(np.empty(0, np.int64)).shape == (0, 1, 4, 6)
    test = seen.subset("test")
    assert (seen.name, test.name) == ("digits 6x4", "digits 6x4:test")
    assert (test.images([5]) == digits.subset("test").cropped(4, 6).images([5])).all()
    assert test.subset("train").shape == seen.shape
    prints = {each.fingerprint for each in (digits, seen, test, digits.cropped(6, 4))}
    assert len(prints) == 4
    assert test.fingerprint == digits.subset("test").cropped(4, 6).fingerprint
    meta = digits.meta
    hashes = [meta.hashes[key] for key in ("images", "labels", "splits")]
    whole = json.dumps([meta.shape, meta.classes, hashes, None])
    for same in (digits, digits.cropped(8, 8), seen.cropped(8, 8)):
        assert same.fingerprint == hashlib.sha256(whole.encode()).hexdigest()
        assert (same.name, same.shape) == ("digits", (1, 8, 8))


def test_a_crop_larger_than_the_pictures(digits: Cache) -> None:
    with pytest.raises(UserError, match="are 8x8 and have no part of 6x9; give a smaller --data"):
        digits.cropped(9, 6)


def test_a_position_that_is_not_there(cache: Cache) -> None:
    for wrong in (50, -1):
        with pytest.raises(UserError, match=f"0 to 49, not {wrong}"):
            cache.read(np.array([3, wrong]))


def test_a_split_that_is_not_there(make_folder: MakeFolder, tmp_path: Path) -> None:
    cache = prepare(make_folder(a=5), split="100/0/0", out=tmp_path / "out")
    with pytest.raises(UserError, match=r"'test' of .* is empty; it has train \(5\)"):
        cache.subset("test")


def spoil(path: Path, change: str) -> None:
    data = bytearray(path.read_bytes())
    changed = {
        "cut": data[:-1],
        "longer": data + b"\0",
        "empty": bytearray(),
        "edited": data[:-1] + bytes([data[-1] ^ 1]),
        "header": data[:64].replace(b"u1", b"i1") + data[64:]
        if b"u1" in data[:64]
        else b"x" + data,
    }
    path.write_bytes(changed[change])


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "splits.npy"])
@pytest.mark.parametrize("change", ["cut", "longer", "empty", "edited", "header"])
def test_damage_is_seen_on_opening(cache: Cache, name: str, change: str) -> None:
    spoil(cache.path / name, change)
    if (name, change) in {("labels.npy", "longer"), ("splits.npy", "longer")}:
        return  # bytes after the end of an array harm nothing
    with pytest.raises(DamagedFile, match=f"{name} .*; prepare it again: safelight prepare /"):
        Cache.open(cache.path)


def test_a_file_that_is_gone(cache: Cache) -> None:
    (cache.path / "images.npy").unlink()
    with pytest.raises(DamagedFile, match=r"images.npy cannot be read .*safelight prepare"):
        Cache.open(cache.path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", 3, r"made by a newer safelight \(format 3, .* up to 2\); upgrade"),
        ("count", 49, "instead of"),
        ("count", "many", "damaged at 'count'"),
        ("width", 8, "instead of"),
        ("classes", None, "damaged at 'classes'"),
    ],
)
def test_an_edited_record(cache: Cache, field: str, value: object, message: str) -> None:
    record = json.loads((cache.path / "meta.json").read_text())
    record[field] = value
    (cache.path / "meta.json").write_text(json.dumps(record))
    pattern = "was changed after" if (field, value) == ("count", 49) else message
    with pytest.raises(DamagedFile, match=pattern):
        Cache.open(cache.path)


def test_a_record_that_is_no_record(cache: Cache) -> None:
    for text in ("", "[]", "{", "7", "\x00"):
        (cache.path / "meta.json").write_text(text)
        with pytest.raises(DamagedFile, match=r"prepare it again: safelight prepare"):
            Cache.open(cache.path)


def test_a_newer_cache_is_left_alone(cache: Cache) -> None:
    record = json.loads((cache.path / "meta.json").read_text()) | {"format": 99}
    (cache.path / "meta.json").write_text(json.dumps(record))
    with pytest.raises(DamagedFile, match="newer safelight"):
        prepare(cache.meta.source, out=cache.path)
    assert json.loads((cache.path / "meta.json").read_text())["format"] == 99


def test_a_cache_of_an_older_version_is_read(cache: Cache) -> None:
    """Format 1 had one side for both; what it holds is the same, and so is its fingerprint."""
    record = json.loads((cache.path / "meta.json").read_text())
    side = record.pop("width")
    assert record.pop("height") == side
    for name in ("sizes", "names"):
        del record["hashes"][name]
    old = record | {"format": 1, "size": side, "options": record["options"] | {"size": None}}
    (cache.path / "meta.json").write_text(json.dumps(old))
    again = Cache.open(cache.path)
    assert (again.shape, again.fingerprint) == (cache.shape, cache.fingerprint)
    assert (again.file_names(), again.own_sizes()) == (None, None)
    assert (again.read(np.arange(50)) == cache.read(np.arange(50))).all()
    assert prepare(cache.meta.source, out=cache.path).fingerprint == cache.fingerprint


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no cache at .*; make one: safelight prepare"):
        Cache.open(tmp_path)


def test_a_copy_is_verified_once(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy has another time, so its content is read through; then it bears the right time."""
    shutil.copytree(cache.path, tmp_path / "copy", copy_function=shutil.copyfile)
    assert Cache.open(tmp_path / "copy").fingerprint == cache.fingerprint
    monkeypatch.setattr("safelight.data.stored.ImageFile.verify", lambda self: pytest.fail("again"))
    Cache.open(tmp_path / "copy")


def test_verify_reads_everything(cache: Cache) -> None:
    """An edit that also sets the time back is found on demand."""
    spoil(cache.path / "images.npy", "edited")
    os.utime(cache.path / "images.npy", ns=(cache.meta.stamp, cache.meta.stamp))
    with pytest.raises(DamagedFile, match="was changed after it was made"):
        Cache.open(cache.path).verify()


def test_a_file_that_is_cut_while_it_is_read(cache: Cache) -> None:
    os.truncate(cache.path / "images.npy", 5000)
    with pytest.raises(DamagedFile, match="cut short while it was read"):
        cache.read(np.arange(50))


def test_without_positional_reads(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    expected = cache.read(np.arange(50)[::-1])
    monkeypatch.delattr(os, "preadv", raising=False)
    assert (cache.read(np.arange(50)[::-1]) == expected).all()


def big_cache(folder: Path, count: int, size: int) -> Cache:
    """A cache of noise, written without holding it."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with ImageWriter(folder / "images.npy", (size, size)) as writer:
        for _ in range(count // 100):
            writer.append(rng.integers(0, 256, (100, 3, size, size), np.uint8))
    labels, splits = np.zeros(count, np.int64), np.zeros(count, np.uint8)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "splits.npy", splits)
    hashes = {"labels": content_hash(labels), "splits": content_hash(splits)}
    meta = Meta(
        format=FORMAT,
        name="noise",
        source="nowhere",
        signature="",
        options=Options(),
        classes=(),
        width=size,
        height=size,
        channels=3,
        count=count,
        counts={},
        hashes={"images": writer.digest, **hashes},
        stamp=(folder / "images.npy").stat().st_mtime_ns,
        resize="",
        enlarged=0,
        rejected=(),
        ignored={},
        versions={},
    )
    (folder / "meta.json").write_text(meta.model_dump_json())
    return Cache.open(folder)


def test_reading_takes_no_memory_that_grows_with_the_set(tmp_path: Path) -> None:
    """L3: 120 MB are read in batches while the process grows by less than 15 MB."""
    cache = big_cache(tmp_path / "big", 10_000, 64)
    order = np.random.default_rng(1).permutation(10_000)
    cache.read(order[:100])
    process = psutil.Process()
    before = process.memory_info().rss
    for start in range(0, 10_000, 100):
        cache.read(order[start : start + 100])
    assert process.memory_info().rss - before < 15e6
