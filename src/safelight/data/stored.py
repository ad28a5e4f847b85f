"""The arrays of a cache on the disk, checked when they are opened."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import shlex
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from safelight.data.lines import Lines
from safelight.data.meta import Meta
from safelight.data.writer import HEADER_BYTES, npy_header
from safelight.errors import DamagedFile
from safelight.paths import expanded, is_there

IMAGES, LABELS, SPLIT_CODES = "images.npy", "labels.npy", "splits.npy"
# Of the originals, and which are there twice; caches of format 1 have none of the three.
SIZES, NAMES, DUPLICATES = "sizes.npy", "names.txt", "duplicates.npy"
CONTENT = (IMAGES, LABELS, SPLIT_CODES, SIZES, NAMES, DUPLICATES)


def is_cache(path: Path) -> bool:
    """Whether `path` looks like a cache, be it a damaged one.

    Raises UserError where that may not be seen.
    """
    return path.is_dir() and any(is_there(path / name) for name in (IMAGES, SPLIT_CODES))


def cache_at(what: str | os.PathLike[str]) -> Path | None:
    """Where the cache is that these words name; None where they name something else."""
    path = expanded(what)
    return path if is_there(path) and is_cache(path) else None


class Arrays:
    """labels.npy and splits.npy, (n,) each."""

    def __init__(self, labels: NDArray[np.int64], splits: NDArray[np.uint8]) -> None:
        self.labels, self.splits = labels, splits

    @classmethod
    def read(cls, path: Path, meta: Meta) -> Arrays:
        labels = cls._load(path / LABELS, meta, np.int64, meta.hashes["labels"])
        splits = cls._load(path / SPLIT_CODES, meta, np.uint8, meta.hashes["splits"])
        return cls(labels, splits)

    @staticmethod
    def _load(path: Path, meta: Meta, dtype: type[np.generic], wanted: str) -> NDArray[Any]:
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise damaged(path, "is missing or damaged") from error
        if array.shape != (meta.count,) or array.dtype != dtype or content_hash(array) != wanted:
            raise damaged(path, "was changed after it was made")
        return np.asarray(array)


def read_sizes(path: Path, meta: Meta) -> NDArray[np.int32] | None:
    """(n, 2): width and height of each original; None where they were not written down."""
    sizes: NDArray[np.int32] | None = _read_later(path / SIZES, meta, "sizes")
    return sizes


def read_duplicates(path: Path, meta: Meta) -> NDArray[np.int64] | None:
    """(p, 3): see `data.duplicates`; None where they were not looked for."""
    found: NDArray[np.int64] | None = _read_later(path / DUPLICATES, meta, "duplicates")
    return found


def _read_later(path: Path, meta: Meta, key: Literal["sizes", "duplicates"]) -> Any:
    if key not in meta.hashes:
        return None
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, "is missing or damaged") from error
    if content_hash(array) != meta.hashes[key]:
        raise damaged(path, "was changed after it was made")
    return array


def read_names(path: Path, meta: Meta, chosen: NDArray[np.int64] | None = None) -> list[str] | None:
    """The name of each picture's file, or of the chosen ones', as one may show it.

    None where they were not kept.
    """
    if "names" not in meta.hashes:
        return None
    file = path / NAMES
    try:
        if chosen is not None:
            return _some_names(file, meta, chosen)
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        raise damaged(file, "is missing or damaged") from error
    if hashlib.sha256(data).hexdigest() != meta.hashes["names"]:
        raise damaged(file, "was changed after it was made")
    return data.decode().splitlines()


def _some_names(file: Path, meta: Meta, chosen: NDArray[np.int64]) -> list[str]:
    """A page asks for a few of them again and again."""
    status = file.stat()
    lines = _indexed(file, status.st_size, status.st_mtime_ns)
    if lines.digest != meta.hashes["names"]:
        raise damaged(file, "was changed after it was made")
    return [lines[position] for position in chosen.tolist()]


@functools.lru_cache(maxsize=1)
def _indexed(file: Path, size: int, stamp: int) -> Lines:
    """Those of a file of this size and time."""
    return Lines(file)


def content_hash(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def damaged(path: Path, what: str) -> DamagedFile:
    """The error that says so of a file of a cache, which is made again by naming the cache."""
    again = shlex.join(["safelight", "prepare", str(path.parent)])
    return DamagedFile(f"{path} {what}; prepare it again: {again}")


class ImageFile:
    """images.npy, read picture by picture."""

    def __init__(self, path: Path, meta: Meta) -> None:
        self.path, self.meta = path / IMAGES, meta
        self._lock = threading.Lock()
        self._bytes = meta.channels * meta.height * meta.width
        try:
            self._file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise damaged(self.path, f"cannot be read ({error.strerror})") from error
        self._check()

    def _check(self) -> None:
        status = os.fstat(self._file.fileno())
        expected = HEADER_BYTES + self.meta.count * self._bytes
        if status.st_size != expected:
            what = f"has {status.st_size} bytes instead of {expected}: it was cut short or edited"
            raise damaged(self.path, what)
        if self._file.read(HEADER_BYTES) != npy_header(self.meta.shape):
            raise damaged(self.path, "does not begin as meta.json says")
        if status.st_mtime_ns != self.meta.stamp:  # copied, or edited
            self.verify()
            self._restamp()

    def _restamp(self) -> None:
        """Note on the file that its content is known to be right, where that is allowed."""
        try:
            os.utime(self.path, ns=(self.meta.stamp, self.meta.stamp))
        except OSError:  # a cache that may only be read: it is verified each time
            return

    def verify(self) -> None:
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            file.seek(HEADER_BYTES)
            while data := file.read(2**20):
                digest.update(data)
        if digest.hexdigest() != self.meta.hashes["images"]:
            raise damaged(self.path, "was changed after it was made")

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(b, c, h, w); neighbours in the file are read in one go."""
        images = np.empty((len(positions), *self.meta.shape[1:]), np.uint8)
        buffer, each = images.reshape(-1).data, self._bytes
        starts = np.flatnonzero(np.diff(positions, prepend=-2) != 1)  # of runs of neighbours
        offsets = (HEADER_BYTES + positions[starts] * each).tolist()
        bounds = itertools.pairwise([*(starts * each).tolist(), len(buffer)])
        for (first, last), offset in zip(bounds, offsets, strict=True):
            self._fill(buffer[first:last], offset)
        return images

    def _fill(self, buffer: memoryview, offset: int) -> None:
        while (got := self._read_at(buffer, offset)) < len(buffer):
            if not got:
                raise damaged(self.path, "was cut short while it was read")
            buffer, offset = buffer[got:], offset + got

    def _read_at(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], offset)
        with self._lock:  # Windows: seeking and reading are two steps
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0
