"""Streaming moments: mean and covariance of any number of features in constant memory.

Memory: 8 d² bytes for the sums, as much again while a block is added, and one block of
BLOCK_ROWS x d; for d = 2,048 that is 85 MB, however many images there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from safelight.errors import UserError

Features = NDArray[np.float32]  # (n, d), usually a memory map of a file
Floats = NDArray[np.float64]

BLOCK_ROWS = 1024


@dataclass(frozen=True)
class SideFeatures:
    """The features of each side of an evaluation from one network; stand_in may not exist."""

    generated: Features
    reference: Features
    stand_in: Features | None


def blocks(features: NDArray[Any], rows: int = BLOCK_ROWS) -> Iterator[Floats]:
    """`features` (n, d) as float64 blocks of at most `rows`; raises UserError on NaN or infinity.

    Can be asked again for another pass; only one block is in memory at a time.
    """
    for start in range(0, len(features), rows):
        block = np.asarray(features[start : start + rows], dtype=np.float64)
        if not np.isfinite(block).all():
            row = start + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise UserError(
                f"the features of image {row} are not finite (NaN or infinity), so no number can "
                "be computed from them; look at that image, and at the model that made it"
            )
        yield block


class Moments:
    """Count n, mean (d,) and centred sum of squares M2 (d, d) of rows seen so far, in float64.

    Blocks and shards are joined by Chan, Golub and LeVeque's pairwise update (1983):
        delta = mean_b - mean_a
        mean  = mean_a + delta n_b / n
        M2    = M2_a + M2_b + delta deltaᵀ n_a n_b / n
    so that merging shards equals one pass up to rounding.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.mean = np.zeros(dimension)
        self.squares = np.zeros((dimension, dimension))

    def update(self, block: NDArray[Any]) -> None:
        """Add a block of rows, (b, d)."""
        if len(block) == 0:
            return
        rows = np.array(block, dtype=np.float64)  # a copy: it is centred in place
        mean = rows.mean(axis=0)
        rows -= mean
        self._join(len(rows), mean, rows.T @ rows)

    def merge(self, other: Self) -> Self:
        """The moments of both sets of rows; neither is changed."""
        merged = type(self)(len(self.mean))
        for part in (self, other):
            merged._join(part.count, part.mean, part.squares)
        return merged

    @property
    def covariance(self) -> Floats:
        """(d, d), divided by n - 1; of a single row there is none (ValueError)."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 rows, got {self.count}")
        return self.squares / (self.count - 1)

    def _join(self, count: int, mean: Floats, squares: Floats) -> None:
        if count == 0:
            return
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.squares += squares
        weighted = delta * np.sqrt(self.count * count / total)
        self.squares += np.outer(weighted, weighted)
        self.count = total


def moments(features: NDArray[Any]) -> Moments:
    """One pass over (n, d) features."""
    held = Moments(features.shape[1])
    for block in blocks(features):
        held.update(block)
    return held
