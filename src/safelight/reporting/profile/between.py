"""Pairs of pictures and of splits: copies, the nearest across splits, and whether splits differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from safelight.data.splits import SPLITS
from safelight.evaluation.counting import CHANCE
from safelight.evaluation.estimate import Interval
from safelight.profiling.apart import FEW, Apart
from safelight.profiling.pairs import RELATED, STILL, Pairs
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import percent
from safelight.profiling.survey import MEASURES
from safelight.profiling.twins import Twins
from safelight.reporting import words
from safelight.reporting.profile.thumbs import Thumb, Thumbs

CARDS = 12  # pairs of copies, and of nearest pictures
LISTED = 200  # copies by name


@dataclass(frozen=True)
class PairShown:
    thumbs: list[Thumb]
    said: str


@dataclass(frozen=True)
class CopiesShown:
    """Of twins: sentences, the most telling pairs, and (file, what it is) of as many as LISTED."""

    sentences: list[str]
    cards: list[PairShown]
    files: list[tuple[str, str]]
    more: int


def copies_shown(profile: Profile, thumbs: Thumbs) -> CopiesShown | None:
    """None where copies were not looked for."""
    twins = profile.twins
    if twins is None:
        return None
    sentences = [_twins(twins), _turned(profile.turned, profile.cache.count)]
    cards = [_card(twins.rows[i], thumbs) for i in twins.telling(CARDS)]
    cards += _mirrored(profile.turned, thumbs)
    listed = twins.rows[twins.telling(LISTED)]
    names = thumbs.names(listed[:, :2].flatten())
    files = [
        (names[2 * i], f"{'the same as' if row[2] else 'nearly'} {names[2 * i + 1]}")
        for i, row in enumerate(listed.tolist())
    ]
    return CopiesShown(sentences, cards, files if any(names) else [], max(0, len(twins) - LISTED))


def _twins(twins: Twins) -> str:
    """How many there are, of which kinds."""
    if not len(twins):
        return "No picture is there twice."
    kinds = {"to the last value": twins.same, "nearly": ~twins.same}
    of_these = {
        "in another split than the first of their kind": twins.across,
        "in another class": twins.relabelled,
    }
    there = words.plural(len(twins), "picture is", "pictures are")
    told = f"{there} there before: {_each(kinds)}", _each(of_these)
    return f"{'; of these '.join(filter(None, told))}."


def _each(kinds: Mapping[str, NDArray[np.bool_]]) -> str:
    return ", ".join(
        f"{words.count(int(of.sum()))} {kind}" for kind, of in kinds.items() if of.any()
    )


def _turned(turned: Pairs, count: int) -> str:
    asked, against = words.count(turned.asked), words.count(turned.against)
    held = "" if turned.against == count else f", held against {against} of {words.count(count)},"
    if not len(turned):
        return f"Of {asked} pictures drawn evenly{held} none is the mirror image of another."
    verb = "is" if len(turned) == 1 else "are"
    about = f": about {percent(turned.share(count))} of all" if held else ""
    return (
        f"Of {asked} pictures drawn evenly{held} {words.count(len(turned))} {verb} the mirror "
        f"image of another{about}."
    )


def _mirrored(turned: Pairs, thumbs: Thumbs) -> list[PairShown]:
    found = list(zip(turned.pictures.tolist(), turned.others.tolist(), strict=True))
    return [
        PairShown(thumbs.of([a, b], _where(thumbs, a, b)), "mirrored") for a, b in found[:CARDS]
    ]


def _card(row: NDArray[np.int64], thumbs: Thumbs) -> PairShown:
    picture, first, same = row.tolist()
    return PairShown(
        thumbs.of([first, picture], _where(thumbs, first, picture)),
        "the same" if same else "nearly",
    )


def _where(thumbs: Thumbs, *positions: int) -> list[str]:
    return [thumbs.of_class(position) for position in positions]


@dataclass(frozen=True)
class NearestShown:
    sentences: list[str]
    cards: list[PairShown]


def nearest_shown(profile: Profile, thumbs: Thumbs) -> NearestShown | None:
    """The nearest pairs between training and held-out pictures; None where there is one side."""
    pairs = profile.pairs
    if pairs is None:
        return None
    near, middle = int(pairs.related.sum()), float(np.median(pairs.distances))
    sentences = [
        f"Each of {words.count(pairs.asked)} {profile.held_out} pictures is held against "
        f"{words.count(pairs.against)} training pictures. {words.count(near)} "
        f"({percent(near / len(pairs))}) have one that to the eye is the same but for light and "
        f"details: within {RELATED:g} and less than half as far as the fifth nearest, or within "
        f"{STILL:g}. The median distance of all is {middle:.2f}.",
    ]
    rows = zip(pairs.pictures, pairs.others, pairs.distances, strict=True)
    cards = [
        PairShown(thumbs.of([a, b], _where(thumbs, int(a), int(b))), f"{d:.2f}")
        for a, b, d in list(rows)[:CARDS]
    ]
    return NearestShown(sentences, cards)


@dataclass(frozen=True)
class ApartShown:
    """rows: (what, value with its interval or its chance, whether it is a difference)."""

    split: str
    verdict: str
    rows: list[tuple[str, str, bool]]


def apart_shown(profile: Profile) -> list[ApartShown]:
    return [_apart(each) for each in profile.apart]


def _apart(each: Apart) -> ApartShown:
    differs = each.differs
    verdict = f"No difference between {each.split} and {SPLITS[0]} that matters."
    if each.pictures < FEW:
        verdict = f"Too few pictures to tell whether {each.split} differs from {SPLITS[0]}."
    if differs:
        verdict = f"{each.split} differs from {SPLITS[0]} in its {', '.join(differs)}."
    rows = []
    if each.moved is not None and each.chance is not None:
        chance = "beyond chance, p < 0.001" if each.chance < CHANCE else f"p = {each.chance:.2g}"
        moved = f"{percent(each.moved)} of the pictures are in another class than they would be"
        said = f"{moved} ({chance})"
        rows.append(("classes", said, "classes" in differs))
    rows += [(name, _levels(each.light[name]), name in differs) for name in MEASURES]
    rows.append(("what is seen", _judged(each), "pictures" in differs))
    return ApartShown(each.split, verdict, rows)


def _levels(found: Interval) -> str:
    value, low, high = (f"{v:+.1f}".replace("-", "−") for v in (found.value, found.low, found.high))
    return f"{value} levels [{low}, {high}]"


def _judged(each: Apart) -> str:
    if each.judge is None:
        return "too few pictures for a judge to learn from"
    value, low, high = (
        f"{100 * v:.1f}" for v in (each.judge.value, each.judge.low, each.judge.high)
    )
    told = f"told apart {value} % [{low}, {high}] of the time"
    return f"{told}, of {words.count(each.judged)} pictures; 50 % is guessing"
