"""Pictures that are there twice: to the last value, or nearly."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from safelight.data.blocks import at_once
from safelight.data.prints import Prints

# How far another picture may be, of a picture's own contrast. At these, all pairs found among
# CIFAR-10 and photographs of flowers are the same picture, compressed or resized or tinted anew;
# among MNIST's digits, where strokes look alike, none is found.
NEAR_THUMBNAIL = 0.1
NEAR_PIXELS = 0.12
LEAST_CONTRAST = 4.0  # levels of deviation in a thumbnail, without which all of them are alike
DIRECTIONS = 12  # of the thumbnails' largest variance, in which neighbours are searched
SAMPLE = 20_000  # thumbnails whose directions are taken
BLOCK = 1024  # pictures that are searched, or pairs that are compared, at once
PAIRS_BYTES = 16 * 2**20  # of the pictures that are compared at once
FIRST = 32  # pictures that are searched to see how many are near to each
CANDIDATES = 2**17  # pairs that are found at once
WORTH = 16  # pairs that are found while one picture is put into a tree

Pairs = NDArray[np.int64]  # (p, 2), the lower first
Some = NDArray[np.int64]  # positions of some pictures
Read = Callable[[Some], NDArray[np.uint8]]


def duplicates(prints: Prints, read: Read) -> NDArray[np.int64]:
    """(p, 3), by picture: a picture, the first picture like it, and 1 if they are the same.

    0 where they are nearly the same: where both the thumbnails and the pixels q and t differ by
    little of q's contrast, mean (q - t)² <= NEAR² mean (q - mean q)². Mirrored or shifted pictures
    are not. read: gives the pixels (b, c, h, w) of some pictures.
    """
    first = _first_same(prints.hashes())
    same = np.flatnonzero(first != np.arange(len(first)))
    alone = np.flatnonzero(first == np.arange(len(first)))
    kin = np.arange(len(first))
    kin[alone] = alone[_kin(prints.thumbnails()[alone], lambda some: read(alone[some]))]
    nearly = np.flatnonzero(kin != np.arange(len(kin)))
    rows = [np.stack([same, first[same], np.ones_like(same)], 1)]
    rows.append(np.stack([nearly, kin[nearly], np.zeros_like(nearly)], 1))
    found = np.concatenate(rows)
    return found[found[:, 0].argsort()]


def families(found: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(n,): the first of all pictures that are like each, be it over others; itself if none is."""
    return _first_of_each(found[:, 1::-1], n)


def superfluous(
    found: NDArray[np.int64], n: int, splits: NDArray[np.uint8] | None
) -> NDArray[np.int64]:
    """(p, 2): each picture but one of every family, and the one that stays.

    That is the first of those that test, of those that validate if none does, or of all. splits:
    (n,), positions in SPLITS; None where there are none yet.
    """
    family = families(found, n)
    codes = np.zeros(n, np.int64) if splits is None else splits.astype(np.int64)
    order = np.lexsort((np.arange(n), -codes, family))
    heads = np.flatnonzero(np.diff(family[order], prepend=-1))
    stays = np.empty(n, np.int64)
    stays[order] = np.repeat(order[heads], np.diff(heads, append=n))
    gone = np.flatnonzero(stays != np.arange(n))
    return np.stack([gone, stays[gone]], 1)


