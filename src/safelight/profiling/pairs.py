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

ASKED, POOL = 3_000, 50_000  # held-out pictures, and training pictures that they are held against
TURNED = 2_000  # pictures whose mirror image is looked for
# A distance below which two are one picture, saved again: of CIFAR-10's saved as JPEG anew 98 of
# 100 are, and of 2,000 pictures of it or of MNIST's digits no more than one without being so.
SAME = 0.08
# Two show one scene, or one of a series, where they are nearer than RELATED and less than ALONE as
# far as the fifth nearest is: among digits all are near. Or nearer than STILL: of a still camera
# many are as near. So are 1.3 % of CIFAR-10's test pictures, nearly all of which are the same by
# eye, and 0.5 % of MNIST's.
RELATED = 0.25
ALONE = 0.5
FIFTH = 5
STILL = 0.05
BATCH = 512


@dataclass(frozen=True)
class Pairs:
    """Pictures and the nearest of others to each, those that are related first; positions (m,).

    fifth: the distance to the FIFTH nearest, infinite where there are fewer. asked: how many
    pictures were held against how many others, `against`.
    """

    pictures: Positions
    others: Positions
    distances: Floats
    fifth: Floats
    asked: int
    against: int

    def __len__(self) -> int:
        return len(self.pictures)

    def share(self, count: int) -> float:
        """About how many of the `count` pictures, of which both sides were drawn, have such a pair.

        One whose only other is not among those that it was held against is not found.
        """
        return min(1.0, len(self) / self.asked * (count / self.against))

    @property
    def related(self) -> NDArray[np.bool_]:
        """Which pairs show one scene, (m,)."""
        return related(self.distances, self.fifth)


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
        FIFTH,
    )


def related(distances: Floats, fifth: Floats) -> NDArray[np.bool_]:
    """Which of pairs at these distances show one scene."""
    alone = (distances < RELATED) & (distances < ALONE * fifth)
    return np.asarray(alone | (distances < STILL))


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
    found = _paired(turned, pool, 1)
    keep = np.isin(found.pictures, asked[(own >= 4 * SAME) & ~plain]) & (found.distances < SAME)
    return replace(
        found,
        pictures=found.pictures[keep],
        others=found.others[keep],
        distances=found.distances[keep],
        fifth=found.fifth[keep],
    )


def _paired(asked: Small, pool: Small, k: int) -> Pairs:
    found = nearest(asked.vectors, pool.vectors, min(k, len(pool.positions)))
    distances, which = found.distances[:, 0], pool.positions[found.positions[:, 0]]
    fifth = np.full(len(distances), np.inf)
    if found.distances.shape[1] >= FIFTH:
        fifth = found.distances[:, FIFTH - 1]
    order = np.lexsort((distances, ~related(distances, fifth)))
    counts = len(asked.positions), len(pool.positions)
    return Pairs(asked.positions[order], which[order], distances[order], fifth[order], *counts)
