"""The pictures that a source holds, before any of them is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from safelight.data.classes import Labels, clean, numbered
from safelight.data.decode import Batch
from safelight.data.look import Look, Size
from safelight.data.parts import Part, Positions
from safelight.data.splits import FREE
from safelight.data.walk import Rejection


@dataclass(frozen=True)
class Listing:
    """The n pictures of a source in their order.

    `labels` are positions in `classes` (all 0 where there are none), `splits` positions in SPLITS.
    `parts` hold the pictures, one after another. `ignored` counts the files whose ending is no
    picture's, by ending, and `left_aside` names the first of them. settled: splits that follow
    --split already, as those of a video do, whose neighbours must not be torn apart; FREE where a
    picture has none such, and None where all are free.
    """

    names: Sequence[str]
    labels: Labels
    splits: NDArray[np.uint8] | None
    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    ignored: dict[str, int] = field(default_factory=dict)
    left_aside: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    settled: NDArray[np.uint8] | None = None

    def kept_splits(self, asked: str | None) -> NDArray[np.uint8] | None:
        """The splits that stay where --split asks for this; None where it divides anew."""
        own = self.splits if asked is None else None
        if self.settled is None:
            return own
        rest = np.zeros_like(self.settled) if own is None else own
        return np.where(self.settled == FREE, rest, self.settled)

    @property
    def strata(self) -> tuple[str, ...]:
        """The classes, or one stratum of everything."""
        return self.classes or ("",)

    def taken(self, keep: NDArray[np.bool_]) -> Listing:
        """Only the pictures where `keep` is true."""
        where = np.flatnonzero(keep)
        return replace(
            self.told_of(where),
            names=[self.names[i] for i in where.tolist()],
            parts=tuple(part.taken(within) for part, within in self._within(where)),
        )

    def told_of(self, where: Positions) -> Listing:
        """With the labels and splits of these pictures only; the pictures stay."""
        return replace(
            self,
            labels=self.labels[where],
            splits=None if self.splits is None else self.splits[where],
            settled=None if self.settled is None else self.settled[where],
        )

    def renumbered(self, kept: Sequence[int]) -> Listing:
        """With the classes `kept` only, which are all that the labels still name."""
        return replace(
            self,
            labels=np.searchsorted(kept, self.labels).astype(np.int64),
            classes=tuple(self.classes[i] for i in kept),
        )

    def classed(self, texts: Sequence[str], reason: str, known: tuple[str, ...] = ()) -> Listing:
        """With the class of each by name; one of an empty name is left out for this reason.

        known: all of the classes, in an order that is not that of their names.
        """
        texts = list(map(clean, texts))
        _, found = numbered([text for text in texts if text])
        classes = known or found
        position = {"": 0} | {name: i for i, name in enumerate(classes)}
        labels = [position[text] for text in texts]
        keep = np.array([text != "" for text in texts], np.bool_)
        lost = [Rejection(self.names[i], reason) for i in np.flatnonzero(~keep).tolist()]
        whole = replace(self, labels=np.array(labels, np.int64), classes=classes)
        return replace(whole.taken(keep), rejected=(*self.rejected, *lost))

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
