"""Ancestral sampling: DDPM, and DDIM, which does with less of its noise or none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from safelight.diffusion.path import Path
from safelight.errors import UserError, lookup
from safelight.samplers.state import Coefficients, Denoise, State, evaluate, glide, within
from safelight.seeding import Noise


def posterior_std(c: Coefficients) -> float:
    """Of x_s when x_t and x_0 are known, eq. (7) of arXiv:2006.11239: sigma_s² (1 - fall²)."""
    return c.sigma_s * math.sqrt(1 - c.fall**2)


def forward_std(c: Coefficients) -> float:
    """Of x_t when x_s is known, scaled by alpha_t / alpha_s: sigma_t² (1 - fall²)."""
    return c.sigma_t * math.sqrt(1 - c.fall**2)


VARIANCES: dict[str, Callable[[Coefficients], float]] = {
    "small": posterior_std,
    "large": forward_std,
}


@dataclass(frozen=True)
class DDPM:
    """Ancestral sampling, algorithm 2 of arXiv:2006.11239, between any two times t > s.

    x_s ~ N(mu, v) with mu of eq. (7). variance "small" is beta-tilde, the posterior's; "large" is
    beta, the forward step's (section 3.2 there).
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
        seen = evaluate(denoise, state)
        x_s = glide(state.x, seen.x_0, c, posterior_std(c))
        if c.sigma_s > 0:  # the last step adds no noise
            x_s = x_s + VARIANCES[self.variance](c) * noise.normal(*x_s.shape[1:])
        return State(x_s, s, (seen,))


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
        std = self.eta * posterior_std(c)
        x_s = glide(state.x, seen.x_0, c, std)
        if std > 0:
            x_s = x_s + std * noise.normal(*x_s.shape[1:])
        return State(x_s, s, (seen,))
