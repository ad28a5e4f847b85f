from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval, Z
from safelight.evaluation.extrapolate import (
    QUARTERS,
    SUBSETS,
    by_quarter,
    frechet_at_infinity,
    joined,
    limit,
    second_order_variance,
)
from safelight.evaluation.frechet import frechet, frechet_distance, sampling_variance
from safelight.evaluation.moments import moments
from tests.evaluation.sources import rows

D = 32
SPECTRUM = 1.0 / np.arange(1, D + 1)  # as features have: few large variances, many small ones


def normal(n: int, variances: np.ndarray, seed: int) -> np.ndarray:
    """(n, d) float32 rows of N(0, diag(variances))."""
    drawn = np.random.default_rng(seed).standard_normal((n, len(variances)))
    return (drawn * np.sqrt(variances)).astype(np.float32)


def truth(first: np.ndarray, second: np.ndarray) -> float:
    """FD of N(0, diag(first)) and N(0, diag(second))."""
    return float(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())


def drawn(n: int, second: np.ndarray, repeats: int) -> list[Interval]:
    spectrum = SPECTRUM if len(second) == D else 1.0 / np.arange(1, len(second) + 1)
    return [
        frechet_at_infinity(normal(n, spectrum, 2 * i), normal(n, second, 2 * i + 1))
        for i in range(repeats)
    ]


