"""Langevin dynamics beside the papers' formulas and numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from safelight.diffusion.betas import BETAS
from safelight.diffusion.oracle import GaussianOracle
from safelight.samplers.langevin import AnnealedLangevin, PredictorCorrector, best_rate
from tests.samplers.worlds import PATHS, Draws, arrive, path_of, times_at

Score = Callable[[Tensor], Tensor]
CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # norms of noise are float32's


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


def corrected(score: Score, x: Tensor, inner: int, noise: Draws) -> Tensor:
    """Algorithm 4 of arXiv:2011.13456, each image alone: eps = 2 (r |n| / |g|)² with r = 0.2.

    And algorithm 5, but for its factor 1 - beta.
    """
    for _ in range(inner):
        g, n = score(x), noise.normal(1, 8, 8).double()
        for i in range(len(x)):
            eps = 2 * (0.2 * n[i].norm() / g[i].norm()) ** 2
            x[i] += eps * g[i] + (2 * eps).sqrt() * n[i]
    return x


def test_predictor_and_corrector_are_the_papers_on_exploding_paths() -> None:
    """Eq. (47) of arXiv:2011.13456, appendix F, and algorithm 4, in squares of sigma."""
    path, std = path_of("exploding"), 0.5
    oracle = GaussianOracle(path, torch.tensor(0.3, dtype=torch.float64), torch.tensor(std))
    high, low = 8.0, 4.0
    x = high * Draws(3).normal(1, 8, 8).double()
    times = torch.tensor([high, low]).double() / 80
    found = arrive(PredictorCorrector(snr=0.2, inner=2), oracle, path, times, x, 5)

    def score(x: Tensor, sigma: float) -> Tensor:
        return (0.3 - x) / (std**2 + sigma**2)

    noise, fall = Draws(3, 5), high**2 - low**2
    x = x + fall * score(x, high)
    x = x + math.sqrt(low**2 * fall / high**2) * noise.normal(1, 8, 8)
    torch.testing.assert_close(found, corrected(lambda x: score(x, low), x, 2, noise), **CLOSE)


def test_predictor_and_corrector_are_the_papers_on_preserving_paths() -> None:
    """Eq. (4) there with beta-tilde for beta, and algorithm 5 but for its factor."""
    path, std, i = path_of("preserving"), 0.5, 700
    betas = BETAS["linear"](1000)
    kept = (1 - betas).cumprod(0)  # alpha²
    oracle = GaussianOracle(path, torch.tensor(0.3, dtype=torch.float64), torch.tensor(std))
    x = Draws(3).normal(1, 8, 8).double()
    times = torch.tensor([i, i - 1]).double() / 1000
    found = arrive(PredictorCorrector(snr=0.2, inner=2), oracle, path, times, x, 5)

    def score(x: Tensor, step: int) -> Tensor:
        alpha2 = kept[step - 1]
        return (alpha2.sqrt() * 0.3 - x) / (alpha2 * std**2 + 1 - alpha2)

    noise, beta = Draws(3, 5), betas[i - 1]
    tilde = beta * (1 - kept[i - 2]) / (1 - kept[i - 1])
    x = (x + beta * score(x, i)) / (1 - beta).sqrt() + tilde.sqrt() * noise.normal(1, 8, 8)
    torch.testing.assert_close(found, corrected(lambda x: score(x, i - 1), x, 2, noise), **CLOSE)
    assert 0.98 <= 1 - betas.max() < 1 - betas.min() < 1  # the factor
