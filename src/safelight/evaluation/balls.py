"""Balls around images: which images of one side lie within reach of those of the other.

The ball of a centre reaches to its k-th nearest neighbour among the images of its own side, itself
left out. Distances are Euclidean, in float64, from |a|² + |b|² - 2 a·b. Two squares of distances
that are within TIE of one another, relative to what they were computed from, are the same: rounding
decides nothing. A closed ball holds what lies on its edge, an open one does not; so of k + 1 copies
of a picture each has a closed ball that holds further copies, and an open one that holds nothing.

The same is found for HALVINGS random divisions of both sides into halves A and B: which images of A
lie in the balls that A alone has, and likewise for B.

Memory for n images a side and d features, whatever n: two blocks of TILE x d and 50 MB for a tile;
beside them 4 kB an image, 80 MB for two sides of AT_MOST.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.evaluation.distances import squared_distances, squared_norms
from safelight.evaluation.moments import Features, Floats, blocks
from safelight.seeding import derive

AT_MOST = 10_000  # images a side; the work grows with the square
TILE = 1024
TIE = 1e-12  # of float64's 1e-16, times a few thousand features
HALVINGS = 64
# Neighbours of each image that are remembered: of 48 about 24 are in its own half, and fewer than
# 5 in one case of 10^9. Then its ball there is taken as too small, which only the interval notices.
KEPT = 48

Flags = NDArray[np.bool_]  # (1 + HALVINGS, n): the half of each image; row 0 is the whole, all true
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Inside:
    """How many balls hold each point, and how many points each ball holds.

    of_points: (1 + HALVINGS, m), of_centres: (1 + HALVINGS, n): in the whole, then in each image's
    own half; halves_points and halves_centres say which half that is.
    """

    of_points: Counts
    of_centres: Counts
    halves_points: Flags
    halves_centres: Flags


def inside(points: Features, centres: Features, k: int, *, closed: bool) -> Inside:
    """Of the first AT_MOST points (m, d) and centres (n, d); n must exceed k."""
    m, n = min(len(points), AT_MOST), min(len(centres), AT_MOST)
    of, to = halves(m, "points"), halves(n, "centres")
    reach = radii(centres, k, to, closed=closed)
    widest = reach.max(axis=0)
    found = Inside(np.zeros(of.shape, np.int64), np.zeros(to.shape, np.int64), of, to)
    for r, a in enumerate(blocks(points, TILE, AT_MOST)):
        rows = slice(r * TILE, r * TILE + len(a))
        for c, b in enumerate(blocks(centres, TILE, AT_MOST)):
            columns = slice(c * TILE, c * TILE + len(b))
            tile = squared_distances(a, b)
            i, j = np.nonzero(tile <= widest[columns])  # few: what follows is done HALVINGS times
            near = tile[i, j]
            for h in range(len(reach)):
                held = (near <= reach[h, columns][j]) & (of[h, rows][i] == to[h, columns][j])
                found.of_points[h, rows] += np.bincount(i[held], minlength=len(a))
                found.of_centres[h, columns] += np.bincount(j[held], minlength=len(b))
    return found


def halves(n: int, side: str) -> Flags:
    """Divisions of n images at random; the two sides of a comparison are divided independently."""
    rng = np.random.default_rng(derive(0, "halves", side))
    orders = rng.permuted(np.tile(np.arange(n), (HALVINGS, 1)), axis=1)
    return np.concatenate([np.ones((1, n), np.bool_), orders < n // 2])


def radii(centres: Features, k: int, divided: Flags, *, closed: bool) -> Floats:
    """The squared reach of each ball, (1 + HALVINGS, n): what is not further away is inside."""
    distances, names, norms = nearest(centres)
    every = np.arange(len(names))
    found = np.empty(divided.shape)
    for h, half in enumerate(divided):
        of_own_half = np.cumsum(half[names] == half[:, None], axis=1, dtype=np.int8)
        last = np.where(of_own_half[:, -1] >= k, np.argmax(of_own_half >= k, axis=1), -1)
        found[h] = distances[every, last]
    slack = TIE * (found + norms)
    # An open ball of no radius around the origin must not hold the origin.
    return found + slack if closed else np.nextafter(found - slack, -np.inf)


def nearest(side: Features) -> tuple[Floats, Counts, Floats]:
    """The KEPT nearest other images of each: squared distances (n, kept), rising; their indices;
    and |image|², (n,)."""
    distances, names, norms = [], [], []
    n = min(len(side), AT_MOST)
    kept = min(KEPT, n - 1)
    for r, a in enumerate(blocks(side, TILE, AT_MOST)):
        best, who = np.empty((len(a), 0)), np.empty((len(a), 0), np.int64)
        for c, b in enumerate(blocks(side, TILE, AT_MOST)):
            tile = squared_distances(a, b)
            if r == c:
                np.fill_diagonal(tile, np.inf)
            those = np.broadcast_to(np.arange(c * TILE, c * TILE + len(b)), tile.shape)
            best, who = _least(np.hstack([best, tile]), np.hstack([who, those]), kept)
        order = np.argsort(best, axis=1)
        distances.append(np.take_along_axis(best, order, axis=1))
        names.append(np.take_along_axis(who, order, axis=1))
        norms.append(squared_norms(a))
    return np.concatenate(distances), np.concatenate(names), np.concatenate(norms)


def _least(values: Floats, names: Counts, kept: int) -> tuple[Floats, Counts]:
    """The `kept` least of each row, in any order, all where there are no more; with their names."""
    if values.shape[1] <= kept:
        return values, names
    at = np.argpartition(values, kept - 1, axis=1)[:, :kept]
    return np.take_along_axis(values, at, axis=1), np.take_along_axis(names, at, axis=1)
