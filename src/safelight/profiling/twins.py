"""Pictures that are there twice, by where the other one is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.data.cache import Cache
from safelight.profiling.groups import Groups

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Twins:
    """rows (p, 3) as `Cache.duplicates` gives them; across, relabelled (p,): which have their first
    one in another split, and in another class."""

    rows: NDArray[np.int64]
    across: Flags
    relabelled: Flags

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def same(self) -> Flags:
        """Which are the same to the last value, (p,)."""
        return np.asarray(self.rows[:, 2] == 1)

    def telling(self, most: int) -> NDArray[np.int64]:
        """Places of the rows to show: those across splits first, then those of two classes, then
        those that are only nearly the same."""
        order = np.lexsort((self.rows[:, 2], ~self.relabelled, ~self.across))
        return order[:most]


def twins_of(cache: Cache, groups: Groups) -> Twins | None:
    """None of a cache in which they were not looked for."""
    rows = cache.duplicates()
    if rows is None:
        return None
    labels = cache.class_labels()
    first, second = rows[:, 1], rows[:, 0]
    across = groups.splits[first] != groups.splits[second]
    relabelled = (
        np.zeros(len(rows), np.bool_) if labels is None else labels[first] != labels[second]
    )
    return Twins(rows, across, relabelled)
