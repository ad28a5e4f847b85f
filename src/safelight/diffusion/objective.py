"""What training minimises: E over t and eps of w(t) |x_0 - D(x_t, t)|², one loss per image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.path import Path, broadcast, diffuse

Times = Callable[[Path, Tensor], Tensor]  # path, u (b,) uniform in [0, 1) -> t (b,) in (0, 1]
Weight = Callable[[Tensor, float], Tensor]  # noise level sigma / alpha (b,), sigma_data -> w (b,)


def lognormal_times(path: Path, u: Tensor, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """ln(sigma / alpha) ~ N(mean, std²), table 1 of arXiv:2206.00364."""
    normal = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-6, 1 - 1e-6))
    level = (mean + std * normal).exp()
    return path.time(level**-2)


def uniform_times(path: Path, u: Tensor) -> Tensor:
    """Uniform over {1/T, ..., 1}, algorithm 1 of arXiv:2006.11239; over (0, 1] without a T."""
    if path.levels is None:
        return 1 - u
    return ((u * path.levels).floor() + 1).clamp(max=path.levels) / path.levels


# Each row makes its distribution from the mean and deviation of ln(sigma / alpha).
TIMES: dict[str, Callable[[float, float], Times]] = {
    "lognormal": lambda mean, std: partial(lognormal_times, mean=mean, std=std),
    "uniform": lambda mean, std: uniform_times,
}


def edm_weight(level: Tensor, sigma_data: float) -> Tensor:
    """(s² + sigma_data²) / (s sigma_data)²: every level starts with a loss of 1."""
    return sigma_data**-2 + level**-2  # the same, and finite for pure noise


def simple_weight(level: Tensor, sigma_data: float) -> Tensor:
    """1 / s²: the error of eps, L_simple, eq. (14) of arXiv:2006.11239."""
    return level**-2


WEIGHTS: dict[str, Weight] = {"edm": edm_weight, "simple": simple_weight}


@dataclass(frozen=True)
class Objective:
    """Algorithm 1 of arXiv:2006.11239 for any path, parameterisation, times and weight."""

    times: Times
    weight: Weight

    def __call__(
        self, denoiser: Denoiser, x_0: Tensor, u: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor:
        """x_0, eps (b, c, h, w); u (b,) uniform in [0, 1): the loss of each image, (b,).

        There is one t for each image: one for a batch has the same mean and far more variance.
        """
        return self.at(denoiser, x_0, self.times(denoiser.path, u), eps, y)

    def at(
        self, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor:
        """The same at given times t (b,)."""
        x_t = diffuse(denoiser.path, x_0, t, eps)
        row = denoiser.affine(t)
        # In units of F, where |x_0 - D|² = out² |target - F|²: no cancellation at low noise.
        target = (x_0 - broadcast(row.skip, x_0) * x_t) / broadcast(row.out, x_0)
        error = (denoiser.network(x_t, t, y) - target).square().flatten(1).mean(1)
        level = denoiser.path.sigma(t) / denoiser.path.alpha(t)
        return self.weight(level, denoiser.sigma_data) * row.out**2 * error
