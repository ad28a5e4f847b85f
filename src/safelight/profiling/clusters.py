"""Groups of pictures that look alike, whatever their classes: k-means, and how many there are.

How many: the largest k of 2..MOST whose prediction strength is at least FOUND_AGAIN (Tibshirani
and Walther 2005, Cluster Validation by Prediction Strength). The pictures are divided in halves and
each half is put into k clusters. Of the pairs of pictures that one half's own clusters hold
together, the strength is the share that the other half's clusters hold together too, in the cluster
where that share is least; the mean over DIVISIONS divisions. So a cluster is one that other
pictures of the kind would show again.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from safelight.evaluation.moments import Floats
from safelight.profiling.drawn import numbers_for

MOST = 12
FOUND_AGAIN = 0.8
DIVISIONS = 4
STARTS = 3  # of k-means; the best is kept
FEWEST = 10  # pictures for each cluster of a half, without which nothing is found again


@dataclass(frozen=True)
class Clusters:
    """labels (m,) by size, the largest is 0; central (k, m') the members nearest to each middle.

    strengths: of each k that was tried. again: whether the clusters are FOUND_AGAIN; where none is,
    they are those of the k that comes nearest to it.
    """

    labels: NDArray[np.int64]
    distances: Floats  # of each picture to its cluster's middle, (m,)
    strengths: dict[int, float]

    @property
    def k(self) -> int:
        return int(self.labels.max()) + 1

    @property
    def again(self) -> bool:
        return self.strengths[self.k] >= FOUND_AGAIN

    def central(self, cluster: int, most: int) -> NDArray[np.int64]:
        """Its members nearest to its middle, nearest first."""
        members = np.flatnonzero(self.labels == cluster)
        order = np.argsort(self.distances[members], kind="stable")
        return members[order][:most]


def clusters(points: Floats) -> Clusters | None:
    """Of points (m, d); None where there are too few, or all are one point."""
    m = len(points)
    most = min(MOST, m // (2 * FEWEST))
    if most < 2 or len(np.unique(points, axis=0)) < 2 * most:
        return None
    strengths = {k: strength(points, k) for k in range(2, most + 1)}
    good = [k for k, value in strengths.items() if value >= FOUND_AGAIN]
    chosen = max(good) if good else max(strengths, key=lambda k: strengths[k])
    fitted = _fitted(points, chosen, 0)
    order = np.argsort(-np.bincount(fitted.labels_, minlength=chosen), kind="stable")
    place = np.empty(chosen, np.int64)
    place[order] = np.arange(chosen)
    distances = np.linalg.norm(points - fitted.cluster_centers_[fitted.labels_], axis=1)
    return Clusters(place[fitted.labels_], distances, strengths)


def strength(points: Floats, k: int) -> float:
    """The prediction strength of k clusters."""
    rng = numbers_for(f"strength of {k}")
    found = []
    for division in range(DIVISIONS):
        order = rng.permutation(len(points))
        half = len(points) // 2
        a, b = points[order[:half]], points[order[half:]]
        own, other = _fitted(b, k, division), _fitted(a, k, division)
        found.append(_least_kept(own.labels_, other.predict(b), k))
    return float(np.mean(found))


def _least_kept(own: NDArray[np.int32], other: NDArray[np.int32], k: int) -> float:
    """The least share of a cluster's pairs that the other clusters hold together."""
    table = np.zeros((k, k), np.int64)
    np.add.at(table, (own, other), 1)
    sizes = table.sum(1)
    pairs = sizes * (sizes - 1)
    kept = (table * (table - 1)).sum(1)
    # a cluster of one has no pairs, and says nothing of whether it would be found again
    return float(np.where(pairs > 0, kept / np.maximum(pairs, 1), 0.0).min())


def _fitted(points: Floats, k: int, seed: int) -> KMeans:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # copies: fewer points than clusters
        return KMeans(k, n_init=STARTS, random_state=seed).fit(points)
