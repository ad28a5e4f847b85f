"""What is noted of every picture as it is stored, to find those that are there twice.

64 bits of its content, the same for the same pixels, and a thumbnail of 8x8 levels of grey.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

THUMBNAIL = 8  # pixels a side
LOOKED_AT = 32  # rows and columns that a thumbnail is made of, up to twice as many
FEW = 16  # pixels that are looked at first
NOTHING = 2  # levels between the lowest and the highest value of what has one colour, or no colour


class Prints:
    """Those of the pictures so far, about 110 bytes of each."""

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._grey: list[NDArray[np.bool_]] = []
        self._constant: list[NDArray[np.bool_]] = []

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """pixels: (m, c, h, w). A grey picture has the same prints however many channels it has."""
        if len(pixels) == 0:
            return
        grey = without_colour(pixels)
        self._hashes += map(_hash, pixels, grey.tolist())
        self._thumbnails.append(small(_some(pixels)))
        self._grey.append(grey)
        self._constant.append(of_one_colour(pixels))

    def keep_only(self, kept: NDArray[np.bool_]) -> None:
        """Forget all others. kept: (n,)."""
        self._hashes = self.hashes()[kept].tolist()
        self._thumbnails = [self.thumbnails()[kept]]
        self._grey, self._constant = [self.grey()[kept]], [self.constant()[kept]]

    def hashes(self) -> NDArray[np.int64]:
        """(n,): of Python's own hash of bytes, so that they mean nothing to another process."""
        return np.array(self._hashes, np.int64)

    def thumbnails(self) -> NDArray[np.uint8]:
        """(n, d), d = 64 unless pictures have less pixels."""
        return np.concatenate(self._thumbnails)

    def grey(self) -> NDArray[np.bool_]:
        """(n,): which have no colour, be it stored or not."""
        return np.concatenate(self._grey)

    def constant(self) -> NDArray[np.bool_]:
        """(n,): which are of one colour."""
        return np.concatenate(self._constant)


def without_colour(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(m, c, h, w) -> (m,): which are grey, but for NOTHING."""
    some = _some(pixels)
    return _all_along(some.reshape(*some.shape[:2], -1), axis=1)


def of_one_colour(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(m, c, h, w) -> (m,): which have the same value everywhere, but for NOTHING."""
    return _all_along(pixels.reshape(*pixels.shape[:2], -1), axis=2)


def _all_along(values: NDArray[np.uint8], axis: int) -> NDArray[np.bool_]:
    """(m, c, n) -> (m,): where all values along the axis are the same, but for NOTHING.

    A few pixels rule out most pictures, which saves nine tenths of the time.
    """
    found = _within(values[..., :: max(1, values.shape[2] // FEW)], axis)
    found[found] = _within(values[found], axis)
    return found


def _within(values: NDArray[np.uint8], axis: int) -> NDArray[np.bool_]:
    spread: NDArray[np.uint8] = np.ptp(values, axis=axis)
    return np.asarray(spread.max(1) <= NOTHING)


def _some(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(m, c, h, w) -> every few rows and columns."""
    _, _, h, w = pixels.shape
    return pixels[..., :: max(1, h // LOOKED_AT), :: max(1, w // LOOKED_AT)]


def _hash(image: NDArray[np.uint8], grey: bool) -> int:
    """Of (c, h, w); of one channel alone where all are the same."""
    planes = [plane.tobytes() for plane in image] if grey else []
    if planes and all(plane == planes[0] for plane in planes):
        return hash(planes[0])
    return hash(image.tobytes())


def small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(m, c, h, w) -> (m, d): means of blocks, over all channels.

    All sums are of whole numbers below 2^24, so that equal pictures have equal thumbnails.
    """
    _, c, h, w = pixels.shape
    levels = pixels.sum(1, dtype=np.uint16 if c <= 256 else np.uint32).astype(np.float32)
    rows, columns = _blocks(h), _blocks(w)
    counts = rows.sum(1)[:, None] * columns.sum(1)
    means = (rows @ levels @ columns.T).astype(np.float64) / (c * counts)
    levels_of_grey: NDArray[np.uint8] = np.rint(means).astype(np.uint8)
    return levels_of_grey.reshape(len(pixels), -1)


@lru_cache
def _blocks(n: int) -> NDArray[np.float32]:
    """(k, n) of 0 and 1: which of n pixels are in which of k <= THUMBNAIL blocks."""
    k = min(THUMBNAIL, n)
    block = np.arange(n) * k // n
    return np.asarray(block == np.arange(k)[:, None], np.float32)
