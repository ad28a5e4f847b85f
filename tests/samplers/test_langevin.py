"""Langevin dynamics beside the papers' formulas and numbers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safelight.diffusion.oracle import GaussianOracle
from safelight.samplers.langevin import AnnealedLangevin, PredictorCorrector, best_rate
from tests.samplers.worlds import PATHS, Draws, arrive, path_of, times_at


def variance(r: float, gamma: float, inner: int) -> float:
    """Proposition 2 of arXiv:2006.09011, in squares of the level: by the recursion, not its sum."""
    found = gamma**2
    for _ in range(inner):
        found = (1 - r) ** 2 * found + 2 * r
    return found


@given(gamma=st.floats(1.001, 100), inner=st.integers(1, 50))
def test_the_rate_is_the_best(gamma: float, inner: int) -> None:
    """B3: no other rate brings the variance nearer to the level's."""
    found = variance(best_rate(gamma, inner), gamma, inner)
    others = torch.logspace(-6, 0, 2000).tolist()
    assert found >= 1
    assert found <= min(variance(r, gamma, inner) for r in others) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("highest", "levels", "inner", "published"),
    [(50, 232, 5, 6.2e-6), (90, 500, 5, 3.3e-6), (190, 1086, 3, 1.8e-6), (348, 2311, 3, 0.9e-6)],
    ids=["cifar10", "celeba", "lsun", "ffhq"],
)
def test_the_rate_is_the_published_one(
    highest: float, levels: int, inner: int, published: float
) -> None:
    """B3: epsilon / sigma_L² of NCSNv2's four configurations, to the two digits given there."""
    gamma = (highest / 0.01) ** (1 / (levels - 1))
    assert best_rate(gamma, inner) == pytest.approx(published / 0.01**2, rel=0.02)


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("rate", [None, 0.1])
def test_noise_has_the_derived_variance(rate: float | None, kind: str) -> None:
    """B3: where all images are one, proposition 2 is exact, step after step."""
    path = path_of(kind)
    image = GaussianOracle(path, torch.tensor(0.3), torch.tensor(0.0))
    levels = [4.0, 2.0, 1.2, 1.0]
    times = times_at(path, torch.tensor(levels).log())
    eps = Draws(20, 1).normal(1, 40, 50)
    x = path.alpha(times[0]) * 0.3 + path.sigma(times[0]) * eps
    inner, expected = 4, 1.0
    for high, low in itertools.pairwise(levels):
        r = rate or best_rate(high / low, inner)
        expected = variance(r, high / low * math.sqrt(expected), inner)
    found = arrive(AnnealedLangevin(inner, rate), image, path, times, x.float())
    z = (found / path.alpha(times[-1]) - 0.3).double()
    error = expected * math.sqrt(2 / z.numel())
    assert float(z.var()) == pytest.approx(expected, abs=4 * error)
    assert abs(float(z.mean())) < 4 * math.sqrt(expected / z.numel())


def test_the_last_step_denoises() -> None:
    """B3: x + sigma² score, the end of arXiv:2006.09011: the denoiser's guess."""
    path = path_of("exploding")
    oracle = GaussianOracle(path, torch.tensor(0.3), torch.tensor(0.5))
    t = torch.tensor([0.01, 0.0]).double()
    x = Draws(2).normal(1, 4, 4)
    torch.testing.assert_close(arrive(AnnealedLangevin(), oracle, path, t, x), oracle(x, t[0]))


def test_the_corrector_has_the_papers_step_size() -> None:
    """Algorithm 4 of arXiv:2011.13456, written out for each image alone: eps = 2 (r |n| / |g|)²."""
    path = path_of("exploding")
    oracle = GaussianOracle(path, torch.tensor(0.3), torch.tensor(0.5))
    t, s = torch.tensor([0.1, 0.05]).double()
    x = path.sigma(t).float() * Draws(3).normal(1, 8, 8)
    noise = Draws(3, 5)
    steps = (PredictorCorrector(snr=0.2, inner=2), PredictorCorrector(snr=0.0))
    found, predicted = (arrive(step, oracle, path, torch.stack([t, s]), x, 5) for step in steps)
    noise.normal(1, 8, 8)  # the predictor's
    for _ in range(2):
        g = (oracle(predicted, s) - predicted) / path.sigma(s).float() ** 2
        n = noise.normal(1, 8, 8)
        for i in range(3):
            eps = 2 * (0.2 * n[i].norm() / g[i].norm()) ** 2
            predicted[i] += eps * g[i] + (2 * eps).sqrt() * n[i]
    torch.testing.assert_close(found, predicted)
