"""The order in which an epoch visits the pictures: any part of it, without the rest."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from safelight.seeding import derive, scattered

ROUNDS = 12  # of 5 pictures and more all orders come about as often; with 8 some are rare


def visited(visits: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Which of `count` pictures the visits 0, 1, ... are of.

    Epoch e is the visits e count to (e + 1) count - 1; it sees each picture once, in an order that
    (seed, e) decides. Time and memory are those of these visits alone, whatever the count.
    """
    epochs, places = np.divmod(visits, count)
    each, of = np.unique(epochs, return_inverse=True)
    keys = np.array([derive(seed, "epoch", int(epoch)) for epoch in each], np.uint64)[of]
    return permuted(places.astype(np.uint64), keys, count).astype(np.int64)


def permuted(
    places: NDArray[np.uint64], keys: NDArray[np.uint64], count: int
) -> NDArray[np.uint64]:
    """Where the permutation of 0..count-1 that each key stands for puts each place.

    A Feistel network on a grid that is hardly larger; what comes out of 0..count-1 goes through it
    again until it is back ("cycle walking": Black and Rogaway, CT-RSA 2002).
    """
    rows = math.isqrt(count - 1) + 1
    # Even: of a grid with two odd sides, a network reaches the even permutations alone.
    columns = 2 * -(-count // (2 * rows))
    found, outside = places.copy(), np.arange(len(places))
    while len(outside):
        found[outside] = _network(found[outside], keys[outside], rows, columns)
        outside = outside[found[outside] >= count]
    return found


def _network(
    cells: NDArray[np.uint64], keys: NDArray[np.uint64], rows: int, columns: int
) -> NDArray[np.uint64]:
    """A permutation of the cells of a grid: each column is turned by its own number, then each row,
    and so on."""
    sides = np.array([rows, columns], np.uint64)
    place: list[NDArray[np.uint64]] = list(np.divmod(cells, sides[1]))  # row and column
    for k in range(ROUNDS):
        moved, other = k % 2, 1 - k % 2
        by = scattered(keys, place[other] * np.uint64(ROUNDS) + np.uint64(k))
        place[moved] = (place[moved] + by % sides[moved]) % sides[moved]
    moved_to: NDArray[np.uint64] = place[0] * sides[1] + place[1]
    return moved_to
