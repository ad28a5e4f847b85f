"""How many pictures there are, by class and split, as a table shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from safelight.data.splits import SPLITS


@dataclass(frozen=True)
class CountsShown:
    """rows: (class, images of each split); splits: those that have any. totals: of the splits.

    others: a row for all classes that have none.
    """

    splits: tuple[str, ...]
    rows: list[tuple[str, list[int]]]
    totals: list[int]
    others: tuple[str, list[int]] | None = None

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


def with_others(shown: CountsShown, called: str, others: CountsShown) -> CountsShown:
    """The same with these classes in one row."""
    splits = tuple(s for s in SPLITS if s in shown.splits or s in others.splits)

    def spread(row: Sequence[int], of: CountsShown) -> list[int]:
        held = dict(zip(of.splits, row, strict=True))
        return [held.get(split, 0) for split in splits]

    mine, theirs = spread(shown.totals, shown), spread(others.totals, others)
    return replace(
        shown,
        splits=splits,
        rows=[(name, spread(row, shown)) for name, row in shown.rows],
        totals=[a + b for a, b in zip(mine, theirs, strict=True)],
        others=(called, theirs),
    )
