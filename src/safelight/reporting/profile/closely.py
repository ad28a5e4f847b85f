"""What came of looking closely: clusters, odd pictures, classes that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from safelight.profiling.alike import VOTERS, Confused
from safelight.profiling.clusters import FOUND_AGAIN
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import percent
from safelight.reporting import words
from safelight.reporting.profile.colours import OTHERS, coloured
from safelight.reporting.profile.maps import small_map
from safelight.reporting.profile.thumbs import Thumb, Thumbs

CENTRAL, ODD, MIXED = 10, 24, 12  # pictures of a cluster, odd ones, and of two classes that mix
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
    if alike is None or alike.classes < 2 or not profile.near.positions.shape[1]:
        return None
    found = alike.share
    sentence = (
        f"By its {min(VOTERS, profile.near.positions.shape[1])} nearest other pictures, all "
        "classes weighing the same whatever their size, "
        f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}] of "
        f"{words.count(len(alike.labels))} pictures get their own class; guessing would be right "
        f"for {percent(alike.guessing)}. It is about what a classifier of these features can reach."
    )
    names, rows = [], []
    if groups.there <= TABLE:
        # all of a small class may be copies, which are left out
        seen = tuple(row for row in groups.shown if alike.tally.seen[row])
        names = [groups.classes[row] for row in seen]
        matrix = alike.matrix(seen)
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