def _first_same(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    return first[which].astype(np.int64)


def _first_of_each(pairs: Pairs, n: int) -> NDArray[np.int64]:
    """(n,): the first member of the component that each is in."""
    graph = coo_matrix((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, component = connected_components(graph, directed=False)
    first = np.full(count, n, np.int64)
    np.minimum.at(first, component, np.arange(n))
    return np.asarray(first[component])


class _Field(NamedTuple):
    """All thumbnails: their levels (n, d), places in a few directions (n, k), and reaches (n,)."""

    levels: NDArray[np.float32]
    places: NDArray[np.float32]
    reach: NDArray[np.float64]


def _kin(thumbnails: NDArray[np.uint8], read: Read) -> NDArray[np.int64]:
    """(n,): the first of those that are near to each, be it over others. thumbnails: (n, d).

    Their distance in a few directions is at most their distance in all, so that a tree over these
    few misses none. Pairs that are kin already are not compared again. Where nearly all that is
    near is kin, as in a film, even finding it takes long: then a kin asks among all others only.
    """
    kin, contrast = np.arange(len(thumbnails)), thumbnails.std(1)
    clear = np.flatnonzero(contrast >= LEAST_CONTRAST)
    if len(clear) < 2:
        return kin
    levels = thumbnails.astype(np.float32)
    reach = NEAR_THUMBNAIL * contrast * thumbnails.shape[1] ** 0.5
    field = _Field(levels, levels @ _directions(levels), reach)
    todo = [(clear, clear)]  # (who asks, among whom)
    while todo:
        asking, among = todo.pop()
        if len(asking) and len(among):
            kin, left = _searched(kin, asking, among, field, read)
            head = kin[left[0]] if len(left) else -1
            of_the_kin, to_be_asked = kin[left] == head, kin[among] != head
            todo += [(left[~of_the_kin], among), (left[of_the_kin], among[to_be_asked])]
    return kin


def _searched(
    kin: NDArray[np.int64], asking: Some, among: Some, field: _Field, read: Read
) -> tuple[NDArray[np.int64], Some]:
    """The same, with what was found near to those that asked; and those that have yet to ask.

    These are left over where they would mostly find what is kin already, and a tree without the
    kin of the first of them is sooner made than that is found.
    """
    tree, size = cKDTree(field.places[among]), FIRST
    while len(asking):
        asked, i, j = _around(asking[:size], among, tree, field)
        asking, size = asking[len(asked) :], min(BLOCK, 2 * len(asked))
        strange = kin[i] != kin[j]
        kin = _joined(kin, _near(i[strange], j[strange], field), read)
        if len(asking):
            in_vain = (kin[i] == kin[j]).sum() / len(asked)  # pairs that one picture finds
            of_the_kin = (kin[asking] == kin[asking[0]]).sum()
            if in_vain * of_the_kin > WORTH * len(among):
                break
    return kin, asking


def _around(
    asking: Some, among: Some, tree: cKDTree, field: _Field
) -> tuple[Some, NDArray[np.int64], NDArray[np.int64]]:
    """Who asks first, about as many as have CANDIDATES near them; each with each of these."""
    where, reach = field.places[asking], field.reach[asking]
    count = tree.query_ball_point(where[::FIRST], reach[::FIRST], return_length=True)
    n = max(1, FIRST * int(np.searchsorted(FIRST * np.cumsum(count), CANDIDATES)))
    near = tree.query_ball_point(where[:n], reach[:n], return_sorted=False)
    i = np.repeat(asking[:n], [len(some) for some in near])
    return asking[:n], i, among[np.concatenate(near).astype(np.int64)]


def _near(i: Some, j: Some, field: _Field) -> Pairs:
    """Those of these pairs whose thumbnails are near, each once."""
    near = np.square(field.levels[i] - field.levels[j]).sum(1) <= np.square(field.reach[i])
    i, j, n = i[near], j[near], len(field.reach)
    # As numbers of one word, which are sorted ten times as fast as rows of two.
    words = np.unique(np.minimum(i, j) * n + np.maximum(i, j))
    return np.stack(np.divmod(words, n), 1)


def _joined(kin: NDArray[np.int64], pairs: Pairs, read: Read) -> NDArray[np.int64]:
    """The same, with those of these pairs that are near in their pixels."""
    length = at_once(BLOCK, 2 * read(pairs[:1, 0]).nbytes, PAIRS_BYTES) if len(pairs) else 0
    while len(pairs):
        block, pairs = pairs[:length], pairs[length:]
        found = block[_near_in_pixels(block, read)]
        if len(found):
            known = np.stack([kin, np.arange(len(kin))], 1)
            kin = _first_of_each(np.concatenate([known, found]), len(kin))
            pairs = pairs[kin[pairs[:, 0]] != kin[pairs[:, 1]]]
    return kin


def _directions(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(d, k), orthonormal."""
    some = levels[:: -(-len(levels) // SAMPLE)]
    _, vectors = np.linalg.eigh(np.cov(some.T.astype(np.float64)).reshape(levels.shape[1], -1))
    return vectors[:, -DIRECTIONS:].astype(np.float32)


def _near_in_pixels(pairs: Pairs, read: Read) -> NDArray[np.bool_]:
    q, t = (read(pairs[:, side]).mean(1, np.float32).reshape(len(pairs), -1) for side in (0, 1))
    return np.asarray(np.square(q - t).mean(1) <= NEAR_PIXELS**2 * q.var(1))
