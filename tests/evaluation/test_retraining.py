"""Intervals that cover retraining: Student's and Welch's, and that they cover by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from safelight.evaluation.estimate import Estimate, Z
from safelight.evaluation.protocol import Protocol
from safelight.evaluation.retraining import combined, difference, mean

DRAWS = 1000


def estimates(values: np.ndarray, deviation: float, metric: str = "kid") -> list[Estimate]:
    """One for each training, with a sampling interval of this standard deviation."""
    how = Protocol(metric, "p", "pixels", 3, "w", "none", "1x8x8", 500, 500, "f", 0)
    reach = Z * deviation
    return [Estimate(metric, v, v - reach, v + reach, 500, "m", None, how) for v in values]


def drawn(
    rng: np.random.Generator, k: int, training: float, generated: float, reference: np.ndarray
) -> np.ndarray:
    """The values of k trainings, DRAWS times: (DRAWS, k). The truth is 0."""
    t, g = rng.normal(size=(2, DRAWS, k))
    return training * t + generated * g + reference[:, None]


def test_without_sampling_it_is_students_and_welchs() -> None:
    """X2: the closed forms, by another library."""
    a, b = np.array([0.3, 0.34, 0.35]), np.array([0.41, 0.5, 0.42, 0.46])
    t = stats.t.interval(0.95, 2, a.mean(), stats.sem(a))
    found = mean(estimates(a, 0.0))
    assert (found.low, found.high) == pytest.approx(t)
    welch = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    apart = difference(estimates(a, 0.0), estimates(b, 0.0))
    assert (apart.low, apart.high) == pytest.approx((welch.low, welch.high))
    pooled = stats.t.ppf(0.975, 2) * a.std(ddof=1) * math.sqrt(1 / 3 + 1)
    apart = difference(estimates(a, 0.0), estimates(b[:1], 0.0))
    assert apart.high - apart.value == pytest.approx(pooled)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("training", [0.0, 3.0])
@pytest.mark.parametrize("generated", [0.0, 0.7, 1.0])
def test_the_interval_of_a_recipe_covers(k: int, training: float, generated: float) -> None:
    """X2: at any division of sampling between both sides, also where all is the reference's.

    Where training counts most it is hardly more than Student's; where it adds nothing, it is wider
    than needed (up to 100 %), since the values can't say how sampling is divided.
    """
    rng = np.random.default_rng(k)
    reference = math.sqrt(1 - generated**2) * rng.normal(size=DRAWS)
    held = 0
    for values in drawn(rng, k, training, generated, reference):
        found = mean(estimates(values, 1.0))
        held += found.low <= 0 <= found.high
    assert held / DRAWS > 0.93
    if training:
        assert held / DRAWS < 0.985


@pytest.mark.parametrize("training", [0.0, 3.0])
@pytest.mark.parametrize("alike", [True, False])
def test_the_interval_of_a_difference_of_recipes_covers(training: float, alike: bool) -> None:
    """X3: whether the reference moves both alike or each by itself."""
    rng = np.random.default_rng(7)
    first = math.sqrt(0.5) * rng.normal(size=DRAWS)
    second = first if alike else math.sqrt(0.5) * rng.normal(size=DRAWS)
    a = drawn(rng, 3, training, math.sqrt(0.5), first)
    b = drawn(rng, 4, 2 * training, math.sqrt(0.5), second)
    held = 0
    for x, y in zip(a, b, strict=True):
        apart = difference(estimates(x, 1.0), estimates(y, 1.0))
        held += apart.low <= 0 <= apart.high
    assert held / DRAWS > 0.93
    if training:
        assert held / DRAWS < 0.99


def test_an_interval_of_sampling_alone_does_not_cover_retraining() -> None:
    """X3: what the documentation says of it: of recipes alike, one training of each."""
    rng = np.random.default_rng(3)
    nothing = np.zeros(DRAWS)
    a, b = (drawn(rng, 1, 3.0, 1.0, nothing) for _ in range(2))
    held = 0
    for x, y in zip(a, b, strict=True):
        apart = difference(estimates(x, 1.0), estimates(y, 1.0))
        held += apart.low <= 0 <= apart.high
    assert held / DRAWS == pytest.approx(0.465, abs=0.03)  # P(|N(0, 10)| < 1.96)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.floats(0, 0.5),
    st.sampled_from(["kid", "accuracy"]),
)
def test_any_values_have_an_interval(values: list[float], deviation: float, metric: str) -> None:
    """X2: equal values too; a share's stays between 0 and 1."""
    each = estimates(np.array(values), deviation, metric)
    found = combined(each)
    assert found.low <= found.value <= found.high
    assert found.interval.startswith(f"Student's t over {len(values)} trainings")
    if metric == "accuracy":
        assert found.low >= 0
        assert found.high <= 1
    apart = difference(each, each)
    assert apart.low <= 0 <= apart.high
