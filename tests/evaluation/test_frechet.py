from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Z
from safelight.evaluation.frechet import (
    frechet,
    frechet_distance,
    influences,
    noise,
    sampling_variance,
    transports,
)
from safelight.evaluation.moments import Moments, moments
from tests.evaluation.sources import rows


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    held = Moments(len(mean))
    held.count, held.mean, held.squares = 2, mean, covariance
    return held


def random_covariance(d: int, rank: int, rng: np.random.Generator) -> np.ndarray:
    root = rng.standard_normal((d, rank)) * np.exp(rng.uniform(-3, 3, rank))
    return root @ root.T


def test_closed_form_of_commuting_covariances() -> None:
    """F10: for diagonal covariances FD = |dmu|² + sum (sqrt a - sqrt b)²."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    a, b, mu, nu = rng.uniform(0.01, 5, (4, 20))
    found = frechet_distance(gaussian(mu, Q * a @ Q.T), gaussian(nu, Q * b @ Q.T))
    wanted = ((mu - nu) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert found == pytest.approx(wanted, rel=1e-12)


def test_equals_torch_fidelity_on_the_same_features() -> None:
    """F10: the library's own function, to 1e-5 relative."""
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = rows(600, 64, 1, shift=0.1), rows(500, 64, 2)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(torch.from_numpy(x)),
        fid_features_to_statistics(torch.from_numpy(y)),
        verbose=False,
    )["frechet_inception_distance"]
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(theirs, rel=1e-5)
    assert frechet(x, y).value == frechet_distance(moments(x), moments(y))


@given(st.integers(1, 12), st.data())
@settings(max_examples=150, deadline=None)
def test_singular_covariances_give_real_finite_distances(d: int, data: st.DataObject) -> None:
    """F10: never complex, negative or NaN; zero of a side with itself; the same both ways."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    ranks = data.draw(st.tuples(st.integers(0, d), st.integers(0, d)))
    S, T = (random_covariance(d, rank, rng) for rank in ranks)
    mu, nu = rng.standard_normal((2, d))
    scale = np.trace(S) + np.trace(T) + mu @ mu + nu @ nu
    p, q = gaussian(mu, S), gaussian(nu, T)
    found = frechet_distance(p, q)
    assert isinstance(found, float)
    assert 0 <= found < np.inf
    # Half of the digits: a root of an eigenvalue that is zero but for rounding.
    assert found == pytest.approx(frechet_distance(q, p), abs=1e-6 * scale)
    assert frechet_distance(p, p) == pytest.approx(0, abs=1e-6 * scale)


def test_dead_features_change_nothing() -> None:
    """A feature that is always zero makes both covariances singular, not the distance wrong."""
    x, y = rows(300, 10, 1, shift=0.2), rows(300, 10, 2)
    padded = [np.pad(side, ((0, 0), (3, 2))) for side in (x, y)]
    ours, wanted = frechet(*padded), frechet(x, y)
    for name in ("value", "low", "high"):
        assert getattr(ours, name) == pytest.approx(getattr(wanted, name), rel=1e-6)


def test_transport_carries_one_covariance_to_the_other() -> None:
    rng = np.random.default_rng(3)
    S, T = random_covariance(9, 20, rng), random_covariance(9, 20, rng)
    A, B = transports(S, T)
    np.testing.assert_allclose(A @ S @ A, T, rtol=1e-7, atol=1e-9 * np.trace(T))
    np.testing.assert_allclose(B @ T @ B, S, rtol=1e-7, atol=1e-9 * np.trace(S))
    np.testing.assert_allclose(A, A.T)
    np.testing.assert_allclose(transports(T, S), (B, A), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("side", [0, 1])
def test_influence_is_the_derivative_of_the_distance(side: int) -> None:
    """psi(x) against finite differences: move weight e to the point x, on either side."""
    pair = [moments(rows(400, 6, 1, shift=0.3)), moments(rows(300, 6, 2))]
    here, other = pair[side], pair[1 - side]
    psi = influences(here, other)[0]
    for x in rows(5, 6, 7, scale=2.0).astype(np.float64):
        e = 1e-4

        def moved(weight: float, x: np.ndarray = x) -> float:
            delta = x - here.mean
            S = (1 - weight) * here.covariance + weight * (1 - weight) * np.outer(delta, delta)
            changed = gaussian(here.mean + weight * delta, S)
            return frechet_distance(changed, other)

        slope = (moved(e) - moved(-e)) / (2 * e)
        assert psi(x[None])[0] == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_influence_has_mean_zero() -> None:
    x, y = rows(400, 6, 1, shift=0.3), rows(300, 6, 2)
    psi = influences(moments(x), moments(y))[0](x)
    # 1/n times the trace is left, because the covariance is divided by n - 1.
    assert abs(psi.mean()) < 2 * abs(psi).mean() / 400


def test_the_interval_shrinks_with_the_square_root_of_n() -> None:
    """X2."""
    small = frechet(rows(1000, 8, 1, shift=0.5), rows(1000, 8, 2))
    large = frechet(rows(16000, 8, 1, shift=0.5), rows(16000, 8, 2))
    ratio = (small.high - small.value) / (large.high - large.value)
    assert ratio == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize(("n", "m"), [(64, 500), (500, 64), (1, 500)])
def test_too_few_images_for_full_rank_are_refused(n: int, m: int) -> None:
    """X2: with the number needed and what to use instead."""
    with pytest.raises(TooFewImages, match=r"at least 65 images.*--metrics kid"):
        frechet(rows(n, 64, 1), rows(m, 64, 2))


@pytest.mark.slow
@pytest.mark.parametrize("n", [500, 2000])
@pytest.mark.parametrize(("shift", "lowest", "highest"), [(0.0, 0.91, 0.99), (0.3, 0.91, 0.99)])
def test_intervals_cover_the_estimators_mean(
    n: int, shift: float, lowest: float, highest: float
) -> None:
    """X2: also where both sides have one distribution."""
    repeats = 200
    found = [frechet(rows(n, 64, 2 * i, shift), rows(n, 64, 2 * i + 1)) for i in range(repeats)]
    values = np.array([interval.value for interval in found])
    reach = Z * np.array([(interval.high - interval.value) / Z for interval in found])
    covered = (np.abs(values - values.mean()) <= reach).mean()
    assert lowest <= covered <= highest


@pytest.mark.parametrize(("n", "d", "most"), [(120, 8, 1.6), (100, 64, 2.0)])
def test_of_one_distribution_the_interval_is_not_too_wide(n: int, d: int, most: float) -> None:
    """X2: psi's own noise is taken out; left in, variances would be twice too large and more."""
    found = [frechet(rows(n, d, 2 * i), rows(n, d, 2 * i + 1)) for i in range(100)]
    variances = [((interval.high - interval.value) / Z) ** 2 for interval in found]
    spread = np.var([interval.value for interval in found])
    assert 0.7 * spread < np.mean(variances) < most * spread


def test_far_apart_the_noise_of_the_influence_function_is_little() -> None:
    x, y = rows(2000, 8, 1, shift=1.0), rows(2000, 8, 2)
    plain = sampling_variance(moments(x), moments(y), x, y)
    assert 0 < noise(x, y) < 0.01 * plain
