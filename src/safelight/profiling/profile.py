"""A profile: all that is measured of a cache's pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safelight.console import inform
from safelight.data.cache import Cache
from safelight.data.places import user_cache
from safelight.profiling.alike import (
    Likeness,
    Neighbourhood,
    likeness,
    neighbourhood,
    oddness,
)
from safelight.profiling.apart import Apart, apart
from safelight.profiling.clusters import Clusters, clusters
from safelight.profiling.drawn import Positions, drawn_evenly
from safelight.profiling.groups import Groups, groups_of
from safelight.profiling.looked import Looked, look
from safelight.profiling.originals import Originals, originals_of
from safelight.profiling.pairs import Pairs, between_splits, held_out_split, mirrored_copies
from safelight.profiling.placed import placed
from safelight.profiling.survey import Survey, survey
from safelight.profiling.twins import Twins, twins_of
from safelight.profiling.view import Visible

LOOKED_AT = 5_000  # pictures that the network sees, about a minute and a half on two cores
MAPPED = 3_000  # of these on the map


@dataclass(frozen=True)
class Profile:
    """What there is to tell of `cache`; positions are places in it.

    surveyed, twins and originals are of all pictures; what comes of `looked` of some, drawn evenly
    without copies. near: the neighbours among these, odd (m,) how far each is from the others;
    alike None without classes. mapped: places in `looked` of the pictures on the map, `places`
    theirs on it (None where there are too few). pairs: None where there is nothing held out.
    """

    cache: Cache
    groups: Groups
    surveyed: Survey
    originals: Originals | None
    twins: Twins | None
    looked: Looked
    near: Neighbourhood
    odd: NDArray[np.float64]
    alike: Likeness | None
    clusters: Clusters | None
    mapped: NDArray[np.int64]
    places: NDArray[np.float64] | None
    apart: list[Apart]
    held_out: str
    pairs: Pairs | None
    turned: Pairs

    @property
    def source(self) -> Visible:
        return Visible(self.cache)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Of the pictures in `looked`, (m,)."""
        labels = self.cache.class_labels()
        return None if labels is None else labels[self.looked.positions]


def profile(cache: Cache, store: Path | None = None) -> Profile:
    """Go through all pictures once, and look at some more closely.

    store: where features are kept (default: the user's cache folder). Memory does not depend on
    the number of pictures, but for some 25 bytes of each (`benchmarks/profile_cost.py`).
    """
    groups, source = groups_of(cache), Visible(cache)
    surveyed, twins = survey(cache, groups), twins_of(cache, groups)
    split = held_out_split(groups.splits)
    pairs = between_splits(source, groups, split) if split else None
    turned = mirrored_copies(source, groups)
    looked = look(source, _without_copies(groups, twins), store or user_cache())
    near = neighbourhood(looked.vectors)
    points = looked.principal()
    inform(f"sorting {len(points):,} pictures into clusters")
    found = clusters(points)
    labels = cache.class_labels()
    mapped = drawn_evenly(groups.parts[looked.positions], MAPPED, "map")
    inform(f"placing {len(mapped):,} pictures on a map")
    return Profile(
        cache=cache,
        groups=groups,
        surveyed=surveyed,
        originals=originals_of(cache),
        twins=twins,
        looked=looked,
        near=near,
        odd=oddness(near),
        alike=None
        if labels is None
        else likeness(near, labels[looked.positions], len(cache.classes)),
        clusters=found,
        mapped=mapped,
        places=placed(points[mapped]),
        apart=apart(surveyed, groups.counts, points, groups.splits[looked.positions]),
        held_out=split,
        pairs=pairs,
        turned=turned,
    )


def _without_copies(groups: Groups, twins: Twins | None) -> Positions:
    """Pictures drawn evenly, of those that are there twice the first alone."""
    keep = np.ones(len(groups.of), np.bool_)
    if twins is not None:
        keep[twins.rows[:, 0]] = False
    there = np.flatnonzero(keep)
    return there[drawn_evenly(groups.parts[there], LOOKED_AT, "looked at")]
