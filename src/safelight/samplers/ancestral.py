"""Ancestral sampling: DDPM, and DDIM, which does with less of its noise or none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from safelight.diffusion.bound import VARIANCES
from safelight.diffusion.path import Path
from safelight.errors import lookup
from safelight.samplers.state import (
    Coefficients,
    Denoise,
    Evaluation,
    State,
    evaluate,
    glide,
    within,
)
from safelight.seeding import Noise


def posterior_std(c: Coefficients) -> float:
    """Of x_s when x_t and x_0 are known, eq. (7) of arXiv:2006.11239: sigma_s² (1 - fall²)."""
    return c.sigma_s * math.sqrt(1 - c.fall**2)


def step_std(c: Coefficients, v: Tensor) -> Tensor:
    """The posterior's for v = 0, and for v = 1 the forward step's, sqrt(beta) of that paper.

    beta is sigma_t² (1 - fall²). Between both v interpolates the logarithm, eq. (15) of
    arXiv:2102.09672.
    """
    return posterior_std(c) * (c.sigma_t / c.sigma_s) ** v


@dataclass(frozen=True)
class DDPM:
    """Ancestral sampling, algorithm 2 of arXiv:2006.11239, between any two times t > s.

    x_s ~ N(mu, std²) with mu of eq. (7). The variance "small" is the posterior's, beta-tilde, and
    right if all images are one; "large" is the forward step's, beta, and right if images are
    white noise (section 3.2 there); "learned" lies between, where the model says.
    """

    variance: str = "small"
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        lookup(VARIANCES, self.variance, "variance")

    def evaluations(self, steps: int) -> int:
        return steps

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        c = Coefficients.of(path, state.t, s)
        x_0, v = VARIANCES[self.variance](denoise, state.x, state.t)
        x_s = glide(state.x, x_0, c, posterior_std(c))
        if c.sigma_s > 0:  # the last step adds no noise
            x_s = x_s + step_std(c, v) * noise.normal(*x_s.shape[1:])
        return State(x_s, s, (Evaluation(state.x, state.t, x_0),))


@dataclass(frozen=True)
class DDIM:
    """Eq. (12) and (16) of arXiv:2010.02502; eta = 0 is deterministic, eta = 1 is DDPM's noise."""

    eta: float = 0.0
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        within("eta", self.eta, 0, 1)

    def evaluations(self, steps: int) -> int:
        return steps

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        c = Coefficients.of(path, state.t, s)
        seen = evaluate(denoise, state)
        x_s = renoised(state.x, seen.x_0, c, self.eta, noise)
        return State(x_s, s, (seen,))


def renoised(x: Tensor, x_0: Tensor, c: Coefficients, eta: float, noise: Noise) -> Tensor:
    """x_s of `glide` with the share eta of the posterior's noise, eq. (16) of arXiv:2010.02502."""
    std = eta * posterior_std(c) if eta > 0 else 0.0
    x_s = glide(x, x_0, c, std)
    return x_s + std * noise.normal(*x_s.shape[1:]) if std > 0 else x_s
