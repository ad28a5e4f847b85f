from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import UserError
from safelight.evaluation import kernel, kernels
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.kernels import CUBIC, ENERGY, GAUSSIAN, Kernel
from tests.evaluation.sources import rows

COUNTS = st.integers(4, 30)


def published_cmmd(x: np.ndarray, y: np.ndarray, unbiased: bool) -> float:
    """google-research/cmmd/distance.py as it stands; its sums over i = i left out if unbiased."""
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    gamma = 1 / (2 * 10**2)

    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2 * a @ b.T
        return np.exp(-gamma * squares)

    def within(a: np.ndarray) -> float:
        held = k(a, a)
        if not unbiased:
            return float(held.mean())
        return float((held.sum() - np.trace(held)) / (len(a) * (len(a) - 1)))

    return 1000 * (within(x) + within(y) - 2 * float(k(x, y).mean()))


@given(COUNTS, COUNTS, st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_gaussian_distance_is_cmmd(m: int, n: int, seed: int) -> None:
    """F10: the published formula less its bias, the pairs of an image with itself."""
    x, y = rows(m, 6, seed, shift=0.4) + 0.1, rows(n, 6, seed + 1) + 0.1
    found = kernel_distance(x, y, GAUSSIAN).value
    assert found == pytest.approx(
        published_cmmd(x.astype(float), y.astype(float), unbiased=True), rel=1e-6, abs=1e-9
    )


def test_the_bias_of_published_cmmd_is_small() -> None:
    """What the documentation says of setting ours beside published ones."""
    x, y = rows(1000, 32, 1, shift=0.3).astype(float), rows(1000, 32, 2).astype(float)
    ours = kernel_distance(x.astype(np.float32), y.astype(np.float32), GAUSSIAN).value
    bias = published_cmmd(x, y, unbiased=False) - ours
    assert 0 < bias < 1000 * 2 * 0.01 / 1000
    assert ours == pytest.approx(published_cmmd(x, y, unbiased=True), rel=1e-6)


@given(COUNTS, COUNTS, st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_energy_distance_equals_its_definition(m: int, n: int, d: int, seed: int) -> None:
    """F10: 2 E|x - y| - E|x - x'| - E|y - y'|, means over pairs of different images."""
    x, y = rows(m, d, seed, shift=0.4).astype(float), rows(n, d, seed + 1).astype(float)

    def mean(a: np.ndarray, b: np.ndarray, pairs: int) -> float:
        return float(np.linalg.norm(a[:, None] - b[None], axis=2).sum()) / pairs

    wanted = 2 * mean(x, y, m * n) - mean(x, x, m * (m - 1)) - mean(y, y, n * (n - 1))
    found = kernel_distance(x.astype(np.float32), y.astype(np.float32), ENERGY).value
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_the_energy_distance_of_numbers_is_that_of_their_distributions() -> None:
    """Twice the integral of (F - G)² (Székely 2003), here of two uniform ones a
    quarter apart: F - G rises to a quarter, stays and falls again, 1/192 + 3/64 + 1/192."""
    x = ((np.arange(2000) + 0.5) / 2000)[:, None]
    found = kernel_distance(x.astype(np.float32), (x + 0.25).astype(np.float32), ENERGY)
    # Less what even spacing takes from it: of 2,000 independent numbers, E|x - x'| would be larger.
    assert found.value == pytest.approx(11 / 96, abs=2 / 2000)


@pytest.mark.parametrize("row", [CUBIC, GAUSSIAN, ENERGY])
def test_a_constant_added_to_a_kernel_changes_nothing(row: Kernel) -> None:
    """Which is why the Gaussian kernel may be less 1,000."""
    moved = Kernel("moved", lambda x, y: row.tile(x, y) + 3.0)
    x, y = rows(60, 5, 1, shift=0.3) + 0.1, rows(50, 5, 2) + 0.1
    plain, other = kernel_distance(x, y, row), kernel_distance(x, y, moved)
    assert other.value == pytest.approx(plain.value, rel=1e-9)
    assert other.high == pytest.approx(plain.high, rel=1e-7)


@pytest.mark.parametrize("row", [GAUSSIAN, ENERGY])
def test_the_variance_has_no_bias(row: Kernel) -> None:
    """X2: its mean over many pairs of sets equals the spread of the values."""
    values, variances = [], []
    for i in range(800):
        x, y = rows(24, 4, 2 * i, 0.4) + 0.1, rows(16, 4, 2 * i + 1) + 0.1
        sums = partial(kernel.kernel_sums, kernel=row)
        xx, yy, xy = sums(x, x, same=True), sums(y, y, same=True), sums(x, y)
        values.append(kernel_distance(x, y, row).value)
        variances.append(sum(kernel.variance_parts(xx, yy, xy)))
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.2)


@pytest.mark.parametrize(("row", "shift"), [(GAUSSIAN, 1.0), (ENERGY, 0.5), (ENERGY, 0.0)])
def test_intervals_cover_the_truth(row: Kernel, shift: float) -> None:
    """X2: the truth is zero for P = Q, and from a very large sample otherwise."""
    far = rows(4000, 8, 10**6, shift), rows(4000, 8, 10**6 + 1)
    truth = kernel_distance(*far, row).value if shift else 0.0
    found = [
        kernel_distance(rows(100, 8, 2 * i, shift), rows(100, 8, 2 * i + 1), row)
        for i in range(150)
    ]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.9


def test_features_without_a_direction_are_refused() -> None:
    with pytest.raises(UserError, match="all zero and have no direction") as caught:
        kernel_distance(np.zeros((5, 3), np.float32), rows(5, 3, 1) + 0.1, GAUSSIAN)
    assert "\n" not in str(caught.value)


def test_protocols_name_the_kernel() -> None:
    """X1: KID's as it was before there were others."""
    assert kernel.parameters(CUBIC) == (
        "polynomial kernel (x·y/d + 1)^3 in float64, unbiased over all pairs of at most 10,000 "
        "images a side, drawn at random"
    )
    assert "σ = 10" in kernel.parameters(kernels.GAUSSIAN)
