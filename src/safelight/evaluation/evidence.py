"""What guards look at: the images of an evaluation by their signatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from safelight.evaluation.plan import Plan, Side
from safelight.evaluation.signature import CONSTANT, Signatures, signature
from safelight.evaluation.store import looked_at
from safelight.images import ImageSource

FEWEST = 20  # images a side for what is said of a side as a whole


@runtime_checkable
class Collected(Protocol):
    """A source made of files, some of which gave no picture."""

    @property
    def rejected(self) -> int: ...


@dataclass(frozen=True)
class Looks:
    """The images of one side, and what is written down of each of them."""

    side: Side
    signatures: Signatures

    def __len__(self) -> int:
        return len(self.side)

    def column(self, name: str) -> NDArray[np.float32]:
        return self.signatures.column(name)

    def of_pictures(self, name: str) -> NDArray[np.float32]:
        """The same of those that are not of one colour all over."""
        return self.column(name)[self.column("deviation") >= CONSTANT]


@dataclass(frozen=True)
class Evidence:
    """Both sides, and the training pictures where they are known."""

    generated: Looks
    reference: Looks
    training: Looks | None

    @property
    def sides(self) -> tuple[Looks, Looks]:
        return self.generated, self.reference

    @property
    def is_one_set(self) -> bool:
        return self.generated.side.fingerprint == self.reference.side.fingerprint

    @property
    def have_pictures(self) -> bool:
        """Whether each side has enough images that are not of one colour."""
        return min(len(each.of_pictures("deviation")) for each in self.sides) >= FEWEST

    def both_ways(self) -> Sequence[tuple[Looks, Looks, str]]:
        """(one side, the other, what the first is called), and the other way round.

        None where a side has too few images to say anything of it as a whole.
        """
        first, second = self.sides
        if min(len(first), len(second)) < FEWEST:
            return ()
        return (first, second, "generated"), (second, first, "real")


def gathered(plan: Plan, training: ImageSource | None, store: Path, batch: int) -> Evidence:
    """The evidence of a plan. Images that have a signature in the store are not looked at again."""
    every = None if training is None else Side(training, range(training.count or 0))
    return Evidence(
        _looks(plan.generated, store, batch),
        _looks(plan.reference, store, batch),
        None if every is None else _looks(every, store, batch),
    )


def _looks(side: Side, store: Path, batch: int) -> Looks:
    (looked,) = looked_at([side], [signature()], store, batch)
    return Looks(side, Signatures(looked.of(side)))
