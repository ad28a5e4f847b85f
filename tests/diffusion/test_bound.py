"""The variational bound: each term by a closed form or an integral, and their sum."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from safelight.diffusion.betas import beta_table
from safelight.diffusion.bound import (
    VARIANCES,
    bits_per_dimension,
    decoder_nats,
    normal_kl,
    posterior,
    prior_term,
    step_nats,
    term,
)
from safelight.diffusion.objective import TERMS, part
from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import EXPLODING, PRESERVING, Path, make_path
from safelight.diffusion.schedules import proportional
from safelight.errors import UserError
from safelight.seeding import ImageNoise

MEAN, STD = torch.tensor(0.1), torch.tensor(0.15)  # of pixels: the outermost levels are far away
ENTROPY = 0.5 * math.log(2 * math.pi * math.e * float(STD) ** 2) - math.log(2 / 255)
COARSE = Path(PRESERVING, beta_table(torch.tensor([0.02, 0.05, 0.15, 0.4, 0.8]).double()))
GRIDS = {  # a path, and the times of a bound on it
    "five steps": (COARSE, 5),
    "continuous": (Path(EXPLODING, proportional(sigma_max=3.0)), 20),
}


def hermite(n: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes of x_0 and eps, and weights: exact means of polynomials of N(0, 1)²."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    x, eps = (torch.from_numpy(grid.flatten()) for grid in np.meshgrid(nodes, nodes))
    return x, eps, torch.from_numpy(np.outer(weights, weights).flatten() / (2 * math.pi))


def even(n: int) -> Tensor:
    return torch.arange(n + 1, dtype=torch.float64) / n


def sliding(path: Path, offset: float) -> Tensor:
    """Where the objective cuts a path without steps, rising from 0 to 1."""
    t, s, n = part(path, (torch.arange(TERMS, dtype=torch.float64) + offset) / TERMS)
    torch.testing.assert_close(s[1:], t[:-1], rtol=1e-9, atol=1e-6)  # 1e-6: no part is empty
    assert (s[0], t[-1], n) == (0, 1, TERMS)
    return torch.cat([s[:1], t]).detach()


def expected_terms(path: Path, times: Tensor, variance: str) -> float:
    """The sum of the terms for x_0 ~ N(MEAN, STD²) and its exact denoiser, in nats."""
    denoise = GaussianOracle(path, MEAN, STD)
    z, eps, weights = hermite()
    x_0, eps = (MEAN + STD * z).reshape(-1, 1, 1, 1), eps.reshape(-1, 1, 1, 1)
    total = weights @ prior_term(path, x_0)
    for s, t in pairwise(times):
        total = total + weights @ term(denoise, path, x_0, t, s, eps, variance)
    return float(total)


def cross_entropy(path: Path, t: Tensor, variance: str, first: int = 0) -> float:
    """E_q[ln q(x_1..x_n | x_0) - ln p(x_first..x_n)] by matrices: both are jointly normal.

    The chain is written out step by step: x_k = a_k x_{k-1} + N(0, b_k) forwards, and backwards
    x_{k-1} = c_k x_k + d_k + N(0, v_k) from x_n ~ N(0, sigma_n²).
    """
    n = len(t) - 1
    alpha, sigma = path.alpha(t).numpy(), path.sigma(t).numpy()
    m, std = float(MEAN), float(STD)
    ratio = alpha[1:] / alpha[:-1]
    beta = sigma[1:] ** 2 - ratio**2 * sigma[:-1] ** 2
    forward = np.full(n + 1, std**2)  # variances of x_0 and of each step's noise
    forward[1:] = beta
    weave = np.eye(n + 1)  # x = weave (m + noises)
    for k in range(1, n + 1):
        weave[k] = ratio[k - 1] * weave[k - 1]
        weave[k, k] = 1
    covariance = weave @ np.diag(forward) @ weave.T
    mean = weave[:, 0] * m
    entropy_of_steps = 0.5 * np.log(2 * math.pi * math.e * beta).sum()
    # -E ln p: each factor's quadratic form under the joint of q
    nats = 0.5 * math.log(2 * math.pi * sigma[n] ** 2)
    nats += (covariance[n, n] + mean[n] ** 2) / (2 * sigma[n] ** 2)
    for k in range(first + 1, n + 1):
        gain = alpha[k] * std**2 / (alpha[k] ** 2 * std**2 + sigma[k] ** 2)
        to_x_0 = alpha[k - 1] * beta[k - 1] / sigma[k] ** 2
        c = ratio[k - 1] * sigma[k - 1] ** 2 / sigma[k] ** 2 + to_x_0 * gain
        d = to_x_0 * (m - gain * alpha[k] * m)
        tilde = beta[k - 1] * sigma[k - 1] ** 2 / sigma[k] ** 2 if k > 1 else beta[0] / 2
        v = beta[k - 1] if variance == "large" else tilde
        spread = covariance[k - 1, k - 1] - 2 * c * covariance[k, k - 1] + c**2 * covariance[k, k]
        off = mean[k - 1] - c * mean[k] - d
        nats += 0.5 * math.log(2 * math.pi * v) + (spread + off**2) / (2 * v)
    return nats - entropy_of_steps


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("name", GRIDS)
def test_terms_sum_to_the_closed_form(name: str, variance: str) -> None:
    """C6, K3: eq. (5) of arXiv:2006.11239 for the exact denoiser, to 1e-4 bits a dimension."""
    path, n = GRIDS[name]
    density = cross_entropy(path, even(n), variance)
    found = expected_terms(path, even(n), variance) / math.log(2)
    assert found == pytest.approx((density - math.log(2 / 255)) / math.log(2), abs=1e-4)


@pytest.mark.parametrize("offset", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["edm", "flow", "cosine-continuous", "learned"])
def test_wherever_the_cuts_are_it_is_a_bound(name: str, offset: float) -> None:
    """C6, C7: on a path without steps, by the closed form; and not far above the entropy."""
    path = make_path(name).requires_grad_(False)
    times = sliding(path, offset)
    found = expected_terms(path, times[1:], "large")
    density = cross_entropy(path, times, "large", first=1)  # a narrow decoder is no density
    assert found / math.log(2) == pytest.approx(density / math.log(2), abs=1e-4)
    excess = (expected_terms(path, times, "large") - ENTROPY) / math.log(2)
    assert 0 < excess < 1


def test_a_finer_grid_is_a_better_bound() -> None:
    """With the variance of broad data it falls to the entropy of the pixels, never below it."""
    path = Path(EXPLODING, proportional(sigma_max=3.0))
    bounds = [expected_terms(path, even(n), "large") for n in (5, 20, 80, 320)]
    assert bounds == sorted(bounds, reverse=True)
    assert ENTROPY < bounds[-1] < ENTROPY + 0.1


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("name", ["linear", "cosine", "edm"])
def test_a_term_is_the_divergence_of_two_normals(name: str, variance: str) -> None:
    """K3, B8: against torch.distributions, written out from alpha and sigma, for any t > s."""
    path, noise = make_path(name), ImageNoise(range(8))
    x_0, eps, wrong, v = (noise.normal(1, 4, 4).double() for _ in range(4))
    t, s = torch.linspace(0.3, 1, 8).double(), torch.linspace(0.001, 0.9, 8).double()
    a_t, s_t, a_s, s_s = (
        f(time).reshape(-1, 1, 1, 1) for time in (t, s) for f in (path.alpha, path.sigma)
    )
    beta = s_t**2 - (a_t / a_s) ** 2 * s_s**2
    tilde = beta * s_s**2 / s_t**2
    x_t = a_t * x_0 + s_t * eps

    def mean(x: Tensor) -> Tensor:
        return (a_t / a_s) * s_s**2 / s_t**2 * x_t + a_s * beta / s_t**2 * x

    class Guess:
        def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
            return wrong

        def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            return wrong, v

    chosen = {
        "small": tilde,
        "large": beta,
        "learned": (v * beta.log() + (1 - v) * tilde.log()).exp(),
    }
    p = Normal(mean(wrong), chosen[variance].sqrt())
    expected = kl_divergence(Normal(mean(x_0), tilde.sqrt()), p).sum(dim=(1, 2, 3))
    torch.testing.assert_close(
        term(Guess(), path, x_0, t, s, eps, variance), expected, rtol=1e-6, atol=1e-9
    )


def test_the_posterior_is_bayes_rule() -> None:
    """q(x_s | x_t, x_0) ~ q(x_t | x_s) q(x_s | x_0): precisions add, means weigh by them."""
    path = make_path("cosine")
    t, s = torch.tensor(0.7, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    ratio = path.alpha(t) / path.alpha(s)
    found = posterior(path, t, s)
    precision = ratio**2 / found.large + 1 / path.sigma(s) ** 2
    assert float(found.small) == pytest.approx(float(1 / precision), rel=1e-12)
    of_x_0 = path.alpha(s) / path.sigma(s) ** 2 / precision
    assert float(found.of_x_0) == pytest.approx(float(of_x_0), rel=1e-12)


@given(
    level=st.integers(0, 255),
    mean=st.floats(-1.5, 1.5),
    std=st.floats(1e-3, 5.0),
)
def test_the_decoder_is_an_integral(level: int, mean: float, std: float) -> None:
    """K3: eq. (13) of arXiv:2006.11239, against quadrature of the density."""
    x = level / 127.5 - 1
    low = -math.inf if level == 0 else x - 1 / 255
    high = math.inf if level == 255 else x + 1 / 255
    found = float(
        decoder_nats(*(torch.tensor(v, dtype=torch.float64) for v in (x, mean, 2 * math.log(std))))
    )
    near = min(max(mean, low), high)
    exact, _ = quad(
        # relative to its largest value, or the far tails would be 0
        lambda y: math.exp(norm.logpdf(y, mean, std) - norm.logpdf(near, mean, std)),
        max(low, near - 12 * std),
        min(high, near + 12 * std),
        epsabs=0,
    )
    assert found == pytest.approx(
        -math.log(exact) - norm.logpdf(near, mean, std), rel=1e-5, abs=1e-9
    )


@given(mean=st.floats(-1.2, 1.2), log_std=st.floats(-7, 1))
@example(mean=1.125, log_std=-6.0)  # more than 40 deviations outside of the last level
@example(mean=-1.125, log_std=-6.0)
def test_the_levels_share_all_of_the_probability(mean: float, log_std: float) -> None:
    x = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    variance = torch.tensor(2 * log_std, dtype=torch.float64)
    nats = decoder_nats(x, torch.tensor(mean, dtype=torch.float64), variance)
    assert float((-nats).exp().sum()) == pytest.approx(1, abs=1e-9)


def test_the_decoder_has_gradients_everywhere() -> None:
    """In float32, also at the outermost levels and for guesses that are far off."""
    x = (torch.arange(256) / 127.5 - 1).repeat(3)
    mean = torch.tensor([-1.0, 0.2, 4.0]).repeat_interleave(256).requires_grad_()
    for log_variance in (-14.0, -10.0, -6.0, 1.0):
        spread = torch.full_like(x, log_variance, requires_grad=True)
        nats = decoder_nats(x, mean, spread)
        assert nats.isfinite().all()
        for slope in torch.autograd.grad(nats.sum(), (mean, spread)):
            assert slope.isfinite().all()


def test_a_guess_that_is_far_off_has_a_gradient() -> None:
    """From nearly pure noise an untrained network's guess of x_0 is thousands away."""
    path = make_path("cosine")
    x_0 = ImageNoise([0, 1]).uniform(1, 2, 2) * 2 - 1
    guess, v = (x_0 + 1e4).requires_grad_(), torch.full_like(x_0, 0.5).requires_grad_()
    t = torch.tensor([1.0, 0.5], dtype=torch.float64)
    step_nats(path, x_0, guess, v, t, t - 1e-3).sum().backward()
    assert guess.grad is not None
    assert v.grad is not None
    assert guess.grad.isfinite().all()
    assert v.grad.isfinite().all()


