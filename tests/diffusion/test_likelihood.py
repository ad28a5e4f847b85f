"""Likelihoods: by closed forms where there are any, and in their place beside each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from safelight.diffusion.bound import HALF, bits_per_dimension, decoder_nats, prior_term, term
from safelight.diffusion.likelihood import (
    DEQUANTISATIONS,
    Denoise,
    Start,
    bound_nats,
    bound_times,
    dequantise_normal,
    dequantise_uniform,
    ends,
    flow_nats,
    log_normal,
    with_trace,
)
from safelight.diffusion.oracle import GaussianOracle, MixtureOracle
from safelight.diffusion.path import PATHS, Path, make_path
from safelight.errors import UserError
from safelight.images import dequantise
from safelight.seeding import ImageNoise

NAMES = [name for name in PATHS if name != "table"]
SHAPE = (1, 2, 2)
DRAWN = ImageNoise(range(6))
EPS, WHITE = (DRAWN.normal(*SHAPE).double() for _ in range(2))
MEAN = torch.tensor([[[0.3, -0.2], [0.1, -0.6]]]).double()
STD = torch.tensor([[[0.5, 0.05], [0.2, 0.3]]]).double()


def path_of(name: str) -> Path:
    return make_path(name).requires_grad_(False)


def every_sign(b: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    """All of the vectors that a probe can be: their mean is the expectation."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=math.prod(shape))))
    return signs.double().reshape(-1, 1, *shape).expand(-1, b, *shape)


def mixture(path: Path, std: float = 0.1) -> MixtureOracle:
    means = ImageNoise(range(20, 25)).normal(*SHAPE).double() / 2
    return MixtureOracle(path, means - means.mean(0), torch.tensor(std))


def typical(oracle: MixtureOracle) -> Tensor:
    return oracle.sample(6, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", NAMES)
def test_the_flow_of_gaussian_data_has_its_density(name: str) -> None:
    """X11: with its own prior, to 1e-4 bits a dimension, from any path's first level to its end."""
    path = path_of(name)
    oracle = GaussianOracle(path, MEAN, STD)
    first, last = path.noise_level(ends(path))
    y = EPS if first > HALF / 2 else EPS / 2
    found = flow_nats(oracle, path, WHITE / 2, Start(y, torch.zeros(6)), every_sign(6), 1e-5)
    z = WHITE / 2 + first * y
    spread = ((STD**2 + last**2) / (STD**2 + first**2)).sqrt()
    end = Normal(0, last).log_prob(MEAN + spread * (z - MEAN))
    expected = -(end + spread.log() + first.log()).flatten(1).sum(1)
    error = bits_per_dimension(found - expected, EPS)
    assert float(error.abs().max()) < 1e-4


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5])
def test_the_error_falls_with_the_tolerance(tolerance: float) -> None:
    """Steps' errors add up: on a mixture of small modes to several times that of one."""
    path = path_of("edm")
    oracle = mixture(path)
    x_0, start = typical(oracle), Start(EPS, torch.zeros(6))
    found, exact = (
        flow_nats(oracle, path, x_0, start, every_sign(6), asked) for asked in (tolerance, 1e-7)
    )
    assert float((found - exact).abs().max()) / 4 < 10 * tolerance


@pytest.mark.parametrize("name", ["edm", "linear", "flow"])
def test_the_flow_of_a_mixture_has_its_density(name: str) -> None:
    """X11: at the first noise level; at the last it is the prior but for 1e-4 bits."""
    path = path_of(name)
    oracle, first = mixture(path), ends(path)[0]
    x_0 = typical(oracle)
    start = dequantise_uniform(oracle, path, x_0, EPS)
    found = flow_nats(oracle, path, x_0, start, every_sign(6), 1e-5)
    z = x_0 + path.noise_level(first) * start.y
    alpha = path.alpha(first)
    density = oracle.log_density(alpha * z, first) + 4 * (alpha * 2 * HALF).log()
    torch.testing.assert_close(
        bits_per_dimension(found + density, x_0), 0 * found, atol=1e-3, rtol=0
    )


def test_hutchinsons_estimator_is_unbiased() -> None:
    """X11: over all probes its mean is the trace of the Jacobian, which autograd gives in full."""
    path = path_of("edm")
    oracle, t = mixture(path), torch.tensor(0.002).double()
    guess, trace = with_trace(oracle, WHITE / 2, t, every_sign(6))
    torch.testing.assert_close(guess, oracle(WHITE / 2, t))

    def flat(x: Tensor) -> Tensor:
        return oracle(x.reshape(1, *SHAPE), t).flatten()

    for image, found in zip(WHITE / 2, trace, strict=True):
        jacobian = torch.autograd.functional.jacobian(flat, image.flatten())
        assert float(jacobian.trace()) == pytest.approx(float(found), abs=1e-9)
        assert not torch.allclose(jacobian, jacobian.diag().diag(), atol=1e-3)


