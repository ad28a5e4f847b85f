"""Streaming moments: mean and covariance of any number of features in constant memory.

Memory: 8 d² bytes for the sums, twice as much again while a block is added, and two blocks of
BLOCK_ROWS x d; for d = 2,048 that is 135 MB, however many images there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from safelight.errors import UserError

Floats = NDArray[np.float64]

BLOCK_ROWS = 1024


class FeatureFile:
    """A .npy file of (n, d) float32, read slice by slice.

    Not memory-mapped: the pages of a map count as the process's own memory, which would then
    grow with n. Raises ValueError where the file is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path} is not a .npy file of version 1.0")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            self._start = file.tell()
        if len(shape) != 2 or fortran or dtype != np.dtype("<f4"):
            raise ValueError(f"{path} does not hold rows of float32")
        if path.stat().st_size != self._start + 4 * shape[0] * shape[1]:
            raise ValueError(f"{path} was cut short or lengthened")
        self.shape: tuple[int, int] = shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Rows start:stop, (b, d)."""
        start, stop, _ = rows.indices(len(self))
        count, d = max(stop - start, 0), self.shape[1]
        offset = self._start + 4 * start * d
        flat = np.fromfile(self.path, dtype="<f4", count=count * d, offset=offset)
        return flat.reshape(count, d)


class Rows:
    """Chosen rows of several files, (n, d) float32, read when they are asked for.

    positions: of the rows, in the files one after another.
    """

    def __init__(self, files: Sequence[FeatureFile], positions: NDArray[np.int64]) -> None:
        self._files, self._positions = files, positions
        self._starts = np.cumsum([0, *map(len, files)])
        self.shape: tuple[int, int] = (len(positions), files[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Rows start:stop, (b, d)."""
        found = np.empty((len(range(*rows.indices(len(self)))), self.shape[1]), np.float32)
        for i, position in enumerate(self._positions[rows].tolist()):
            file = int(np.searchsorted(self._starts, position, side="right")) - 1
            at = position - int(self._starts[file])
            found[i] = self._files[file][at : at + 1]
        return found


Features = FeatureFile | Rows | NDArray[np.float32]  # (n, d)


@dataclass(frozen=True)
class SideFeatures:
    """The features of each side of an evaluation from one network.

    stand_in may not exist; training and held_out exist where the plan has them.
    """

    generated: Features
    reference: Features
    stand_in: Features | None
    training: Features | None = None
    held_out: Features | None = None


def blocks(
    features: Features, rows: int = BLOCK_ROWS, at_most: int | None = None
) -> Iterator[Floats]:
    """The first `at_most` rows (default: all) as float64 blocks of at most `rows` rows.

    Can be asked again for another pass; only one block is in memory at a time. Raises UserError
    on NaN or infinity.
    """
    end = len(features) if at_most is None else min(len(features), at_most)
    for start in range(0, end, rows):
        block = np.asarray(features[start : min(start + rows, end)], dtype=np.float64)
        if not np.isfinite(block).all():
            row = start + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise UserError(
                f"the features of image {row} are not finite (NaN or infinity), so no number can "
                "be computed from them; look at that image, and at the model that made it"
            )
        yield block


def directions(rows: Floats) -> Floats:
    """Rows scaled to length 1, (b, d). Raises UserError on a row of zeros, which has none."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise UserError(
            "the features of an image are all zero and have no direction, so no cosine can be "
            "computed from them; use another network with --features"
        )
    scaled: Floats = rows / lengths
    return scaled


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


def moments(features: Features, kept: NDArray[np.bool_] | None = None) -> Moments:
    """One pass over (n, d) features, or those of them that are `kept` (n,)."""
    held, start = Moments(features.shape[1]), 0
    for block in blocks(features):
        end = start + len(block)
        held.update(block if kept is None else block[kept[start:end]])
        start = end
    return held


@dataclass(frozen=True)
class Normal:
    """What is left of Moments when all rows were seen: mean (d,) and covariance (d, d)."""

    mean: Floats
    covariance: Floats


def normal(features: Features, kept: NDArray[np.bool_] | None = None) -> Normal:
    """One pass, as `moments`; half of their memory is free afterwards."""
    held = moments(features, kept)
    return Normal(held.mean, held.covariance)
