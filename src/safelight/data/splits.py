"""Which pictures are taken, and which of them train, validate and test.

All of it is a function of the seed, the class's name and the class's own pictures. So a class
has the same test pictures whatever other classes are prepared with it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from safelight.errors import UserError

SPLITS = ("train", "validation", "test")
FREE = 255  # in place of a split: one that is not settled
TRAIN = 0
DEFAULT_SPLIT = "80/10/10"
FROM_TRAIN = "95/5/0"  # where a source has a test set but none for validation
Shares = tuple[Fraction, ...]


def parse_split(text: str) -> Shares:
    """'80/10/10' -> the shares of train, validation and test; they sum to 1."""
    try:
        shares = tuple(Fraction(part) / 100 for part in text.split("/"))
    except (ValueError, ZeroDivisionError):
        shares = ()
    if len(shares) != len(SPLITS) or sum(shares) != 1 or min(shares) < 0 or shares[TRAIN] == 0:
        raise UserError(
            f"cannot split by {text!r}: give the percent of train, validation and test, "
            f"which sum to 100 with some for train, such as {DEFAULT_SPLIT}"
        )
    return shares


def generator(seed: int, purpose: str, name: str) -> np.random.Generator:
    """Random numbers of their own for each purpose and class."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{name}".encode("utf-8", "replace")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def portions(n: int, shares: Sequence[Fraction], u: Fraction) -> list[int]:
    """n divided by these shares into whole numbers, each within 1 of its share of n.

    Boundary k is floor(n (shares_1 + ... + shares_k) + u). With u uniform in [0, 1) each portion
    has exactly its share as expectation, so that many small classes still add up rightly.
    """
    bounds = [0]
    reached = Fraction(0)
    for share in shares:
        reached += share
        bounds.append(int(n * reached + u))
    return [high - low for low, high in itertools.pairwise(bounds)]


