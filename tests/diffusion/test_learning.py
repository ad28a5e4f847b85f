"""Whichever parameterisation is trained, the same denoiser comes of it."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.objective import Denoising
from safelight.diffusion.oracle import MixtureOracle
from safelight.diffusion.path import Path, diffuse, make_path
from safelight.diffusion.precond import PREDICTIONS
from safelight.diffusion.times import lognormal_times
from safelight.diffusion.weights import edm_weight

MEANS = torch.tensor([[-0.6, -0.3], [0.6, 0.3]]).reshape(2, 2, 1, 1)
SIGMA_DATA, LEVELS = 0.5, (0.3, 0.5, 1.0)
HELD_OUT = 2048
times = partial(lognormal_times, mean=-0.5, std=0.8)


class Modulated(nn.Module):
    """Two hidden layers on images of two pixels, scaled and shifted by the noise level."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, width), nn.Linear(width, width)])
        self.modulation = nn.Linear(17, 4 * width)
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        angles = c_noise[:, None] * torch.arange(1, 9) * 0.7
        known = torch.cat([angles.cos(), angles.sin(), c_noise[:, None]], dim=1)
        scale_1, shift_1, scale_2, shift_2 = self.modulation(known).chunk(4, dim=1)
        h = x.flatten(1)
        for layer, scale, shift in zip(
            self.layers, (scale_1, scale_2), (shift_1, shift_2), strict=True
        ):
            h = nn.functional.silu(layer(h) * (1 + scale) + shift)
        return self.out(h).reshape(x.shape)


def trained(path: Path, prediction: str, seed: int, steps: int) -> Denoiser:
    oracle = MixtureOracle(path, MEANS, torch.tensor(0.3))
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Denoiser(Modulated(), path, PREDICTIONS[prediction], SIGMA_DATA)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x_0 = oracle.sample(256, generator)
        eps = torch.randn(x_0.shape, generator=generator)
        t, _ = times(path, torch.rand(256, generator=generator))
        loss = Denoising(edm_weight)(model, x_0, t, eps, None).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    return model


@torch.inference_mode()
def errors(model: Denoiser | MixtureOracle) -> Tensor:
    """The weighted error of each of the same held-out images, mean over noise levels."""
    generator = torch.Generator().manual_seed(99)
    x_0 = MixtureOracle(model.path, MEANS, torch.tensor(0.3)).sample(HELD_OUT, generator)
    eps = torch.randn(x_0.shape, generator=generator)
    total = torch.zeros(HELD_OUT)
    for level in LEVELS:
        t = model.path.time(torch.full((HELD_OUT,), level**-2))
        squares = (x_0 - model(diffuse(model.path, x_0, t, eps), t)).square().flatten(1).mean(1)
        total += edm_weight(torch.tensor(level), SIGMA_DATA) * squares / len(LEVELS)
    return total


@pytest.fixture(scope="module")
def excesses() -> dict[str, Tensor]:
    """By parameterisation, each image's error over that of the exact denoiser, whose mean is 1.

    Of the same image and noise: what both cannot know is in neither.
    """
    path = make_path("linear-continuous")
    best = errors(MixtureOracle(path, MEANS, torch.tensor(0.3)))
    return {
        name: (errors(trained(path, name, seed=0, steps=1000)) - best) / best.mean()
        for name in PREDICTIONS
    }


def interval(x: Tensor) -> tuple[float, float]:
    """Of the mean over images, 95 %."""
    half = 1.96 * float(x.std()) / len(x) ** 0.5
    return float(x.mean()) - half, float(x.mean()) + half


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_parameterisation_reaches_the_exact_denoiser(
    prediction: str, excesses: dict[str, Tensor]
) -> None:
    """K3, X12: to one percent of its error at most; and none is better than the best."""
    low, high = interval(excesses[prediction])
    assert high < 0.01
    assert low > -0.005


def test_every_parameterisation_reaches_the_same_error(excesses: dict[str, Tensor]) -> None:
    """K3, X12: the difference of any two, image by image, is less than one percent."""
    for one, other in combinations(excesses.values(), 2):
        low, high = interval(one - other)
        assert -0.01 < low < high < 0.01


def test_the_path_makes_no_difference() -> None:
    """X12: trained at the same noise levels, networks of all kinds of paths learn the same."""
    paths = [make_path(name) for name in ("edm", "linear-continuous", "flow")]
    found = [errors(trained(path, "v", seed=0, steps=40)).mean() for path in paths]
    for other in found[1:]:
        assert float(other) == pytest.approx(float(found[0]), rel=2e-3)