@pytest.mark.parametrize("n", [60, 200])
@pytest.mark.parametrize("change", ["none", "scaled", "missing"])
def test_it_is_the_distance_of_the_distributions(n: int, change: str) -> None:
    """X18, L4: where FD itself is far off. missing: two thirds of the directions, a collapse."""
    second = {
        "none": SPECTRUM,
        "scaled": SPECTRUM * np.exp(np.random.default_rng(1).normal(0, 0.7, D)),
        "missing": np.where(np.arange(D) < D // 3, SPECTRUM, 1e-4 * SPECTRUM),
    }[change]
    found = drawn(n, second, 100)
    values = np.array([each.value for each in found])
    error = values.std() / len(values) ** 0.5
    plain = np.mean([each.curve[-1][1] for each in found])
    wanted = truth(SPECTRUM, second)
    assert abs(values.mean() - wanted) < 3.5 * error
    assert plain - wanted > 5 * error  # and this is what it is to be without
    assert abs(values.mean() - wanted) < 0.15 * (plain - wanted)


@pytest.mark.parametrize(("n", "change"), [(60, 0.0), (300, 0.0), (300, 0.7)])
def test_intervals_cover_the_limit(n: int, change: float) -> None:
    """X2, X18: the true value, not the estimator's mean; too often where the sides are alike."""
    second = SPECTRUM * np.exp(np.random.default_rng(2).normal(0, change, D))
    wanted = truth(SPECTRUM, second)
    covered = [each.low <= wanted <= each.high for each in drawn(n, second, 150)]
    assert 0.90 <= np.mean(covered) <= (1.0 if change == 0 else 0.99)


@pytest.mark.slow
@pytest.mark.parametrize(("d", "n", "repeats"), [(64, 500, 400), (64, 2000, 400), (1280, 2000, 12)])
@pytest.mark.parametrize("change", [0.0, 0.2, 0.7])
def test_intervals_cover_the_limit_at_length(d: int, n: int, repeats: int, change: float) -> None:
    """X2, X18: the table of docs/metrics.md."""
    spectrum = 1.0 / np.arange(1, d + 1)
    second = spectrum * np.exp(np.random.default_rng(2).normal(0, change, d))
    wanted = truth(spectrum, second)
    covered = np.mean([each.low <= wanted <= each.high for each in drawn(n, second, repeats)])
    assert covered >= (0.92 if repeats > 100 else 0.8)


def test_the_curve_falls_as_theory_says() -> None:
    """X18: FD_n = b / n, with b of the module's docstring on both sides."""
    shares = np.add.outer(SPECTRUM, SPECTRUM)
    pairs = np.outer(SPECTRUM, SPECTRUM) * (1 + np.eye(D)) / shares
    b = 2 * (SPECTRUM.sum() + pairs.sum() / 2)
    points = np.mean([each.curve for each in drawn(2000, SPECTRUM, 20)], axis=0)
    np.testing.assert_array_equal(points[:, 0], [500, 1000, 1500, 2000])
    np.testing.assert_allclose(points[:, 1] * points[:, 0], b, rtol=0.03)


def test_a_line_meets_infinity_where_it_should() -> None:
    assert limit((30, 5 + 7 / 30), (40, 5 + 7 / 40)) == pytest.approx(5, rel=1e-12)


@pytest.mark.parametrize("d", [1, 4, 16])
def test_intervals_cover_where_two_groups_make_most_of_the_variance(d: int) -> None:
    """X2: as bright and dark pictures do. Of the same distribution, and psi alone would not."""

    def groups(seed: int) -> np.ndarray:
        group = np.random.default_rng(seed).integers(0, 2, (200, 1)).astype(np.float32)
        return 3.0 * group + normal(200, 0.1 / np.arange(1, d + 1), seed + 1000)

    found = [(groups(2 * i), groups(2 * i + 1)) for i in range(150)]
    limits = [frechet_at_infinity(*pair) for pair in found]
    assert np.mean([each.low <= 0 <= each.high for each in limits]) >= 0.95
    reaches = [frechet(*pair).high - frechet(*pair).value for pair in found]
    by_psi = [abs(each.value) <= reach for each, reach in zip(limits, reaches, strict=True)]
    assert np.mean(by_psi) < 0.9


def test_the_second_order_variance_is_that_of_draws() -> None:
    """Of FD itself, where both sides are the same and its first order vanishes."""
    pairs = [
        (moments(normal(400, SPECTRUM, 2 * i)), moments(normal(200, SPECTRUM, 2 * i + 1)))
        for i in range(400)
    ]
    seen = np.var([frechet_distance(*pair) for pair in pairs])
    said = np.mean([second_order_variance(*pair) for pair in pairs[:20]])
    assert said == pytest.approx(seen, rel=0.25)


def test_the_last_point_is_the_plain_distance_and_the_reach_its_reach() -> None:
    """The extrapolation leaves the first-order influence as it is."""
    x, y = rows(301, 16, 1, shift=0.6), rows(203, 16, 2)
    plain, far = frechet(x, y), frechet_at_infinity(x, y)
    assert [n for n, _ in far.curve] == [75, 150, 226, 301]
    assert far.curve[-1][1] == pytest.approx(plain.value, rel=1e-9)
    reach = Z * sampling_variance(moments(x), moments(y), x, y) ** 0.5
    assert far.high - far.value == pytest.approx(reach, rel=1e-9)
    assert far.value == limit((301 * 0.75, far.curve[-2][1]), (301, far.curve[-1][1]))


def test_quarters_are_a_partition_at_random() -> None:
    """Rows that lie class by class must not make quarters of one class each."""
    sorted_rows = np.repeat(np.arange(8.0), 50)[:, None] @ np.ones((1, 3))
    quarters = by_quarter(sorted_rows.astype(np.float32), "generated")
    assert [quarter.count for quarter in quarters] == [100] * QUARTERS
    whole, wanted = joined(quarters, range(QUARTERS)), moments(sorted_rows.astype(np.float32))
    np.testing.assert_allclose(whole.covariance, wanted.covariance, rtol=1e-12)
    assert max(abs(quarter.mean[0] - 3.5) for quarter in quarters) < 0.8
    again = by_quarter(sorted_rows.astype(np.float32), "generated")
    assert all((a.mean == b.mean).all() for a, b in zip(quarters, again, strict=True))


def test_each_image_is_in_equally_many_subsets_of_a_point() -> None:
    for subsets in SUBSETS:
        counts = np.bincount(list(itertools.chain(*subsets)), minlength=QUARTERS)
        assert len(set(counts.tolist())) == 1


def test_points_without_full_rank_are_left_out() -> None:
    """L4: 45 of 60 images have a covariance of full rank in 32 dimensions, 30 have not."""
    x, y = normal(60, SPECTRUM, 1), normal(60, SPECTRUM, 2)
    assert [n for n, _ in frechet_at_infinity(x, y).curve] == [45, 60]


@pytest.mark.parametrize(("n", "m", "enough"), [(44, 44, True), (43, 90, False), (90, 43, False)])
def test_too_few_images_are_refused(n: int, m: int, enough: bool) -> None:
    """L4, X2: three quarters of 44 are 33, one more than the features."""
    x, y = normal(n, SPECTRUM, 1), normal(m, SPECTRUM, 2)
    if enough:
        assert np.isfinite(frechet_at_infinity(x, y).value)
        return
    with pytest.raises(TooFewImages, match=r"32 features needs at least 44 images.*--metrics kid"):
        frechet_at_infinity(x, y)


def test_dead_features_change_nothing() -> None:
    x, y = rows(300, 10, 1, shift=0.2), rows(300, 10, 2)
    padded = [np.pad(side, ((0, 0), (3, 2))) for side in (x, y)]
    ours, wanted = (dataclasses.asdict(frechet_at_infinity(*pair)) for pair in (padded, (x, y)))
    for name in ("value", "low", "high"):
        assert ours[name] == pytest.approx(wanted[name], rel=1e-6)


def test_both_sides_may_differ_in_count() -> None:
    """In proportion, so that the line is straight in 1 / n: against the closed form."""
    values = [
        frechet_at_infinity(normal(80, SPECTRUM, 2 * i), normal(200, SPECTRUM, 2 * i + 1))
        for i in range(100)
    ]
    mean = np.mean([each.value for each in values])
    biased = np.mean([each.curve[-1][1] for each in values])
    assert abs(mean) < 0.05 * biased


def test_the_distance_is_that_of_the_moments_of_all() -> None:
    x, y = rows(120, 16, 3), rows(120, 16, 4)
    found = frechet_at_infinity(x, y).curve[-1][1]
    assert found == pytest.approx(frechet_distance(moments(x), moments(y)), rel=1e-9)
