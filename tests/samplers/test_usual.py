"""Whole trajectories, as samplers have them unless told otherwise: from the prior to 0."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from safelight.config import Sampling
from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import Path, make_path
from safelight.samplers.grids import GRIDS
from safelight.samplers.langevin import AnnealedLangevin, best_rate
from safelight.samplers.steps import SAMPLERS
from safelight.samplers.trajectory import start
from safelight.training.drawing import Drawing
from tests.samplers.worlds import Draws, arrive, every_path, moments

EVERY = every_path()
MEAN, STD = 0.3, 0.5
# How far the standard deviation of what is drawn may be from STD, as a share of it: the first-order
# methods with 50 steps lose 5 %, Heun's with 18 and Langevin's win as much.
BIAS = {
    "heun": 0.06,
    "euler": 0.06,
    "dpm++": 0.02,
    "unipc": 0.015,
    "adaptive": 0.006,
    "ddim": 0.06,
    "ddpm": 0.01,
    "langevin": 0.075,
    "predictor-corrector": 4 / math.sqrt(2 * 20_000) + 0.005,
}


def oracle(path: Path) -> GaussianOracle:
    return GaussianOracle(path, torch.tensor(MEAN).double(), torch.tensor(STD).double())


@pytest.mark.parametrize("name", ["linear", "cosine", "flow", "edm"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_images_have_the_mean_and_deviation_of_the_data(sampler: str, name: str) -> None:
    """K3, B3, F4, X8: on each sampler's usual grid with its usual number of steps."""
    path, row = make_path(name), SAMPLERS[sampler]
    times = GRIDS[row.usual_grid(path)](path, row.usual_steps(path))
    if sampler == "predictor-corrector":  # whose step size makes it no linear map of the noise
        x = start(path, times, Draws(2, 1).normal(1, 100, 100)).x
        drawn = arrive(row.make(), oracle(path), path, times, x, 3)
        mean, std = float(drawn.mean()), float(drawn.std())
    else:
        prior = float(path.sigma(times[0]))
        mean, std = moments(row.make(), oracle(path), path, times, 0.0, prior)
    assert abs(std / STD - 1) < BIAS[sampler]
    # A prior without the image's share of x_t: the level 80 is that much too dark, STD / 80.
    assert abs(mean - MEAN) < (4 * STD / math.sqrt(20_000) if "corrector" in sampler else 0.0025)


@pytest.mark.parametrize("name", ["linear", "flow", "edm"])
def test_langevin_has_the_variance_that_its_step_size_gives(name: str) -> None:
    """B3: technique 4 of arXiv:2006.09011 on normal data, by the recursion of the variance.

    At the level tau an iteration multiplies z - mean by 1 - r (1 - g), g = STD² / (STD² + tau²).
    """
    path, step = make_path(name), AnnealedLangevin()
    times = GRIDS["logsnr"](path, 232)
    levels = (path.sigma(times[:-1]) / path.alpha(times[:-1])).tolist()
    variance = levels[0] ** 2
    for above, tau in itertools.pairwise(levels):
        r, g = best_rate(above / tau, step.inner), STD**2 / (STD**2 + tau**2)
        for _ in range(step.inner):
            variance = (1 - r * (1 - g)) ** 2 * variance + 2 * r * tau**2
    _, found = moments(step, oracle(path), path, times, 0.0, float(path.sigma(times[0])))
    assert found == pytest.approx(g * math.sqrt(variance), rel=1e-6)
    assert 1.06 < found / STD < 1.075  # the variance that it keeps of higher levels


def test_langevin_with_its_own_step_size_nears_the_truth() -> None:
    """B3: with more iterations at each level, if slowly."""
    path = make_path("flow")
    times = GRIDS["logsnr"](path, 40)
    prior = float(path.sigma(times[0]))
    biases = [
        moments(AnnealedLangevin(inner), oracle(path), path, times, 0.0, prior)[1] / STD - 1
        for inner in (1, 5, 20, 80)
    ]
    assert all(few > 1.3 * many > 0 for few, many in itertools.pairwise(biases))


@pytest.mark.parametrize("name", EVERY)
def test_the_usual_sampler_asks_at_most_20_times(name: str) -> None:
    """The network, for an image without guidance: issue 3's bar for the sampler in `Sampling`."""
    evaluations = Drawing.of(Sampling(guidance=1.0), EVERY[name]).evaluations
    assert evaluations is not None
    assert evaluations <= 20
