"""What came of looking closely: clusters, odd pictures, copies, pairs, classes that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from safelight.data.splits import SPLITS
from safelight.evaluation.counting import CHANCE
from safelight.evaluation.estimate import Interval
from safelight.profiling.alike import VOTERS, Confused
from safelight.profiling.apart import FEW, Apart
from safelight.profiling.clusters import FOUND_AGAIN
from safelight.profiling.pairs import RELATED, Pairs
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import percent
from safelight.profiling.survey import MEASURES
from safelight.profiling.twins import Twins
from safelight.reporting import words
from safelight.reporting.profile.colours import OTHERS, coloured
from safelight.reporting.profile.maps import small_map
from safelight.reporting.profile.thumbs import Thumb, Thumbs

CENTRAL, ODD, MIXED = 10, 24, 12  # pictures of a cluster, odd ones, and of two classes that mix
CARDS = 12  # pairs of copies, and of nearest pictures
LISTED = 200  # copies by name
TABLE = 12  # classes whose likeness is a table
CONFUSED = 3  # pairs of classes with pictures
ROWS = 10  # and in words


@dataclass(frozen=True)
class Part:
    """A class's share of a cluster: its colour, its width in %, and in words."""

    colour: str
    width: float
    said: str


@dataclass(frozen=True)
class ClusterShown:
    title: str
    count: str
    svg: Markup | None
    central: list[Thumb]
    parts: list[Part]


@dataclass(frozen=True)
class ClustersShown:
    why: str
    rows: list[ClusterShown]


def clusters_shown(profile: Profile, thumbs: Thumbs) -> ClustersShown | None:
    """None where there are too few pictures."""
    found = profile.clusters
    if found is None:
        return None
    strengths, k = found.strengths, found.k
    if found.again:
        why = (
            f"{k} is the largest number of clusters that other pictures of the kind would show "
            f"again: of the pairs that a cluster of one half of the pictures holds together, "
            f"the clusters of the other half hold {percent(strengths[k])} together too, in the "
            f"weakest of them; {percent(FOUND_AGAIN)} are asked for."
        )
    else:
        why = (
            f"There are no clusters that other pictures of the kind would show again: with 2 to "
            f"{max(strengths)} of them the weakest keeps at most {percent(strengths[k])} of its "
            f"pairs, and {percent(FOUND_AGAIN)} are asked for. The pictures change gradually; "
            f"these {k} are the most stable way to cut them up."
        )
    return ClustersShown(why, [_cluster(profile, thumbs, i) for i in range(k)])


def _cluster(profile: Profile, thumbs: Thumbs, i: int) -> ClusterShown:
    found = profile.clusters
    assert found is not None
    mine = found.labels == i
    svg = None
    if profile.places is not None:
        places = profile.places[mine[profile.mapped]]
        svg = small_map(places, f"where the pictures of cluster {i + 1} lie on the map")
    central = profile.looked.positions[found.central(i, CENTRAL)]
    count = f"{words.plural(int(mine.sum()), 'picture')}, {percent(float(mine.mean()))}"
    return ClusterShown(
        f"Cluster {i + 1}", count, svg, thumbs.of(central), _parts(profile, np.flatnonzero(mine))
    )


def _parts(profile: Profile, members: NDArray[np.int64]) -> list[Part]:
    """The classes of some of the pictures looked at, the most frequent first."""
    labels = profile.labels
    if labels is None:
        return []
    rows, counts = np.unique(labels[members], return_counts=True)
    colours = {row: colour for row, _, colour in coloured(profile.groups)}
    order = np.argsort(-counts, kind="stable")
    return [
        Part(
            colours.get(int(rows[j]), OTHERS),
            100 * float(counts[j] / len(members)),
            f"{profile.groups.classes[rows[j]]} {percent(float(counts[j] / len(members)))}",
        )
        for j in order
    ]


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
    sentences = [_twins(twins), _turned(profile.turned)]
    cards = [_card(twins.rows[i], thumbs) for i in twins.telling(CARDS)]
    cards += [
        PairShown(thumbs.of([a, b], _where(thumbs, a, b)), "mirrored")
        for a, b in list(
            zip(profile.turned.pictures.tolist(), profile.turned.others.tolist(), strict=True)
        )[:CARDS]
    ]
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
    kinds = {
        "to the last value": twins.same,
        "nearly": ~twins.same,
        "in another split than the first of their kind": twins.across,
        "in another class": twins.relabelled,
    }
    said = [f"{words.count(int(of.sum()))} {kind}" for kind, of in kinds.items() if of.any()]
    there = words.plural(len(twins), "picture is", "pictures are")
    return f"{there} there before: {', '.join(said)}."


