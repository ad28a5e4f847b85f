"""Pairs of pictures: the nearest between training and held-out ones, and mirrored copies.

Pictures are compared by small thumbnails whatever their brightness and contrast (see
`view.thumbnails`): the distance of two is the root of the mean squared difference over their own
contrast, 0 where they are the same and about 1.4 where nothing in them is alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from safelight.console import progress
from safelight.data.splits import SPLITS, TRAIN
from safelight.evaluation.moments import Floats
from safelight.evaluation.neighbours import nearest
from safelight.images import pieces
from safelight.profiling.drawn import Positions, drawn_evenly
from safelight.profiling.groups import Groups
from safelight.profiling.looked import SIDE
from safelight.profiling.view import Visible, mirrored, thumbnails

ASKED, POOL = 5_000, 50_000  # held-out pictures, and training pictures that they are held against
TURNED = 2_000  # pictures whose mirror image is looked for
SAME = 0.05  # a distance below which two are one picture, saved again
RELATED = 0.25  # below which two show one thing: found by looking at pairs of photographs
BATCH = 512


@dataclass(frozen=True)
class Pairs:
    """Pictures and the nearest of others to each, the nearest pair first; positions (m,).

    asked: how many pictures were held against how many others, `against`.
    """

    pictures: Positions
    others: Positions
    distances: Floats
    asked: int
    against: int

    def __len__(self) -> int:
        return len(self.pictures)

    def closer(self, distance: float) -> int:
        """How many pictures have another one within this distance."""
        return int((self.distances < distance).sum())


def held_out_split(splits: NDArray[np.uint8]) -> str:
    """The split that is held against training: test, else validation; empty where neither is."""
    if not (splits == TRAIN).any():
        return ""
    there = [name for name in ("test", "validation") if (splits == SPLITS.index(name)).any()]
    return there[0] if there else ""


class Small:
    """The thumbnails of chosen pictures, made once."""

    def __init__(self, source: Visible, positions: Positions, what: str, turned: bool = False):
        self.positions, parts = positions, []
        with progress(what, len(positions)) as advance:
            for part in pieces(len(positions), BATCH):
                images = source.images(positions[part].tolist())
                parts.append(thumbnails(mirrored(images) if turned else images, SIDE).numpy())
                advance(len(parts[-1]))
        self.vectors: NDArray[np.float32] = np.concatenate(parts)


def between_splits(source: Visible, groups: Groups, split: str) -> Pairs:
    """The nearest training picture of each held-out one."""
    codes = groups.splits
    held, train = (np.flatnonzero(codes == SPLITS.index(name)) for name in (split, SPLITS[TRAIN]))
    asked = held[drawn_evenly(groups.of[held], ASKED, "held out")]
    pool = train[drawn_evenly(groups.of[train], POOL, "pool")]
    return _paired(
        Small(source, asked, f"comparing {split} pictures"),
        Small(source, pool, "comparing training pictures"),
    )


def mirrored_copies(source: Visible, groups: Groups) -> Pairs:
    """The nearest picture of the mirror image of each, where that is SAME.

    One that is its own mirror image, or nearly, is no copy, nor is one without contrast.
    """
    asked = drawn_evenly(groups.parts, TURNED, "mirrored")
    pool = Small(source, drawn_evenly(groups.parts, POOL, "pool"), "looking for mirrored copies")
    turned = Small(source, asked, "mirroring", turned=True)
    straight = Small(source, asked, "not mirroring").vectors
    own = np.sqrt(np.square(straight - turned.vectors).mean(1))
    plain = np.square(straight).mean(1) < 0.5
    found = _paired(turned, pool)
    keep = np.isin(found.pictures, asked[(own >= 4 * SAME) & ~plain]) & (found.distances < SAME)
    return replace(
        found,
        pictures=found.pictures[keep],
        others=found.others[keep],
        distances=found.distances[keep],
    )


def _paired(asked: Small, pool: Small) -> Pairs:
    found = nearest(asked.vectors, pool.vectors, 1)
    distances, which = found.distances[:, 0], pool.positions[found.positions[:, 0]]
    order = np.argsort(distances, kind="stable")
    counts = len(asked.positions), len(pool.positions)
    return Pairs(asked.positions[order], which[order], distances[order], *counts)
