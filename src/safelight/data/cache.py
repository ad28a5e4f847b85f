"""Reading a cache: pictures by their positions, in constant memory."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import NDArray

from safelight.data.encoded import EncodedFiles
from safelight.data.look import said
from safelight.data.meta import FILE, Meta, read_meta
from safelight.data.named import NAMED, spelled
from safelight.data.options import Wanted, options_of
from safelight.data.splits import SPLITS
from safelight.data.stored import (
    Arrays,
    ImageFile,
    cache_at,
    is_cache,
    read_duplicates,
    read_names,
    read_sizes,
)
from safelight.errors import UserError
from safelight.paths import expanded, is_there, place
from safelight.sizes import as_option

if TYPE_CHECKING:  # torch takes seconds to load and much memory: `prepare` does without it
    from torch import Tensor

Pictures = ImageFile | EncodedFiles
STORES: dict[str, Callable[[Path, Meta], Pictures]] = {"pixels": ImageFile, "files": EncodedFiles}

__all__ = ["SPLITS", "Cache", "open_data", "require_there"]


def open_data(
    source: str | Path,
    *,
    workers: int | None = None,
    judged: bool = False,
    **options: Unpack[Wanted],
) -> Cache:
    """The cache of `source`: a cache, `cache:split`, a folder, a zip or a named set.

    What is not a cache is prepared first, into the user's cache folder, with these options (see
    `prepare`); a cache keeps those that it was made with. A folder called like a named set is
    meant by ./NAME.

    judged: a folder or zip of pictures to be judged as they are, of which little is said: unless
    `cache:split` asks for a part they are not divided, and so there may be few.
    """
    # These read back what they made by this module.
    from safelight.data.origins import find
    from safelight.data.prepare import made, usual_place

    what, part = _without_split(source)
    there = None if what in NAMED else cache_at(what)
    if there is not None:
        cache = Cache.open(there)
        size = options_of(**options).size
        if size not in (None, cache.meta.size):
            raise UserError(
                f"the cache {what} holds {said(cache.meta.size)} pictures, not "
                f"{said(size)}; prepare it again: safelight prepare {shlex.quote(str(what))} "
                f"--size {as_option(size)}"
            )
    else:
        origin = find(what)
        if judged and part is None and not origin.divided:
            options["split"] = "100/0/0"
        asked = options_of(**options)
        cache = made(origin, asked, usual_place(origin, asked), workers, brief=judged)
    return cache if part is None else cache.subset(part)


def require_there(source: str | Path) -> None:
    """Raise UserError where `open_data` would find nothing; before other, long work."""
    from safelight.data.origins import find

    what, _ = _without_split(source)
    if cache_at(what) is None:
        find(what)


def _without_split(source: str | Path) -> tuple[str | Path, str | None]:
    """'cache:test' -> ('cache', 'test'); a path that exists as it stands is left alone."""
    if isinstance(source, Path) or is_there(expanded(source)):
        return source, None
    what, colon, part = source.rpartition(":")
    if colon and (part in SPLITS or spelled(what) or is_there(expanded(what))):
        return what, part
    return source, None


class Cache:
    """A cache, or a view of one of its splits. It is an ImageSource of stored pictures.

    Pictures are read at their place in the file and not through a memory map: the pages of a map
    count as the process's own memory, which would then grow with the data set.
    """

    path: Path
    meta: Meta
    split: str | None
    window: tuple[int, int] | None = None
    """(height, width) of what is seen of each picture, its centre; None where it is all."""

    def __init__(
        self, path: Path, meta: Meta, arrays: Arrays, split: str | None, file: Pictures
    ) -> None:
        self.path, self.meta, self.split = path, meta, split
        self._arrays, self._file = arrays, file
        self._positions: NDArray[np.int64] | None = None
        if split is not None:
            self._positions = np.flatnonzero(arrays.splits == SPLITS.index(split))

    @classmethod
    def open(cls, path: Path, split: str | None = None) -> Cache:
        """Raises UserError where there is no cache, DamagedFile where it can't be trusted."""
        path = place(path)
        if not (path / FILE).exists() and not is_cache(path):
            raise UserError(
                f"there is no cache at {path}; make one: safelight prepare PICTURES --out {path}"
            )
        meta = read_meta(path)
        arrays = Arrays.read(path, meta)
        cache = cls(path, meta, arrays, None, STORES[meta.options.store](path, meta))
        return cache if split is None else cache.subset(split)

    @property
    def rejected(self) -> int:
        """How many files of the whole source gave no picture."""
        return len(self.meta.rejected)

    @property
    def name(self) -> str:
        seen = f" {self.window[1]}x{self.window[0]}" if self.window else ""
        return f"{self.meta.name}{seen}" + (f":{self.split}" if self.split else "")

    @property
    def fingerprint(self) -> str:
        hashes = [self.meta.hashes[key] for key in ("images", "labels", "splits")]
        seen = [self.window] if self.window else []
        what = json.dumps([self.meta.shape, self.meta.classes, hashes, self.split, *seen])
        return hashlib.sha256(what.encode()).hexdigest()

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.meta.shape[1:]
        return (c, *(self.window or (h, w)))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.meta.classes

    @property
    def count(self) -> int:
        return self.meta.count if self._positions is None else len(self._positions)

    def subset(self, split: str) -> Cache:
        """The pictures of one split. Raises UserError where it is unknown or empty."""
        counts = {name: int((self._arrays.splits == i).sum()) for i, name in enumerate(SPLITS)}
        if counts.get(split, 0) == 0:
            what = "is empty" if split in counts else "is unknown"
            listed = ", ".join(f"{name} ({count})" for name, count in counts.items())
            raise UserError(
                f"the split {split!r} of {self.path} {what}; it has {listed}: name another, or "
                "prepare the pictures again with --split 80/10/10 and another --out"
            )
        found = Cache(self.path, self.meta, self._arrays, split, self._file)
        found.window = self.window
        return found

    def cropped(self, height: int, width: int) -> Cache:
        """The same pictures, of which so much is seen. Raises UserError where they are smaller."""
        _, h, w = self.meta.shape[1:]
        if height > h or width > w:
            raise UserError(
                f"the pictures of {self.path} are {w}x{h} and have no part of {width}x{height}; "
                "give a smaller --data.crop, or prepare them again at another --size"
            )
        found = Cache(self.path, self.meta, self._arrays, self.split, self._file)
        found.window = (height, width) if (height, width) != (h, w) else None
        return found

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        """uint8 (b, c, h, w); seeds are positions in 0..count-1."""
        import torch

        return torch.from_numpy(self.read(np.asarray(seeds, np.int64)))

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        """int64 (b,); None where there are no classes."""
        import torch

        if not self.classes:
            return None
        positions = self._stored_at(np.asarray(seeds, np.int64))
        return torch.from_numpy(self._arrays.labels[positions])

    def class_labels(self) -> NDArray[np.int64] | None:
        """The labels of all pictures here, (count,); None where there are no classes."""
        if not self.classes:
            return None
        whole = self._arrays.labels
        return whole if self._positions is None else whole[self._positions]

    def split_codes(self) -> NDArray[np.uint8]:
        """The split of each picture here, (count,); an index into SPLITS."""
        whole = self._arrays.splits
        return whole if self._positions is None else whole[self._positions]

    def own_sizes(self) -> NDArray[np.int32] | None:
        """Width and height of each original here, (count, 2); None of a cache that has them not."""
        whole = read_sizes(self.path, self.meta)
        return whole if whole is None or self._positions is None else whole[self._positions]

    def file_names(self) -> list[str] | None:
        """The file of each picture here; None of a cache that has them not."""
        whole = read_names(self.path, self.meta)
        if whole is None or self._positions is None:
            return whole
        return [whole[i] for i in self._positions.tolist()]

    def names_of(self, positions: NDArray[np.int64]) -> list[str] | None:
        """The files of some pictures; the names of the others are not held."""
        return read_names(self.path, self.meta, self._stored_at(positions))

    def duplicates(self) -> NDArray[np.int64] | None:
        """(p, 3): a picture, the first picture like it, 1 if they are the same or 0 if nearly.

        Of a split, those both of which are here; None of a cache in which they were not looked for.
        """
        whole = read_duplicates(self.path, self.meta)
        if whole is None or self._positions is None:
            return whole
        here = np.full(self.meta.count, -1)
        here[self._positions] = np.arange(len(self._positions))
        pairs = here[whole[:, :2]]
        both = (pairs >= 0).all(1)
        return np.column_stack([pairs[both], whole[both, 2]])

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (b, c, h, w). Raises DamagedFile where the file has become shorter."""
        images = self._file.read(self._stored_at(positions))
        if self.window is None:
            return images
        (h, w), (height, width) = images.shape[2:], self.window
        top, left = (h - height) // 2, (w - width) // 2
        return np.ascontiguousarray(images[:, :, top : top + height, left : left + width])

    def verify(self) -> None:
        """Read all pixels and compare their hash; raises DamagedFile where they were changed."""
        self._file.verify()

    def _stored_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions here -> positions in the files."""
        if len(positions) and (positions.min() < 0 or positions.max() >= self.count):
            wrong = positions.min() if positions.min() < 0 else positions.max()
            raise UserError(f"{self.name} has the pictures 0 to {self.count - 1}, not {wrong}")
        return positions if self._positions is None else self._positions[positions]