def test_a_step_takes_times_of_one_image_or_of_each() -> None:
    """The term to s = 0 beside others in one batch, and each alone."""
    path, noise = make_path("cosine", T=50), ImageNoise(range(3))
    x_0, guess = noise.normal(1, 4, 4) / 3, noise.normal(1, 4, 4) / 3
    s = torch.tensor([0.0, 0.2, 0.98])
    v = torch.tensor(0.5)
    together = step_nats(path, x_0, guess, v, s + 0.02, s)
    for i in range(3):
        one = slice(i, i + 1)
        alone = step_nats(path, x_0[one], guess[one], v, s[i] + 0.02, s[i])
        torch.testing.assert_close(together[one], alone)


@pytest.mark.parametrize("name", ["linear", "learned"])
def test_times_may_stay_on_the_cpu(name: str) -> None:
    """Where Apple's GPUs have to leave them; "meta" is a device that gives nothing back."""
    x_0 = torch.empty(3, 1, 4, 4, device="meta")
    t = torch.tensor([0.001, 0.5, 1.0], dtype=torch.float64)
    found = term(lambda x_t, t: x_t, make_path(name), x_0, t, t - 0.001, x_0)
    assert (found.device, found.dtype, found.shape) == (x_0.device, x_0.dtype, (3,))


def test_a_divergence_is_never_negative() -> None:
    log_q = torch.linspace(-1e-3, 1e-3, 101)
    found = normal_kl(torch.zeros(101), torch.zeros(101), log_q)
    assert (found >= 0).all()
    torch.testing.assert_close(found, log_q**2 / 4, rtol=1e-3, atol=1e-12)


def test_bits() -> None:
    """An image of 256 levels, each as probable, has 8 bits a value."""
    x_0 = torch.zeros(2, 3, 4, 4)
    nats = torch.full((2,), 48 * math.log(256))
    torch.testing.assert_close(bits_per_dimension(nats, x_0), torch.full((2,), 8.0))


def test_an_unknown_variance_is_refused() -> None:
    one = torch.ones(1, 1, 1, 1)
    t = torch.ones(())
    with pytest.raises(UserError, match="choose one of: small, large, learned"):
        term(lambda x, t: x, make_path("linear", T=10), one, t, t / 2, one, "huge")
