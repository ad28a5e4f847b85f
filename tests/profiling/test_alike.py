"""Neighbours among pictures: the odd ones, and classes that look alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from safelight.profiling.alike import VOTERS, likeness, neighbourhood, oddness

RNG = np.random.default_rng(0)
POINTS = np.concatenate([RNG.normal(0, 1, (60, 4)), RNG.normal(1.5, 1, (40, 4))])
LABELS = np.repeat([0, 1], [60, 40])


def test_neighbours_are_scikit_learns() -> None:
    """F11: positions and, as the root of the mean square, distances."""
    near = neighbourhood(POINTS)
    points = POINTS.astype(np.float32)
    wanted = NearestNeighbors(n_neighbors=VOTERS).fit(points).kneighbors()
    assert (near.positions == wanted[1]).all()
    assert_allclose(near.distances, wanted[0] / 2, rtol=1e-5)


@given(st.integers(1, 30), st.integers(1, 5))
def test_no_picture_is_its_own_neighbour(m: int, different: int) -> None:
    """Whatever number of copies there is."""
    points = (np.arange(m) % different)[:, None] * np.ones((1, 3))
    near = neighbourhood(points)
    assert near.positions.shape == (m, min(VOTERS, m - 1))
    assert (near.positions != np.arange(m)[:, None]).all()
    assert np.isfinite(oddness(near)).all()


def test_the_farthest_is_the_oddest() -> None:
    points = np.concatenate([POINTS, np.full((3, 4), 9.0)])  # three odd ones alike
    odd = oddness(neighbourhood(points))
    assert set(np.argsort(-odd)[:3]) == {100, 101, 102}
    assert_allclose(np.median(odd), 1)


def test_the_farthest_is_the_oddest_where_most_are_alike() -> None:
    """Such as blank pages: those that are not have a distance to one another."""
    points = np.concatenate([np.zeros((150, 4)), POINTS + 20, np.full((1, 4), 90.0)])
    odd = oddness(neighbourhood(points))
    assert odd.argmax() == 250
    assert (odd[:150] == 0).all()
    assert_allclose(np.median(odd[150:]), 1)


def test_votes_are_a_classifier_that_leaves_each_out() -> None:
    """F11: the share, the matrix and the pairs of scikit-learn's classifier by neighbours, whose
    probabilities are divided by the classes' sizes."""
    near = neighbourhood(POINTS)
    found = likeness(near, LABELS, 2)
    votes = []
    for i in range(100):
        others = np.delete(np.arange(100), i)
        judge = KNeighborsClassifier(VOTERS).fit(POINTS[others], LABELS[others])
        shares = judge.predict_proba(POINTS[i : i + 1])[0] / [60, 40]
        votes.append(found.votes[i] if np.isclose(*shares) else int(shares.argmax()))
    assert (found.votes == votes).all()
    assert found.share.value == (found.votes == LABELS).mean()
    assert found.guessing == 0.5
    wrong = int((found.votes[:60] == 1).sum())
    assert_allclose(found.matrix((0, 1))[0], [1 - wrong / 60, wrong / 60])
    pair = next(each for each in found.confused(9) if each.of == 0)
    assert (pair.taken_for, pair.count, pair.share) == (1, wrong, wrong / 60)


def test_many_of_many_say_more_than_all_of_few() -> None:
    """60 of 100 are told before 2 of 2."""
    labels = np.repeat([0, 1, 2], [100, 2, 30])
    votes = labels.copy()
    votes[:60], votes[100:102] = 2, 2
    near = neighbourhood(np.arange(132.0)[:, None])
    found = likeness(near, labels, 3)
    told = type(found)(labels, votes, found.tally)
    assert [(each.of, each.share) for each in told.confused(2)] == [(0, 0.6), (1, 1.0)]


def test_a_small_class_that_can_be_told_is_not_taken_for_a_large_one() -> None:
    """F11: 150 of 5,000, four deviations away: most neighbours are of the large class, and yet a
    classifier that weighs both the same is right for most. Where both are alike, neither is."""
    rng = np.random.default_rng(0)
    points, labels = rng.standard_normal((5000, 50)), np.repeat([1, 0], [150, 4850])
    alike = likeness(neighbourhood(points), labels, 2).confused(1)[0]
    assert (alike.of, alike.taken_for, alike.share > 0.5) == (1, 0, True)
    points[:150, 0] += 4
    near = neighbourhood(points)
    assert (labels[near.positions[:150]] == 0).mean() > 0.6
    assert (likeness(near, labels, 2).matrix((0, 1)).diagonal() > 0.75).all()
