"""Neighbours among the pictures: the odd ones, and classes that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.evaluation.accuracy import Tally, tally, wilson
from safelight.evaluation.estimate import Interval
from safelight.evaluation.moments import Floats
from safelight.evaluation.neighbours import nearest

VOTERS = 10  # nearest pictures that say what a picture is
ODD = 5  # how far its fifth nearest is says how odd a picture is: four copies do not hide it
LISTED = 24


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest other pictures of each of m, nearest first.

    positions (m, k) among the m, distances (m, k); k is VOTERS, or m - 1 where that is less.
    """

    positions: NDArray[np.int64]
    distances: Floats


def neighbourhood(vectors: Floats) -> Neighbourhood:
    """Of vectors (m, d). Takes time in m²."""
    m = len(vectors)
    k = min(VOTERS, m - 1)
    found = nearest(vectors.astype(np.float32), vectors.astype(np.float32), k + 1)
    own = found.positions == np.arange(m)[:, None]
    own[~own.any(1), -1] = True  # behind k copies of itself
    shape = (m, k)
    return Neighbourhood(found.positions[~own].reshape(shape), found.distances[~own].reshape(shape))


def oddness(near: Neighbourhood) -> Floats:
    """The distance to its ODD-th nearest other picture, over the median of those above 0; (m,).

    Ramaswamy, Rastogi and Shim (2000) rank outliers so. All 1 where every distance is nothing.
    """
    m, k = near.distances.shape
    if k == 0:
        return np.ones(m)
    reach = near.distances[:, min(ODD, k) - 1]
    apart = reach[reach > 0]  # most may be alike, such as blank pages
    return reach / np.median(apart) if len(apart) else np.ones(m)


@dataclass(frozen=True)
class Confused:
    """Of all pictures of class `of` seen, `share` have most neighbours in `with_`; both labels."""

    of: int
    taken_for: int
    count: int
    share: float


@dataclass(frozen=True)
class Likeness:
    """What the nearest VOTERS of each picture vote for, itself left out, by `likeness`.

    votes: the label that each picture got, (m,); tally: those that were right by class.
    """

    labels: NDArray[np.int64]
    votes: NDArray[np.int64]
    tally: Tally

    @property
    def share(self) -> Interval:
        """How many got their own class: the accuracy of a classifier by nearest neighbours."""
        return self.tally.share()

    @property
    def classes(self) -> int:
        """How many were seen."""
        return int((self.tally.seen > 0).sum())

    @property
    def guessing(self) -> float:
        """The share that would be right by drawing one of these each time."""
        return 1 / self.classes

    def matrix(self, shown: tuple[int, ...]) -> Floats:
        """(s, s): of the pictures of a shown class (row) the share that got each of these."""
        rows = [self.votes[self.labels == row] for row in shown]
        return np.array([[float((row == column).mean()) for column in shown] for row in rows])

    def confused(self, most: int) -> list[Confused]:
        """The pairs of classes of which the first is most often taken for the second.

        By the lower end of the share's interval: 3 of 3 pictures say less than 60 of 100.
        """
        wrong = self.labels != self.votes
        pairs, counts = np.unique(
            np.stack([self.labels[wrong], self.votes[wrong]]), axis=1, return_counts=True
        )
        seen = self.tally.seen
        found = [
            Confused(a, b, n, n / int(seen[a]))
            for a, b, n in zip(*pairs.tolist(), counts.tolist(), strict=True)
        ]
        low = {each: wilson(each.count, int(seen[each.of])).low for each in found}
        return sorted(found, key=lambda each: (-low[each], each.of, each.taken_for))[:most]


def likeness(near: Neighbourhood, labels: NDArray[np.int64], classes: int) -> Likeness:
    """labels (m,) in 0..classes-1. Of classes with votes of equal weight the nearest one's wins.

    A vote weighs 1 / (pictures of its class): with 97 pictures of one class and 3 of another nearly
    all neighbours are of the first, however well the two can be told apart.
    """
    voted = labels[near.positions]
    k = voted.shape[1]
    counts = (voted[:, :, None] == voted[:, None, :]).sum(2)  # votes for the class of each voter
    weights = counts / np.bincount(labels, minlength=classes)[voted]
    votes = voted[np.arange(len(voted)), weights.argmax(1)] if k else labels
    return Likeness(labels, votes, tally(votes, labels, classes))