def split_class(n: int, shares: Shares, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The split of each of a class's n pictures, (n,)."""
    if n == 1:
        return np.zeros(1, np.uint8)  # a class that can't be learnt would be worse than untested
    u = Fraction(int(rng.integers(2**32)), 2**32)
    codes = np.repeat(np.arange(len(SPLITS), dtype=np.uint8), portions(n, shares, u))
    return rng.permutation(codes)


def stratified(
    labels: NDArray[np.int64],
    names: Sequence[str],
    shares: Shares,
    seed: int,
    family: NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """The split of each picture, (n,): each class is divided by the shares, within 1 picture.

    family: (n,), equal for pictures that are the same; they come into one split. Raises UserError
    where there are too few pictures for every split that is asked for.
    """
    splits = np.zeros(len(labels), np.uint8)
    for label, name in enumerate(names):
        of_class = np.flatnonzero(labels == label)
        if len(of_class):
            rng = generator(seed, "split", name)
            splits[of_class] = split_class(len(of_class), shares, rng)
    splits = _without_empty(splits, labels, shares)
    return splits if family is None else together(splits, labels, names, family, seed)


def together(
    splits: NDArray[np.uint8],
    labels: NDArray[np.int64],
    names: Sequence[str],
    family: NDArray[np.int64],
    seed: int,
) -> NDArray[np.uint8]:
    """The same, each family in one split.

    That is the split of its first member. Who moves there changes places with a picture of its own
    class that is alone, so that all numbers stay. Classes that have too few of these are divided
    family by family.
    """
    _, first, which, counts = np.unique(
        family, return_index=True, return_inverse=True, return_counts=True
    )
    splits = _exchanged(splits, labels, names, splits[first[which]], counts[which] == 1, seed)
    goal = splits[first[which]]  # who was alone may be elsewhere now
    torn = np.isin(which, which[splits != goal])
    if not torn.any():
        return splits
    again = np.isin(labels, labels[torn])
    again &= ~np.isin(which, which[~again])  # nor whose family reaches into another class
    whole = splits.copy()
    whole[again] = _placed(splits[again], labels[again], goal[again], which[again])
    emptied = set(np.unique(splits).tolist()) - set(np.unique(whole).tolist())
    return splits if emptied else whole


def _exchanged(
    splits: NDArray[np.uint8],
    labels: NDArray[np.int64],
    names: Sequence[str],
    goal: NDArray[np.uint8],
    alone: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.uint8]:
    """The same, each picture in its goal, as long as one that is alone changes places with it."""
    splits = splits.copy()
    for label, name in enumerate(names):
        here = labels == label
        partners = generator(seed, "families", name).permutation(np.flatnonzero(alone & here))
        waiting = [partners[splits[partners] == code].tolist() for code in range(len(SPLITS))]
        for member in np.flatnonzero(here & (splits != goal)).tolist():
            if waiting[goal[member]]:
                splits[waiting[goal[member]].pop()] = splits[member]
                splits[member] = goal[member]
    return splits


def _placed(
    splits: NDArray[np.uint8],
    labels: NDArray[np.int64],
    goal: NDArray[np.uint8],
    which: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """(n,): one family after another, the largest first, where the splits have most room for it.

    Each split has room for as many of each class as it has in `splits`; what a family needs beyond
    that is as little as can be. One that is larger by two than all of its class in any split stays
    where it is: a set of one family could not be divided at all.
    """
    splits = splits.copy()
    room = np.zeros((labels.max() + 1, len(SPLITS)), np.int64)
    np.add.at(room, (labels, splits), 1)
    largest = room.max(1) + 1
    order = np.argsort(which, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)
    for family in sorted(members, key=len, reverse=True):
        of, needed = np.unique(labels[family], return_counts=True)
        if (needed <= largest[of]).all():
            beyond = np.maximum(needed[:, None] - room[of], 0).sum(0)
            beyond = 2 * beyond + (np.arange(len(SPLITS)) != goal[family[0]])
            splits[family] = beyond.argmin()
        np.subtract.at(room, (labels[family], splits[family]), 1)
    return splits


def in_blocks(n: int, shares: Shares) -> NDArray[np.uint8]:
    """The split of each of n pictures in a row, (n,): neighbours stay together, but at the bounds.

    Raises UserError where there are too few for every split that is asked for.
    """
    counts = portions(n, shares, Fraction(1, 2))
    codes = np.repeat(np.arange(len(SPLITS), dtype=np.uint8), counts)
    return _without_empty(codes, np.zeros(n, np.int64), shares)


def _without_empty(
    splits: NDArray[np.uint8], labels: NDArray[np.int64], shares: Shares
) -> NDArray[np.uint8]:
    """Give each empty split one picture of the class and split that have most of them."""
    for code in range(len(SPLITS)):
        if shares[code] == 0 or (splits == code).any():
            continue
        stratum = labels * len(SPLITS) + splits
        largest = int(np.bincount(stratum, minlength=1).argmax())
        members = np.flatnonzero(stratum == largest)
        if len(members) < 2:
            asked = "/".join(f"{float(100 * share):g}" for share in shares)
            raise UserError(
                f"{len(labels)} picture{'s are' if len(labels) > 1 else ' is'} too few to split "
                f"{asked} into {', '.join(SPLITS)}; use more pictures, or --split 100/0/0"
            )
        splits[members[-1]] = code
    return splits


class Draw:
    """Draws pictures by turns until each class has its quota; rejected ones are replaced.

    `given` are the splits that the source has, whose proportions a subset keeps as long as each has
    pictures left; None where there are none or where they are given up. per_class, or share of
    each class: None draws everything.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        given: NDArray[np.uint8] | None,
        names: Sequence[str],
        per_class: int | None,
        seed: int,
        share: Fraction | None = None,
    ) -> None:
        codes = np.zeros(len(labels), np.int64) if given is None else given.astype(np.int64)
        self._stratum = labels * len(SPLITS) + codes
        self._turns: list[NDArray[np.int64]] = []
        self._missing: list[int] = []
        for label, name in enumerate(names):
            turns = []
            for code in range(len(SPLITS)):
                members = np.flatnonzero(self._stratum == label * len(SPLITS) + code)
                turns.append(generator(seed, f"subset {code}", name).permutation(members))
            self._turns += turns
            sizes = [len(turn) for turn in turns]
            wanted = per_class if share is None else part_of(sum(sizes), share, seed, name)
            self._missing += quotas(sizes, wanted)
        self.total = sum(self._missing)

    def next(self) -> NDArray[np.int64]:
        """The positions to try next, in their order; empty when there is nothing left to try."""
        self._pass_on()
        drawn = [turn[:n] for turn, n in zip(self._turns, self._missing, strict=True)]
        self._turns = [turn[n:] for turn, n in zip(self._turns, self._missing, strict=True)]
        return np.sort(np.concatenate(drawn))

    def _pass_on(self) -> None:
        """What a split has too few left for, the other splits of its class give."""
        for first in range(0, len(self._turns), len(SPLITS)):
            strata = range(first, first + len(SPLITS))
            left = {i: len(self._turns[i]) - self._missing[i] for i in strata}
            lack = sum(max(0, -spare) for spare in left.values())
            for i, spare in left.items():
                more = min(spare, lack)  # below 0: what it lacks itself
                self._missing[i] += more
                lack -= max(0, more)

    def accept(self, positions: Sequence[int]) -> None:
        """These have turned out to be pictures."""
        for position in positions:
            self._missing[self._stratum[position]] -= 1

    def give_back(self, positions: Sequence[int]) -> None:
        """These were left out: as many others of their kind are wanted, if there were quotas."""
        for position in positions:
            self._missing[self._stratum[position]] += 1


def part_of(n: int, share: Fraction, seed: int, name: str) -> int:
    """A share of a class's n pictures, within 1 of it and at least one.

    Many small classes add up to the share of the whole: see `portions`.
    """
    u = Fraction(int(generator(seed, "fraction", name).integers(2**32)), 2**32)
    return max(min(n, 1), portions(n, [share], u)[0])


def quotas(sizes: Sequence[int], per_class: int | None) -> list[int]:
    """How many to draw from each part of a class, for `per_class` in all."""
    total = sum(sizes)
    if per_class is None or total <= per_class:
        return list(sizes)
    return portions(per_class, [Fraction(size, total) for size in sizes], Fraction(1, 2))