def test_no_image_is_less_exact_for_its_company() -> None:
    """One image among 64 whose flow is a straight line: no mean over the batch hides its error."""
    path = path_of("edm")
    oracle = mixture(path)
    x_0 = torch.cat([typical(oracle)[:1], torch.zeros(63, *SHAPE)])
    start = Start(EPS[:1].expand(64, -1, -1, -1), torch.zeros(64))

    def easy_but_one(x_t: Tensor, t: Tensor) -> Tensor:
        return torch.cat([oracle(x_t[:1], t[:1]), 0 * x_t[1:]])

    first = Start(*(s[:1] for s in start))
    alone = flow_nats(oracle, path, x_0[:1], first, every_sign(1)[:1], 1e-3)
    beside = flow_nats(easy_but_one, path, x_0, start, every_sign(64)[:1], 1e-3)[:1]
    assert float((beside - alone).abs()) / 4 < 1e-3


def test_a_model_that_is_not_finite_has_no_likelihood() -> None:
    def broken(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t * torch.where(t < 0.5, 1.0, math.nan).reshape(-1, 1, 1, 1)

    start, path = Start(EPS, torch.zeros(6)), path_of("edm")
    with pytest.raises(UserError, match="no finite numbers, so it has no likelihood; take another"):
        flow_nats(broken, path, WHITE, start, every_sign(6), 1e-3)
    places = torch.full((6, 9), 0.99)
    with pytest.raises(UserError, match="no finite numbers"):
        bound_nats(broken, path, WHITE, bound_times(path), places, lambda: EPS)


def test_a_tolerance_below_the_rounding_is_refused() -> None:
    path = path_of("edm")
    oracle = mixture(path)

    def rough(x_t: Tensor, t: Tensor) -> Tensor:
        return (oracle(x_t, t) * 1e4).round() / 1e4 + 0 * x_t

    start = Start(EPS, torch.zeros(6))
    with pytest.raises(UserError, match="no step that is small enough; take a larger --likelihood"):
        flow_nats(rough, path, typical(oracle), start, every_sign(6)[:1], 1e-9)


# Hermite's nodes for x_0 and eps of one pixel: exact expectations, of which noise draws the second.


def hermite(n: int) -> tuple[Tensor, Tensor, Tensor]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    x, eps = (torch.from_numpy(g).reshape(-1, 1, 1, 1) for g in np.meshgrid(nodes, nodes))
    return x, eps, torch.from_numpy(np.outer(weights, weights).flatten() / (2 * math.pi))


def every_term(path: Path, times: Tensor, denoise: Denoise, x_0: Tensor, eps: Tensor) -> Tensor:
    none = torch.zeros(len(x_0), max(len(times) - 2, 1))
    return bound_nats(denoise, path, x_0, times, none, lambda: eps, "large")


@pytest.mark.parametrize("name", ["edm", "flow", "linear-continuous", "linear"])
def test_the_bound_of_gaussian_data_is_above_their_entropy(name: str) -> None:
    """X11: and nearer the finer its grid is. Broad pixels: the outermost levels are far away."""
    path = path_of(name)
    z, eps, weights = hermite(40)
    x_0 = 0.1 + 0.15 * z
    oracle = GaussianOracle(path, torch.tensor(0.1), torch.tensor(0.15))
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.15**2) - math.log(2 * HALF)
    grids = [bound_times(path, n) for n in (10, 30, 100, 1000)]
    if path.levels:
        fewer = [torch.arange(0, 1001, 1000 // n) / 1000 for n in (10, 50, 100)]
        grids = [*(kept.double() for kept in fewer), bound_times(path)]
    found = [float(weights @ every_term(path, times, oracle, x_0, eps)) for times in grids]
    excess = [(nats - entropy) / math.log(2) for nats in found]
    assert excess == sorted(excess, reverse=True)
    assert 0 < excess[-1] < 0.12


def test_the_flow_of_gaussian_data_is_above_their_entropy() -> None:
    """X11: with either dequantisation; what is above it is what dequantisation costs."""
    path = path_of("edm")
    z, eps, weights = hermite(20)
    x_0 = 0.1 + 0.15 * z
    oracle = GaussianOracle(path, torch.tensor(0.1), torch.tensor(0.15))
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.15**2) - math.log(2 * HALF)
    for begin in DEQUANTISATIONS.values():
        start = begin(oracle, path, x_0, eps, "large")
        nats = flow_nats(oracle, path, x_0, start, every_sign(len(x_0), (1, 1, 1)), 1e-5)
        assert 0 < (float(weights @ nats) - entropy) / math.log(2) < 0.1


def test_the_normal_start_pays_for_its_noise_and_for_the_way_back() -> None:
    path = path_of("linear")
    oracle = GaussianOracle(path, MEAN, STD)
    start = dequantise_normal(oracle, path, WHITE, EPS, "large")
    t = torch.tensor(1e-3).double()
    guess = oracle(path.alpha(t) * WHITE + path.sigma(t) * EPS, t)
    decoder = decoder_nats(WHITE, guess, 2 * path.sigma(t).log()).flatten(1).sum(1)
    torch.testing.assert_close(start.nats, decoder + log_normal(EPS))
    assert start.y is EPS


def _unasked(x_t: Tensor, t: Tensor) -> Tensor:
    raise AssertionError("uniform noise is added without a look at the model")


def test_the_uniform_start_is_uniform_within_its_level() -> None:
    path = path_of("edm")
    eps = torch.linspace(-4, 4, 101).double().reshape(-1, 1, 1, 1)
    start = dequantise_uniform(_unasked, path, eps, eps)
    share = Normal(0, 1).cdf(eps)
    torch.testing.assert_close(HALF * start.y, HALF * (2 * share - 1))  # the first level is HALF
    torch.testing.assert_close(start.nats, torch.full((101,), -math.log(2)).double())


@pytest.mark.parametrize("name", NAMES)
def test_the_grid_of_the_bound(name: str) -> None:
    """A path's own steps; or from half a level, even in log-SNR, to where samplers start."""
    path = path_of(name)
    times = bound_times(path, 100)
    assert (times.diff() > 0).all()
    assert (times[0], times[-1]) == (0, 1)
    if path.levels is not None:
        assert len(times) == path.levels + 1
        return
    assert len(times) == 101
    steps = path.log_snr(times[1:-1]).diff()
    torch.testing.assert_close(steps, steps[:1].expand(98), rtol=1e-4, atol=0)
    assert float(path.noise_level(times[1])) == pytest.approx(
        max(HALF, float(path.noise_level(ends(path)[0])))
    )


def test_every_term_is_the_bound_and_a_few_estimate_it() -> None:
    """X11: over all the draws of the strata, the mean is the sum of all terms."""
    path = path_of("linear")
    oracle, times = mixture(path), torch.tensor([0, 0.01, 0.1, 0.2, 0.3, 0.5, 0.8, 1]).double()
    whole = prior_term(path, WHITE) + sum(
        term(oracle, path, WHITE, t.expand(6), s.expand(6), EPS, "small")
        for s, t in itertools.pairwise(times)
    )
    assert torch.allclose(
        bound_nats(oracle, path, WHITE, times, torch.zeros(6, 6), lambda: EPS), whole
    )
    places = torch.tensor([0.1, 0.5, 0.9])  # two strata of three terms each
    drawn = [
        bound_nats(oracle, path, WHITE, times, torch.stack([a, b]).expand(6, 2), lambda: EPS)
        for a, b in itertools.product(places, places)
    ]
    torch.testing.assert_close(torch.stack(drawn).mean(0), whole)
    assert not torch.allclose(drawn[0], drawn[-1], rtol=0.01)


@pytest.mark.parametrize("method", ["bound", "normal", "uniform"])
def test_random_levels_cannot_be_told_in_less_than_eight_bits(method: str) -> None:
    """X11: of all 256 levels, by the exact denoiser of a pixel that has each as often."""
    path = path_of("edm")
    x_0 = dequantise(torch.arange(256, dtype=torch.uint8)).double().reshape(-1, 1, 1, 1)
    oracle = MixtureOracle(path, x_0, torch.zeros(()))
    x_0, noise = x_0.repeat(8, 1, 1, 1), ImageNoise(range(8 * 256))
    eps = noise.normal(1, 1, 1).double()
    if method == "bound":
        u, draw = noise.uniform(30), lambda: noise.normal(1, 1, 1).double()
        nats = bound_nats(oracle, path, x_0, bound_times(path), u, draw)
    else:
        start = DEQUANTISATIONS[method](oracle, path, x_0, eps, "small")
        nats = flow_nats(oracle, path, x_0, start, every_sign(len(x_0), (1, 1, 1))[:1], 1e-4)
    bits = bits_per_dimension(nats, x_0)
    error = float(bits.std()) / math.sqrt(len(bits))
    assert 8 - 3 * error < float(bits.mean()) < 8.5
