"""The pictures that a source holds, before any of them is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from safelight.data.decode import Batch
from safelight.data.look import Look, Size
from safelight.data.parts import Part, Positions
from safelight.data.walk import Rejection

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Listing:
    """The n pictures of a source in their order.

    `labels` are positions in `classes` (all 0 where there are none), `splits` positions in SPLITS.
    `parts` hold the pictures, one after another. `ignored` counts the files whose ending is no
    picture's, by ending, and `left_aside` names the first of them.
    """

    names: Sequence[str]
    labels: Labels
    splits: NDArray[np.uint8] | None
    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    ignored: dict[str, int] = field(default_factory=dict)
    left_aside: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()

    @property
    def strata(self) -> tuple[str, ...]:
        """The classes, or one stratum of everything."""
        return self.classes or ("",)

    def taken(self, keep: NDArray[np.bool_]) -> Listing:
        """Only the pictures where `keep` is true."""
        where = np.flatnonzero(keep)
        return replace(
            self,
            names=[self.names[i] for i in where.tolist()],
            labels=self.labels[where],
            splits=None if self.splits is None else self.splits[where],
            parts=tuple(part.taken(within) for part, within in self._within(where)),
        )

    def renumbered(self, kept: Sequence[int]) -> Listing:
        """With the classes `kept` only, which are all that the labels still name."""
        return replace(
            self,
            labels=np.searchsorted(kept, self.labels).astype(np.int64),
            classes=tuple(self.classes[i] for i in kept),
        )

    def first(self) -> tuple[str, Size] | None:
        """The name and the size (w, h) of the first picture that can be read, if there is one."""
        before = 0
        for part in self.parts:
            found = part.first()
            if found is not None:
                return self.names[before + found[0]], found[1]
            before += len(part)
        return None

    def batches(self, wanted: Positions, look: Look, workers: int) -> Iterator[Batch]:
        """The pictures at these positions, which rise."""
        for part, within in self._within(wanted):
            if len(within):
                yield from part.batches(within, look, workers)

    def pixels(self, positions: Positions, look: Look) -> NDArray[np.uint8]:
        """(b, c, h, w): the pictures at these positions, all of which can be read."""
        wanted, which = np.unique(positions, return_inverse=True)
        return np.concatenate([batch.pixels for batch in self.batches(wanted, look, 1)])[which]

    def _within(self, positions: Positions) -> Iterator[tuple[Part, Positions]]:
        """Each part, and which of its own pictures these rising positions mean."""
        before = 0
        for part in self.parts:
            first, last = np.searchsorted(positions, (before, before + len(part)))
            yield part, positions[first:last] - before
            before += len(part)
