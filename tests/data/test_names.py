"""The names of some of a cache's files, of which a page shows a few at a time."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from safelight.data import stored
from safelight.data.cache import Cache
from safelight.errors import DamagedFile
from tests.profiling.caches import write_cache

NAMES = [f"train/n01440764/n01440764_{i:08d} é.JPEG" for i in range(50_000)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    images, splits = np.zeros((len(NAMES), 1, 1, 1), np.uint8), np.arange(len(NAMES)) % 3
    return write_cache(tmp_path / "c", images, splits=splits.astype(np.uint8), names=NAMES)


def test_some_names_are_theirs(cache: Cache) -> None:
    """F11: in the order that is asked for, of a split too; the file is longer than what is read at
    once."""
    rng = np.random.default_rng(0)
    for positions in (rng.permutation(len(NAMES))[:200], np.array([0, len(NAMES) - 1, 0])):
        assert cache.names_of(positions) == [NAMES[i] for i in positions]
    assert cache.names_of(np.zeros(0, np.int64)) == []
    assert cache.subset("test").names_of(np.array([0, 5])) == [NAMES[2], NAMES[17]]


def test_they_are_read_through_once(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """F11: a page asks some thirty times."""
    cache.names_of(np.array([3]))
    monkeypatch.setattr(stored.hashlib, "sha256", None)
    assert cache.names_of(np.array([40_000])) == [NAMES[40_000]]


def test_what_was_changed_is_refused(cache: Cache) -> None:
    file = cache.path / "names.txt"
    cache.names_of(np.array([3]))
    file.write_text(file.read_text("utf-8").replace("n01440764_00000003", "n01440764_00000004"))
    os.utime(file, ns=(0, 0))
    with pytest.raises(DamagedFile, match=r"names\.txt was changed after it was made"):
        cache.names_of(np.array([3]))
    file.unlink()
    with pytest.raises(DamagedFile, match=r"names\.txt is missing or damaged"):
        cache.names_of(np.array([3]))


def test_little_is_held_of_each(cache: Cache) -> None:
    """F11: 8 bytes of each name that is not asked for, twice that for a moment, and one piece."""
    tracemalloc.start()
    cache.names_of(np.array([3]))
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 9 * len(NAMES) + 50_000
    assert most < 17 * len(NAMES) + 3 * 2**20
