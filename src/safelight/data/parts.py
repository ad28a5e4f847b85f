"""Pictures that are read in one way: files that have to be decoded, or arrays that are there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from safelight.data.blocks import at_once
from safelight.data.colour import MODES
from safelight.data.decode import Batch, Decoded, batch_of, image_of, readable_size
from safelight.data.fitting import fitted, framed, refuse_misfit
from safelight.data.look import Look, Size
from safelight.data.pixels import COLOURS, Rows
from safelight.data.readers import READERS
from safelight.data.workers import Job, decoded

# Starting processes takes longer than decoding less than this in the process that is there.
FEW_FILES = 500
FEW_BYTES = 16 * 2**20
CHUNK = 256  # pictures of an array at a time
CHUNK_BYTES = 4 * 2**20

Positions = NDArray[np.int64]


class Part(Protocol):
    """Pictures 0..n-1."""

    def __len__(self) -> int: ...

    def taken(self, positions: Positions) -> Part:
        """Only these."""
        ...

    def first(self) -> tuple[int, Size] | None:
        """The first picture that can be read, and its own (w, h); None where there is none."""
        ...

    def batches(self, wanted: Positions, look: Look, workers: int) -> Iterator[Batch]:
        """These pictures, in this order, which is a rising one."""
        ...


@dataclass(frozen=True)
class Files:
    """Files of pictures; `keys` are what the reader `kind` of `root` takes, `sizes` their bytes."""

    kind: str
    root: str
    keys: Sequence[str]
    sizes: Sequence[int]

    def __len__(self) -> int:
        return len(self.keys)

    def taken(self, positions: Positions) -> Files:
        where = positions.tolist()
        keys, sizes = [self.keys[i] for i in where], [self.sizes[i] for i in where]
        return Files(self.kind, self.root, keys, sizes)

    def first(self) -> tuple[int, Size] | None:
        read = READERS[self.kind](self.root)
        sizes = ((i, readable_size(read, key)) for i, key in enumerate(self.keys))
        return next(((i, size) for i, size in sizes if size is not None), None)

    def batches(self, wanted: Positions, look: Look, workers: int) -> Iterator[Batch]:
        where = wanted.tolist()
        workers = 1 if few([self.sizes[i] for i in where]) else workers
        return decoded(Job(self.kind, self.root, look), [self.keys[i] for i in where], workers)


def few(sizes: Sequence[int]) -> bool:
    """Whether files of so many bytes are decoded sooner than processes are started for it."""
    return len(sizes) < FEW_FILES and sum(sizes) < FEW_BYTES


@dataclass(frozen=True)
class Stack:
    """Pictures of one size that need no decoding: those at `positions` of `rows`."""

    rows: Rows
    positions: Positions

    @classmethod
    def of(cls, rows: Rows) -> Stack:
        """All of them."""
        return cls(rows, np.arange(rows.shape[0]))

    def __len__(self) -> int:
        return len(self.positions)

    def taken(self, positions: Positions) -> Stack:
        return Stack(self.rows, self.positions[positions])

    def first(self) -> tuple[int, Size] | None:
        _, _, h, w = self.rows.shape
        return (0, (w, h)) if len(self) else None

    def batches(self, wanted: Positions, look: Look, workers: int) -> Iterator[Batch]:
        make = _pictures if self.rows.shape[1] in COLOURS else _planes
        length = at_once(CHUNK, math.prod(self.rows.shape[1:]), CHUNK_BYTES)
        for start in range(0, len(wanted), length):
            some = self.positions[wanted[start : start + length]]
            yield make(self.rows.read(some), look)


def _pictures(pixels: NDArray[np.uint8], look: Look) -> Batch:
    return batch_of((partial(_as_wanted, one, look) for one in pixels), look)


def _planes(pixels: NDArray[np.uint8], look: Look) -> Batch:
    """With channels that are no colours: each is resized by itself, on the background's grey."""
    m, c, h, w = pixels.shape
    alone = _pictures(pixels.reshape(m * c, 1, h, w), replace(look, channels="grey"))
    shape = (len(alone.pixels) // c, c, *alone.pixels.shape[2:])
    return Batch(alone.pixels.reshape(shape), alone.found[::c], alone.made[::c])


def _as_wanted(pixels: NDArray[np.uint8], look: Look) -> Decoded:
    """Raises RejectedPicture."""
    image = image_of(pixels)
    refuse_misfit(image.size, look)
    image = image.convert(MODES.get(look.channels, image.mode))
    return Decoded(fitted(image, framed(image.size, look), look), image.size)
