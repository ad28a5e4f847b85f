from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import TooFewImages
from safelight.evaluation import kernel, kernels
from safelight.evaluation.estimate import Z
from safelight.evaluation.kernel import kernel_difference, kernel_distance, score_interval
from tests.evaluation.sources import rows


def looped(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, pair by pair."""
    d = x.shape[1]

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / d + 1) ** 3

    m, n = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    yy = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (m * n)


def error(interval: object) -> float:
    return (interval.high - interval.value) / Z  # type: ignore[attr-defined]


@given(st.integers(4, 9), st.integers(4, 9), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_equals_a_direct_double_loop(m: int, n: int, d: int, seed: int) -> None:
    """F10: the full U-statistic, at unequal counts."""
    x, y = rows(m, d, seed, shift=0.2), rows(n, d, seed + 1)
    assert kernel_distance(x, y).value == pytest.approx(looped(x, y), rel=1e-9, abs=1e-12)


def test_equals_torch_fidelity_on_the_same_features() -> None:
    """F10: the library's mmd2 of its own kernel matrices, all images as one subset."""
    from torch_fidelity.metric_kid import kernel_mmd

    x, y = rows(300, 32, 1, shift=0.1), rows(300, 32, 2)
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1}
    options |= {"kid_kernel_poly_gamma": None}
    theirs = kernel_mmd(x.astype(np.float64), y.astype(np.float64), **options)
    assert kernel_distance(x, y).value == pytest.approx(theirs, rel=1e-9)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(150, 6, 1, shift=0.3), rows(130, 6, 2)
    whole = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "TILE", 32)
    tiled = kernel_distance(x, y)
    assert tiled.value == pytest.approx(whole.value, rel=1e-11)
    assert tiled.high == pytest.approx(whole.high, rel=1e-9)


def test_only_so_many_images_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is bounded, and the protocol says so."""
    x, y = rows(90, 6, 1), rows(80, 6, 2)
    monkeypatch.setattr(kernel, "AT_MOST", 50)
    monkeypatch.setattr(kernel, "TILE", 32)
    assert kernel_distance(x, y) == kernel_distance(x[:50], y[:50])
    assert "at most 50 images a side" in kernel.parameters(kernels.CUBIC)


def test_too_few_images_are_refused() -> None:
    """X2."""
    with pytest.raises(TooFewImages, match=r"at least 4 images.*got 3 generated"):
        kernel_distance(rows(3, 6, 1), rows(80, 6, 2))


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_variance_has_no_bias(shift: float) -> None:
    """X2: its mean over many pairs of sets equals the spread of the values; unequal counts."""
    values, variances = [], []
    for i in range(1500):
        x, y = rows(24, 4, 2 * i, shift), rows(16, 4, 2 * i + 1)
        xx, yy = (kernel.kernel_sums(side, side, same=True) for side in (x, y))
        xy = kernel.kernel_sums(x, y)
        values.append(looped_fast(xx, yy, xy))
        variances.append(sum(kernel.variance_parts(xx, yy, xy)))
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.15)


def looped_fast(xx: kernel.KernelSums, yy: kernel.KernelSums, xy: kernel.KernelSums) -> float:
    m, n = len(xx.rows), len(yy.rows)
    return xx.total / (m * m - m) + yy.total / (n * n - n) - 2 * xy.total / (m * n)


def test_same_distribution_gives_an_interval_around_zero() -> None:
    """X2: no bias at small counts, unlike a Fréchet distance."""
    found = [kernel_distance(rows(60, 16, 2 * i), rows(60, 16, 2 * i + 1)) for i in range(60)]
    values = np.array([interval.value for interval in found])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(60)
    assert np.mean([interval.low <= 0 <= interval.high for interval in found]) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize(("shift", "lowest"), [(0.0, 0.94), (0.1, 0.88), (0.5, 0.91)])
def test_intervals_cover_the_truth(n: int, shift: float, lowest: float) -> None:
    """X2: the truth is known for P = Q (zero) and from a very large sample otherwise."""
    if shift:
        truth = kernel_distance(rows(10_000, 16, 10**6, shift), rows(10_000, 16, 10**6 + 1)).value
    else:
        truth = 0.0
    found = [kernel_distance(rows(n, 16, 2 * i, shift), rows(n, 16, 2 * i + 1)) for i in range(300)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert covered >= lowest


def test_the_difference_of_two_distances() -> None:
    """Equals the distances' difference; its interval knows that the reference is shared."""
    x, y, real = rows(200, 8, 1, shift=0.3), rows(150, 8, 2), rows(180, 8, 3)
    near, far = kernel_distance(y, real), kernel_distance(x, real)
    apart = kernel_difference(y, x, real)
    assert apart.value == pytest.approx(far.value - near.value, rel=1e-9)
    assert error(kernel_difference(x, x, real)) < error(far)


def test_the_interval_of_the_difference_covers() -> None:
    """Of differences between equally distributed sets, about 95 in 100 intervals hold zero."""
    draws, held = 300, 0
    for seed in range(draws):
        found = kernel_difference(*(rows(60, 6, 3 * seed + k) for k in range(3)))
        held += found.low <= 0 <= found.high
    assert 0.93 * draws <= held


def test_the_interval_of_a_paired_difference_knows_of_the_pairs() -> None:
    """Of sides that mostly agree: it still covers, and is narrower; of equal sides it is 0."""
    x, real = rows(80, 6, 1), rows(80, 6, 2)
    same = kernel_difference(x, x, real, paired=True)
    assert same.low == same.high == 0
    draws, held, narrower = 150, 0, []
    for seed in range(draws):
        first, fresh, real = (rows(60, 6, 3 * seed + k) for k in range(3))
        second = np.concatenate([first[:45], fresh[45:]])
        found = kernel_difference(first, second, real, paired=True)
        held += found.low <= 0 <= found.high
        narrower.append(error(found) / error(kernel_difference(first, second, real)))
    assert 0.92 * draws <= held
    assert np.mean(narrower) < 0.7


@given(*[st.integers(-100, 100).map(lambda hundredths: hundredths / 100)] * 3)
def test_the_score_interval_solves_its_equation(value: float, first: float, second: float) -> None:
    """X2: at both ends the value is 1.96 deviations away, with the variance that is had there."""
    found = score_interval(value, first, second)
    second = max(second, 0.0)
    slope = max(first, 0.0) / max(value, Z * second**0.5) if value > 0 else 0.0
    for end in (found.low, found.high):
        wanted = Z**2 * (second + slope * max(end, 0.0))
        assert (value - end) ** 2 == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_intervals_of_one_distribution_are_neither_too_wide_nor_too_narrow() -> None:
    """X2: with the variance at the value itself all of them hold zero."""
    found = [kernel_distance(rows(60, 8, 2 * i), rows(60, 8, 2 * i + 1)) for i in range(300)]
    held = np.mean([interval.low <= 0 <= interval.high for interval in found])
    assert 0.92 <= held <= 0.98
