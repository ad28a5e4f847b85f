"""Pictures that are there twice: exactly, and nearly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from safelight.evaluation.counting import Flags
from safelight.evaluation.signature import Signatures

NEAR = 0.05  # of its own contrast: how far another thumbnail may be from a picture's
LEAST_CONTRAST = 4.0  # levels of deviation in a thumbnail, without which all of them are alike
ROWS = 1024  # thumbnails on one side of a block of distances


def copies(queries: Signatures, among: Signatures) -> Flags:
    """Which of the queries are among the others, to the last value."""
    return np.isin(queries.hashes(), among.hashes())


def repeats(pictures: Signatures) -> Flags:
    """Which pictures are there more than once."""
    _, which, counts = np.unique(pictures.hashes(), return_inverse=True, return_counts=True)
    return counts[which] > 1


def near_copies(queries: Signatures, among: Signatures) -> Flags:
    """Which of the queries have a picture among the others that is nearly the same.

    Two pictures are where their 8x8 thumbnails q and t differ by little of q's contrast:
        mean (q - t)² <= NEAR² mean (q - mean q)²
    so that two clear skies are not the same. Pictures that were compressed again, or have noise of
    a few levels, still are; mirrored or shifted by a pixel they are not. `among` may be `queries`:
    no picture is its own copy. Takes O(n m) time and about 10 MB, whatever n and m are.
    """
    found = np.zeros(len(queries), np.bool_)
    for start, q in _blocks(queries):
        # |q - t|² is at most the limit where q·t - |t|²/2 is at least this
        least = (np.square(q).sum(1) - NEAR**2 * q.var(axis=1) * q.shape[1]) / 2
        least[q.std(axis=1) < LEAST_CONTRAST] = np.inf
        for other, t in _blocks(among):
            products = q @ t.T
            products -= np.square(t).sum(1) / 2
            if among is queries and other == start:
                np.fill_diagonal(products, -np.inf)
            found[start : start + len(q)] |= products.max(axis=1) >= least
    return found


def _blocks(pictures: Signatures) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Where it starts, and the thumbnails around 0: (b, 192)."""
    for start in range(0, len(pictures), ROWS):
        yield start, pictures.thumbnails(start, start + ROWS) - np.float32(127.5)
