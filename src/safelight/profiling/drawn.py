"""Which pictures are looked at where all would take too long."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from safelight.seeding import derive

Positions = NDArray[np.int64]


def numbers_for(purpose: str) -> np.random.Generator:
    """Random numbers of their own for each purpose: the same page of the same pictures."""
    return np.random.default_rng(derive(0, "profile", purpose))


def drawn_evenly(groups: NDArray[np.integer], most: int, purpose: str) -> Positions:
    """At most `most` of the positions 0..n-1, ascending; `groups` (n,) says what each belongs to.

    Systematic sampling (Cochran 1977, chapter 8): the pictures lie group by group, at random within
    each, and every (n / most)-th is taken. So each group has its share of them, within 1.
    """
    n = len(groups)
    if n <= most:
        return np.arange(n)
    rng = numbers_for(purpose)
    order = np.lexsort((rng.permutation(n), groups))
    places = ((np.arange(most) + rng.random()) * (n / most)).astype(np.int64)
    return np.sort(order[places])


def first_of_each(groups: NDArray[np.integer], most: int, purpose: str) -> dict[int, Positions]:
    """At most `most` positions of each group, drawn at random and then ascending."""
    order = numbers_for(purpose).permutation(len(groups))
    drawn = order[np.argsort(groups[order], kind="stable")]
    names, starts = np.unique(groups[drawn], return_index=True)
    ends = np.append(starts[1:], len(drawn))
    return {
        int(name): np.sort(drawn[start : min(end, start + most)])
        for name, start, end in zip(names, starts, ends, strict=True)
    }
