"""The sizes that the pictures had before they were made equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.data.cache import Cache
from safelight.data.fitting import enlarged
from safelight.data.look import Look, Size
from safelight.evaluation.moments import Floats

CUT = 0.2  # of a picture's area, cut off to make it fit


@dataclass(frozen=True)
class Originals:
    """sizes: (n, 2) width and height of each. look: how the cache's pictures were made of them."""

    sizes: NDArray[np.int32]
    look: Look

    @property
    def target(self) -> Size:
        """Width and height of the cache's pictures."""
        return self.look.size

    @property
    def enlarged(self) -> int:
        """How many were scaled up."""
        return enlarged(self.sizes, self.look)

    def room(self, share: float) -> float:
        """The part of the target's sides that all but this share of the originals fill."""
        parts = self.sizes / np.array(self.target)
        filled = parts.min(1) if self.look.fit == "crop" else parts.max(1)
        # the lower of two: between a thumbnail and a photograph lies no size that mends either
        return float(np.quantile(filled, share, method="lower"))

    @property
    def aspects(self) -> Floats:
        """Width over height, (n,)."""
        return np.asarray(self.sizes[:, 0] / self.sizes[:, 1], np.float64)

    @property
    def lost(self) -> Floats:
        """The share of each picture's area that is cut off to give it the cache's aspect, (n,)."""
        if self.look.fit != "crop":
            return np.zeros(len(self.sizes))
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
    if sizes is None:
        return None
    return Originals(sizes, cache.meta.options.look(cache.meta.size))
