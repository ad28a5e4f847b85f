"""Whether splits differ: tests that see what is there, and nothing where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose
from scipy.stats import ttest_ind

from safelight.profiling.apart import apart, classes_apart, told_apart
from safelight.profiling.groups import groups_of
from safelight.profiling.survey import MEASURES, measured, survey
from tests.profiling.caches import write_cache

RNG = np.random.default_rng(1)


def test_intervals_of_light_are_welchs(tmp_path: Path) -> None:
    """F11: those of scipy's test of unequal variances."""
    import torch

    images = RNG.integers(0, 200, (90, 3, 8, 8), dtype=np.uint8)
    images[60:] += RNG.integers(0, 56, (30, 1, 1, 1), dtype=np.uint8)
    splits = np.repeat([0, 2], [60, 30])
    cache = write_cache(tmp_path / "c", images, splits=splits)
    groups = groups_of(cache)
    (found,) = apart(survey(cache, groups), groups.counts, np.zeros((90, 2)), splits)
    each = measured(torch.from_numpy(images)).numpy()
    for i, name in enumerate(MEASURES):
        wanted = ttest_ind(each[60:, i], each[:60, i], equal_var=False).confidence_interval()
        interval = found.light[name]
        assert_allclose((interval.low, interval.high), (wanted.low, wanted.high), rtol=1e-9)
        assert_allclose(interval.value, each[60:, i].mean() - each[:60, i].mean())
    assert found.split == "test"
    assert "brightness" in found.differs
    assert found.moved is None


def test_classes_are_counted_apart() -> None:
    moved, chance = classes_apart(np.array([[80, 20], [20, 80], [0, 0]]))
    assert_allclose(moved, 0.6)
    assert chance is not None
    assert chance < 1e-10
    assert classes_apart(np.array([[80, 40], [20, 10]])) == (0.0, 1.0)
    assert classes_apart(np.array([[5, 5]])) == (None, None)


def test_a_judge_tells_apart_what_differs() -> None:
    """Two normals 2 apart along one of ten directions: the best judge is right 84.1 % of times."""
    one, other = RNG.normal(0, 1, (600, 10)), RNG.normal(0, 1, (900, 10))
    other[:, 3] += 2
    found, judged = told_apart(one, other)
    assert judged == 1200
    assert found is not None
    assert found.low < 0.841 < found.high


def test_the_judges_interval_holds_one_half_where_nothing_differs() -> None:
    """F11: 60 times; at 95 % at most 8 miss but for one case of a hundred."""
    missed = 0
    for _ in range(60):
        found, _ = told_apart(RNG.normal(0, 1, (80, 6)), RNG.normal(0, 1, (80, 6)))
        assert found is not None
        missed += not found.low <= 0.5 <= found.high
    assert missed <= 8


def test_few_pictures_are_not_judged() -> None:
    assert told_apart(np.zeros((49, 3)), np.zeros((500, 3))) == (None, 0)
