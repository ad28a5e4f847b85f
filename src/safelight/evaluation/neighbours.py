"""The nearest of many vectors to given ones, in bounded memory: features, or pictures' pixels.

Distance is the root of the mean squared difference over the d numbers of a vector. Of pixels, in
[-1, 1], 0 is a copy and 2 black against white; it does not see a copy that was moved by a pixel or
mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.evaluation.distances import squared_distances, squared_norms
from safelight.evaluation.moments import Features, Floats
from safelight.images import ImageSource, dequantise

MEMORY = 64 * 2**20  # bytes for one block of each side and their distances; see `nearest`
NOTHING = 1e-12  # of |q|² + |t|²: what rounding leaves of the squared distance of equal vectors


@dataclass(frozen=True)
class Nearest:
    """The k nearest of n vectors: positions int64 (n, k), distances (n, k), ascending."""

    positions: NDArray[np.int64]
    distances: Floats


class Pixels:
    """Stored pictures as vectors: their values in [-1, 1], (count, c h w) float32."""

    def __init__(self, source: ImageSource) -> None:
        if source.count is None:  # a fault of ours: a model's pictures would be drawn again
            raise ValueError(f"{source.name} holds no pictures, it makes them")
        self._source = source
        c, h, w = source.shape
        self.shape: tuple[int, int] = (source.count, c * h * w)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Pictures start:stop, (b, c h w)."""
        images = self._source.images(range(*rows.indices(len(self))))
        found: NDArray[np.float32] = dequantise(images).flatten(1).numpy()
        return found


Vectors = Features | Pixels  # (n, d)


def nearest(queries: Vectors, pool: Vectors, k: int, memory: int = MEMORY) -> Nearest:
    """The k vectors of `pool` (m, d) nearest to each of `queries` (n, d); k is at most m.

    Takes about 3 * memory bytes, whatever n and m are, but for the result; queries are the outer
    loop, so a pool of pictures is read once for each block of queries.
    By |q|² + |t|² - 2 q·t in float64, where what is left of equal vectors is taken for nothing.
    """
    d = queries.shape[1]
    rows = max(1, memory // (16 * d))
    parts = [_of_block(q, pool, k, memory) for q in _blocks(queries, rows)]
    return Nearest(
        np.concatenate([positions for positions, _ in parts]),
        np.sqrt(np.concatenate([squared for _, squared in parts]) / d),
    )


def _of_block(q: Floats, pool: Vectors, k: int, memory: int) -> tuple[NDArray[np.int64], Floats]:
    """Positions and squared distances (b, k) of the nearest, found block by block."""
    best, positions = np.empty((len(q), 0)), np.empty((len(q), 0), np.int64)
    # a vector of the pool costs 8 bytes a number, and 24 a query while distances are taken
    rows, start = max(1, memory // (8 * q.shape[1] + 24 * len(q))), 0
    for t in _blocks(pool, rows):
        columns, squared = _smallest(_squared(q, t), k)
        best = np.concatenate([best, squared], 1)
        positions = np.concatenate([positions, start + columns], 1)
        order, best = _smallest(best, k)
        positions = np.take_along_axis(positions, order, 1)
        start += len(t)
    return positions, best


def _smallest(values: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Columns and values (b, k) of the k smallest in each row, ascending; of equals the first."""
    left, columns = values.copy(), []
    for _ in range(min(k, values.shape[1])):
        columns.append(left.argmin(1)[:, None])
        np.put_along_axis(left, columns[-1], np.inf, 1)
    found = np.concatenate(columns, 1)
    return found, np.take_along_axis(values, found, 1)


def _squared(q: Floats, t: Floats) -> Floats:
    """|q - t|² of each pair, (b, m)."""
    squared = squared_distances(q, t)
    squared[squared < NOTHING * (squared_norms(q)[:, None] + squared_norms(t))] = 0
    return squared


def _blocks(vectors: Vectors, rows: int) -> Iterator[Floats]:
    for start in range(0, len(vectors), rows):
        yield np.asarray(vectors[start : start + rows], np.float64)