def _turned(turned: Pairs) -> str:
    asked = words.count(turned.asked)
    if not len(turned):
        return f"Of {asked} pictures drawn evenly none is the mirror image of another."
    return (
        f"Of {asked} pictures drawn evenly {words.count(len(turned))} "
        f"{'is' if len(turned) == 1 else 'are'} the mirror image of another."
    )


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
    near, middle = pairs.closer(RELATED), float(np.median(pairs.distances))
    sentences = [
        f"Each of {words.count(pairs.asked)} {profile.held_out} pictures is held against "
        f"{words.count(pairs.against)} training pictures. {words.count(near)} "
        f"({percent(near / len(pairs))}) have one within {RELATED:g}, which to the eye is the same "
        f"but for light and details; the median is {middle:.2f}.",
    ]
    rows = zip(pairs.pictures, pairs.others, pairs.distances, strict=True)
    cards = [
        PairShown(thumbs.of([a, b], _where(thumbs, int(a), int(b))), f"{d:.2f}")
        for a, b, d in list(rows)[:CARDS]
    ]
    return NearestShown(sentences, cards)


@dataclass(frozen=True)
class OddShown:
    """thumbs: the pictures farthest from all others, and files their (file, how far). empty: the
    first of the `constant` ones."""

    thumbs: list[Thumb]
    files: list[tuple[str, str]]
    empty: list[Thumb]
    constant: int


def odd_shown(profile: Profile, thumbs: Thumbs) -> OddShown | None:
    """None where there are too few pictures to be far from, and none is empty."""
    order = np.argsort(-profile.odd, kind="stable")[:ODD]
    if len(profile.odd) < 2 * ODD:
        order = order[: len(profile.odd) // 2]
    if not len(order) and not profile.surveyed.constant:
        return None
    captions = [f"{profile.odd[i]:.1f}×" for i in order.tolist()]
    positions = profile.looked.positions[order]
    names = thumbs.names(positions)
    return OddShown(
        thumbs.of(positions, captions),
        list(zip(names, captions, strict=True)) if any(names) else [],
        thumbs.of(profile.surveyed.empty),
        profile.surveyed.constant,
    )


@dataclass(frozen=True)
class Cell:
    said: str
    strength: float  # of its background, in %
    right: bool


@dataclass(frozen=True)
class Mixed:
    said: str
    thumbs: list[Thumb]


@dataclass(frozen=True)
class AlikeShown:
    """names and rows: a table, where the classes are few enough. confused: in words."""

    sentence: str
    names: list[str]
    rows: list[tuple[str, list[Cell]]]
    confused: list[tuple[str, str]]
    mixed: list[Mixed]


def alike_shown(profile: Profile, thumbs: Thumbs) -> AlikeShown | None:
    """None where there are no two classes."""
    alike, groups = profile.alike, profile.groups
    if alike is None or len(groups.classes) < 2 or not profile.near.positions.shape[1]:
        return None
    found = alike.share
    sentence = (
        f"By its {min(VOTERS, profile.near.positions.shape[1])} nearest other pictures "
        f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}] of "
        f"{words.count(len(alike.labels))} pictures get their own class; naming the largest class "
        f"each time would be right for {percent(alike.guessing)}. It is about what a classifier "
        "of these features can reach."
    )
    names, rows = [], []
    if len(groups.classes) <= TABLE:
        names = list(groups.names)
        matrix = alike.matrix(groups.shown)
        rows = [
            (name, [_cell(share, i == j) for j, share in enumerate(row)])
            for i, (name, row) in enumerate(zip(names, matrix.tolist(), strict=True))
        ]
    pairs = alike.confused(ROWS)
    confused = [(_taken(profile, pair), percent(pair.share)) for pair in pairs]
    mixed = [_mixed(profile, pair, thumbs) for pair in pairs[:CONFUSED]]
    return AlikeShown(sentence, names, rows, confused, mixed)


def _cell(share: float, right: bool) -> Cell:
    said = "" if share < 0.005 else f"{100 * share:.0f}"
    return Cell(said, 100 * share**0.7, right)  # the root: small shares are what one looks for


def _taken(profile: Profile, pair: Confused) -> str:
    names = profile.groups.classes
    return f"{names[pair.of]} taken for {names[pair.taken_for]}"


def _mixed(profile: Profile, pair: Confused, thumbs: Thumbs) -> Mixed:
    """Pictures of the one class that got the other, those that are surest of it first."""
    alike = profile.alike
    assert alike is not None
    which = np.flatnonzero((alike.labels == pair.of) & (alike.votes == pair.taken_for))
    votes = (alike.labels[profile.near.positions[which]] == pair.taken_for).sum(1)
    order = which[np.argsort(-votes, kind="stable")][:MIXED]
    said = f"{_taken(profile, pair)}: {percent(pair.share)}, {words.plural(pair.count, 'picture')}"
    return Mixed(said, thumbs.of(profile.looked.positions[order]))


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
