"""Stochastic samplers against Gaussian data: mean and covariance of what they draw.

An image has two channels; its pixels are as many draws of a pair of numbers. A few large images
stand for many small ones, since the step size of predictor-corrector needs norms over many pixels.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import Path
from safelight.samplers.ancestral import DDIM, DDPM
from safelight.samplers.edm import Euler, Heun
from safelight.samplers.langevin import AnnealedLangevin, PredictorCorrector
from safelight.samplers.multistep import DPMSolver, UniPC
from safelight.samplers.state import Coefficients, Step
from tests.samplers.worlds import PATHS, arrive, path_of, times_at

SHAPE = (2, 2, 100, 100)  # 20,000 pairs
DRAWS = 20_000


class Pairs:
    """x_0 ~ N(mean, C) in each pixel: E[x_0 | x_t] = mean + alpha C V^-1 (x_t - alpha mean).

    V = alpha² C + sigma² I is the covariance of x_t.
    """

    mean = torch.tensor([0.3, -0.2]).double()

    def __init__(self, path: Path, covariance: list[list[float]]) -> None:
        self.path, self.covariance = path, torch.tensor(covariance).double()

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.path.alpha(t.double()), self.path.sigma(t.double())
        return alpha * self.mean, alpha**2 * self.covariance + sigma**2 * torch.eye(2).double()

    def draw(self, t: Tensor, eps: Tensor) -> Tensor:
        mean, V = self.marginal(t)
        return self._linear(torch.linalg.cholesky(V), eps) + mean.view(1, 2, 1, 1).to(eps)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        mean, V = self.marginal(t)
        gain = self.path.alpha(t.double()) * self.covariance @ torch.linalg.inv(V)
        centred = x_t - mean.view(1, 2, 1, 1).to(x_t)
        return self.mean.view(1, 2, 1, 1).to(x_t) + self._linear(gain, centred)

    @staticmethod
    def _linear(matrix: Tensor, x: Tensor) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", matrix.to(x), x)


def deviations(world: Pairs, x: Tensor, t: Tensor) -> Tensor:
    """Mean and covariance of x at t less their true values, in standard errors, (5,)."""
    mean, V = world.marginal(t)
    pairs = x.double().movedim(1, 0).reshape(2, -1)
    of_mean = (pairs.mean(1) - mean) / (V.diag() / DRAWS).sqrt()
    # Var of a sample covariance of normals: (V_ij² + V_ii V_jj) / n.
    error = ((V**2 + torch.outer(V.diag(), V.diag())) / DRAWS).sqrt()
    of_covariance = ((pairs.cov() - V) / error)[[0, 0, 1], [0, 1, 1]]
    return torch.cat([of_mean, of_covariance])


def drawn(world: Pairs, step: Step, times: Tensor, denoise: object = None) -> Tensor:
    """From a true draw at the first time to the last of the times; its deviations there."""
    eps = torch.randn(*SHAPE, generator=torch.Generator().manual_seed(11))
    x = arrive(step, denoise or world, world.path, times, world.draw(times[0], eps), seed=12)
    return deviations(world, x, times[-1])


def levels(path: Path, n: int) -> Tensor:
    """n steps between the noise levels 20 and 0.1."""
    return times_at(path, torch.linspace(math.log(20), math.log(0.1), n + 1).double())


ONE_IMAGE = [[0.0, 0.0], [0.0, 0.0]]
WHITE = [[1.0, 0.0], [0.0, 1.0]]
UNLIKE = [[0.16, 0.0], [0.0, 0.81]]
CORRELATED = [[0.5, 0.3], [0.3, 0.4]]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize(
    "step",
    [DDPM(), DDIM(0.5), DDIM(1.0), Euler(0.4), Heun(0.4), DPMSolver(0.5), DPMSolver(1.0)],
    ids=str,
)
def test_one_image_is_drawn_exactly(step: Step, n: int, kind: str) -> None:
    """K3, F4: where all images are one, each of these is exact whatever the number of steps."""
    assert drawn(Pairs(path_of(kind), ONE_IMAGE), step, levels(path_of(kind), n)).abs().max() < 4


@pytest.mark.parametrize("n", [1, 3, 20])
def test_white_noise_is_drawn_exactly(n: int) -> None:
    """K3: DDPM's large variance is right for N(0, I) on a variance-preserving path."""
    world = Pairs(path_of("preserving"), WHITE)
    world.mean = torch.zeros(2).double()
    assert drawn(world, DDPM("large"), levels(world.path, n)).abs().max() < 4
    assert drawn(world, DDPM("small"), levels(world.path, n)).abs().max() > 10


class Uncertain(GaussianOracle):
    """Gaussian data with pixels of their own, and the variance of each step back to be learned.

    x_s given x_t has the posterior's variance and that of x_0, which moves the posterior's mean:
    std² = small² + (alpha_s (1 - fall²))² Var(x_0 | x_t).
    """

    def __init__(self, world: Pairs, times: Tensor) -> None:
        shape = (2, 1, 1)
        std = world.covariance.diag().sqrt().view(shape)
        super().__init__(world.path, world.mean.view(shape), std)
        self.next = {float(t): s for t, s in itertools.pairwise(times)}

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        c = Coefficients.of(self.path, t, self.next[float(t)])
        small, large = (sigma**2 * (1 - c.fall**2) for sigma in (c.sigma_s, c.sigma_t))
        uncertain = self.std**2 * c.sigma_t**2 / (c.alpha_t**2 * self.std**2 + c.sigma_t**2)
        wanted = small + (c.alpha_s * (1 - c.fall**2)) ** 2 * uncertain
        v = (wanted / small).log() / math.log(large / small)
        return self(x_t, t), v.to(x_t).expand_as(x_t)


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("n", [1, 3, 20])
def test_learned_variance_is_exact(n: int, kind: str) -> None:
    """B8: with the variance that is to be learned, ancestral sampling of any length is exact."""
    world = Pairs(path_of(kind), UNLIKE)
    times = levels(world.path, n)
    denoise = Uncertain(world, times)
    assert drawn(world, DDPM("learned"), times, denoise).abs().max() < 4
    if n < 20:
        assert drawn(world, DDPM("small"), times, denoise).abs().max() > 10


# Coarse, and fine enough for 4 standard errors of 20,000 draws.
CONVERGING = [
    (DDPM(), 10, DDPM(), 200),
    (DDPM("large"), 10, DDPM("large"), 200),
    (DDIM(1.0), 10, DDIM(1.0), 200),
    (DDIM(0.5), 10, DDIM(0.5), 200),
    (Euler(0.1), 10, Euler(0.02), 300),
    (Heun(0.2), 4, Heun(0.2), 40),
    (DPMSolver(1.0), 6, DPMSolver(1.0), 60),
    (DPMSolver(), 6, DPMSolver(), 60),
    (UniPC(3), 4, UniPC(3), 20),
    (AnnealedLangevin(2), 10, AnnealedLangevin(400, rate=0.05), 10),
    (PredictorCorrector(), 10, PredictorCorrector(snr=0.05), 200),
]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(
    ("coarse", "few", "fine", "many"), CONVERGING, ids=[str(row[0]) for row in CONVERGING]
)
def test_correlated_data_are_approached(
    coarse: Step, few: int, fine: Step, many: int, kind: str
) -> None:
    """K3, B3, X8: the covariance tends to the truth as steps grow in number or shrink in size."""
    world = Pairs(path_of(kind), CORRELATED)
    first = drawn(world, coarse, levels(world.path, few)).abs().max()
    last = drawn(world, fine, levels(world.path, many)).abs().max()
    assert last < 4
    assert first > 2 * last
