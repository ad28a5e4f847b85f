"""How many pictures there are, by class and split, as a table shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safelight.data.splits import SPLITS


@dataclass(frozen=True)
class CountsShown:
    """rows: (class, images of each split); splits: those that have any. totals: of the splits."""

    splits: tuple[str, ...]
    rows: list[tuple[str, list[int]]]
    totals: list[int]

    @property
    def largest(self) -> int:
        """The pictures of the largest class, at least 1: the length of the longest bar."""
        return max(1, *(sum(row) for _, row in self.rows))


def counts_shown(counts: Sequence[tuple[str, Mapping[str, int]]]) -> CountsShown:
    """Of (class, split -> images)."""
    every = [sum(row.get(split, 0) for _, row in counts) for split in SPLITS]
    splits = tuple(split for split, n in zip(SPLITS, every, strict=True) if n)
    rows = [(name, [row.get(split, 0) for split in splits]) for name, row in counts]
    return CountsShown(splits, rows, [n for n in every if n])
