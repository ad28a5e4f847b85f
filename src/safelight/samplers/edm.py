"""The solvers of EDM, arXiv:2206.00364, on any path.

In z = x / alpha and tau = sigma / alpha, the noise level, the probability-flow ODE is the same on
every path: dz/dtau = (z - D) / tau.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from safelight.diffusion.path import Path
from safelight.samplers.state import (
    PURE,
    Coefficients,
    Denoise,
    Evaluation,
    State,
    evaluate,
    glide,
    noised,
    within,
)
from safelight.seeding import Noise

MOST_CHURN = math.sqrt(2) - 1  # more would add more new noise than there is


def churned(path: Path, state: State, churn: float, noise: Noise) -> State:
    """x_t with fresh noise, at the level tau (1 + churn): lines 4 to 6 of algorithm 2.

    The level never passes the path's end, and pure noise stays as it is.
    """
    alpha, sigma = path.alpha(state.t), path.sigma(state.t)
    if churn == 0 or alpha == 0:
        return state
    higher = path.time((alpha / sigma / (1 + churn)) ** 2)
    return noised(path, state, higher, noise)


@dataclass(frozen=True)
class Euler:
    """Algorithm 2 of arXiv:2206.00364 without its second-order correction.

    A step of Euler's method in tau goes straight towards x_0, as DDIM does. `churn` is gamma.
    """

    churn: float = 0.0

    def __post_init__(self) -> None:
        within("churn", self.churn, 0, MOST_CHURN)

    @property
    def order(self) -> int | None:
        return 1 if self.churn == 0 else None  # what churn adds does not shrink with the steps

    def evaluations(self, steps: int) -> int:
        return steps

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        state = churned(path, state, self.churn, noise)
        c = Coefficients.of(path, state.t, s)
        seen = evaluate(denoise, state)
        return State(glide(state.x, seen.x_0, c), s, (seen,))


@dataclass(frozen=True)
class Heun:
    """Algorithm 1 of arXiv:2206.00364, and with churn, which is gamma, its algorithm 2.

    The slopes (z - D) / tau at both ends of Euler's step differ by (D_t - D_s) / tau_s, so that
    their mean in the place of the first moves x_s by `correction` times D_s - D_t.
    """

    churn: float = 0.0

    def __post_init__(self) -> None:
        within("churn", self.churn, 0, MOST_CHURN)

    @property
    def order(self) -> int | None:
        return 2 if self.churn == 0 else None

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        state = churned(path, state, self.churn, noise)
        c = Coefficients.of(path, state.t, s)
        first = evaluate(denoise, state)
        x_s = glide(state.x, first.x_0, c)
        if c.sigma_s == 0:  # x_0 itself: no slope at zero noise
            return State(x_s, s, (first,))
        second = Evaluation(x_s, s, denoise(x_s, s))
        return State(x_s + correction(c) * (second.x_0 - first.x_0), s, (second,))


def correction(c: Coefficients) -> float:
    """alpha_s (tau_t / tau_s - 1) / 2.

    From nearly pure noise tau_t / tau_s is huge, and the method is used on the flow path, whose
    time is u = tau / (1 + tau) and where x_t / (alpha + sigma) moves with D_t, D_s just as
    regularly: (alpha_s + sigma_s) (u_t / u_s - 1) / 2, which is the same times
    (1 + tau_s) / (1 + tau_t) and finite at alpha_t = 0.
    """
    if c.sigma_t < PURE * c.alpha_t:
        return (c.alpha_s**2 * c.sigma_t / (c.alpha_t * c.sigma_s) - c.alpha_s) / 2
    u_t, u_s = c.sigma_t / (c.alpha_t + c.sigma_t), c.sigma_s / (c.alpha_s + c.sigma_s)
    return (c.alpha_s + c.sigma_s) * (u_t / u_s - 1) / 2
