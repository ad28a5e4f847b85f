"""The sizes that the pictures had before they were made equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.data.cache import Cache
from safelight.evaluation.moments import Floats

CUT = 0.2  # of a picture's area, cut off to make it fit


@dataclass(frozen=True)
class Originals:
    """sizes: (n, 2) width and height of each. target: (width, height) of the cache."""

    sizes: NDArray[np.int32]
    target: tuple[int, int]

    @property
    def enlarged(self) -> int:
        """How many were smaller than the cache's pictures, on either side."""
        return int((self.sizes < self.target).any(1).sum())

    @property
    def aspects(self) -> Floats:
        """Width over height, (n,)."""
        return np.asarray(self.sizes[:, 0] / self.sizes[:, 1], np.float64)

    @property
    def lost(self) -> Floats:
        """The share of each picture's area that is cut off to give it the cache's aspect, (n,)."""
        ratio = self.aspects * (self.target[1] / self.target[0])
        return np.asarray(1 - np.minimum(ratio, 1 / ratio), np.float64)

    def commonest(self, most: int) -> list[tuple[tuple[int, int], int]]:
        """((width, height), how many), the commonest first."""
        # one number for each size, since numpy sorts numbers much faster than rows
        sizes = self.sizes.astype(np.int64)
        found, counts = np.unique((sizes[:, 0] << 32) + sizes[:, 1], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:most]
        return [
            ((value >> 32, value & (2**32 - 1)), n)
            for value, n in zip(found[order].tolist(), counts[order].tolist(), strict=True)
        ]


def originals_of(cache: Cache) -> Originals | None:
    """None of a cache that was made before sizes were written down."""
    sizes = cache.own_sizes()
    return None if sizes is None else Originals(sizes, cache.meta.size)
