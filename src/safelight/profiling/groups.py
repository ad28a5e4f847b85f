"""The classes as a page can show them: each of the larger ones, and the rest together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.data.cache import Cache
from safelight.data.splits import SPLITS

MOST_SHOWN = 24
ALL = "all"


@dataclass(frozen=True)
class Groups:
    """classes: every class and how many pictures each split has of it, (K, 3); without classes one
    row called ALL. shown: rows that are shown by themselves, in the classes' order.

    of: the group of each picture, (n,): an index into `shown`, or len(shown) for the rest.
    """

    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    shown: tuple[int, ...]
    of: NDArray[np.int64]
    splits: NDArray[np.uint8]  # of each picture, (n,); an index into SPLITS

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.classes[row] for row in self.shown)

    @property
    def there(self) -> int:
        """How many classes have pictures; a split may lack some."""
        return int((self.counts.sum(1) > 0).sum())

    @property
    def folded(self) -> int:
        """How many of these are not shown by themselves."""
        return self.there - len(self.shown)

    @property
    def parts(self) -> NDArray[np.int64]:
        """The class and split of each picture in one number, (n,)."""
        return self.of * len(SPLITS) + self.splits


def groups_of(cache: Cache) -> Groups:
    """Of a cache, or of one of its splits."""
    codes, labels = cache.split_codes(), cache.class_labels()
    classes = cache.classes or (ALL,)
    if labels is None:
        labels = np.zeros(len(codes), np.int64)
    counts = np.zeros((len(classes), len(SPLITS)), np.int64)
    np.add.at(counts, (labels, codes), 1)
    largest = np.argsort(-counts.sum(1), kind="stable")[:MOST_SHOWN]
    shown = np.sort(largest[counts.sum(1)[largest] > 0])
    place = np.full(len(classes), len(shown))
    place[shown] = np.arange(len(shown))
    return Groups(classes, counts, tuple(shown.tolist()), place[labels], codes)
