"""Pictures that are read in one way: files that have to be decoded, or arrays that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from safelight.data.colour import MODES
from safelight.data.decode import Batch, Decoded, batch_of, image_of, own_size
from safelight.data.fitting import fitted, framed, refuse_misfit
from safelight.data.look import Look, Size
from safelight.data.walk import READERS
from safelight.data.workers import Job, decoded

# Starting processes takes longer than decoding less than this in the process that is there.
FEW_FILES = 500
FEW_BYTES = 16 * 2**20
CHUNK = 256  # pictures of an array at a time

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
        sizes = ((i, own_size(read, key)) for i, key in enumerate(self.keys))
        return next(((i, size) for i, size in sizes if size is not None), None)

    def batches(self, wanted: Positions, look: Look, workers: int) -> Iterator[Batch]:
        where = wanted.tolist()
        few = len(where) < FEW_FILES and sum(self.sizes[i] for i in where) < FEW_BYTES
        job = Job(self.kind, self.root, look)
        return decoded(job, [self.keys[i] for i in where], 1 if few else workers)


@dataclass(frozen=True)
class Stack:
    """Pictures of one size, (n, c, h, w) uint8."""

    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    def taken(self, positions: Positions) -> Stack:
        return Stack(self.pixels[positions])

    def first(self) -> tuple[int, Size] | None:
        _, _, h, w = self.pixels.shape
        return (0, (w, h)) if len(self.pixels) else None

    def batches(self, wanted: Positions, look: Look, workers: int) -> Iterator[Batch]:
        for start in range(0, len(wanted), CHUNK):
            some = self.pixels[wanted[start : start + CHUNK]]
            yield batch_of((partial(_as_wanted, pixels, look) for pixels in some), look)


def _as_wanted(pixels: NDArray[np.uint8], look: Look) -> Decoded:
    """Raises RejectedPicture."""
    image = image_of(pixels)
    refuse_misfit(image.size, look)
    image = image.convert(MODES.get(look.channels, image.mode))
    return Decoded(fitted(image, framed(image.size, look), look), image.size)
