"""Clusters: as many as there are, and none where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from safelight.profiling.clusters import FOUND_AGAIN, clusters, strength
from safelight.profiling.placed import placed


def blobs(k: int, each: int = 80, apart: float = 12.0) -> np.ndarray:
    rng = np.random.default_rng(k)
    middles = rng.normal(0, 1, (k, 8))
    middles *= apart / np.linalg.norm(middles, axis=1, keepdims=True)
    return np.concatenate([middle + rng.normal(0, 1, (each, 8)) for middle in middles])


@pytest.mark.parametrize("k", [2, 3, 5, 7])
def test_as_many_clusters_as_there_are(k: int) -> None:
    """F11: of k lumps far apart, k are found, and each is one of them."""
    found = clusters(blobs(k))
    assert found is not None
    assert found.again
    assert found.k == k
    of = np.repeat(np.arange(k), 80)
    assert all(len(set(found.labels[of == lump])) == 1 for lump in range(k))
    assert found.strengths[k] == 1.0


def test_one_lump_has_no_clusters_that_are_found_again() -> None:
    found = clusters(np.random.default_rng(0).normal(0, 1, (400, 8)))
    assert found is not None
    assert not found.again
    assert max(found.strengths.values()) < FOUND_AGAIN
    assert found.strengths[found.k] == max(found.strengths.values())


def test_the_strength_is_one_of_two_lumps_and_less_of_three_made_of_them() -> None:
    """Tibshirani and Walther: a cluster cut in two is not cut alike by other pictures."""
    points = blobs(2)
    assert strength(points, 2) == 1.0
    assert strength(points, 3) < 0.8


def test_the_most_central_come_first_and_the_largest_cluster_is_the_first() -> None:
    points = np.concatenate([blobs(2)[:80], blobs(2)[80:], blobs(2)[80:] + 0.01])
    found = clusters(points)
    assert found is not None
    assert np.bincount(found.labels).tolist() == [160, 80]
    central = found.central(1, 5)
    middle = points[found.labels == 1].mean(0)
    distances = np.linalg.norm(points[found.labels == 1] - middle, axis=1)
    assert np.allclose(np.linalg.norm(points[central] - middle, axis=1), np.sort(distances)[:5])


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.ones((200, 3)), blobs(2, 9)])
def test_too_few_or_no_different_points_have_none(points: np.ndarray) -> None:
    assert clusters(points) is None


def test_the_map_keeps_lumps_together_and_is_the_same_each_time() -> None:
    """F11: the nearest on the map is of the same lump."""
    points = blobs(3, 40)
    places = placed(points)
    assert places is not None
    assert places.min() == 0
    assert places.max() == 1
    squared = np.square(places[:, None] - places).sum(2)
    np.fill_diagonal(squared, np.inf)
    of = np.repeat(np.arange(3), 40)
    assert (of[squared.argmin(1)] == of).all()
    again = placed(points)
    assert again is not None
    assert (again == places).all()


@pytest.mark.parametrize("points", [np.zeros((50, 4)), blobs(2, 4), np.ones((20, 1))])
def test_no_map_of_few_or_equal_points(points: np.ndarray) -> None:
    assert placed(points) is None
