"""Exponential integrators that remember: one network call a step, and a higher order.

With tau = sigma / alpha and xi = ln(tau_t / tau), which goes from 0 at t to h at s, the
probability-flow ODE has the solution, eq. (8) of arXiv:2211.01095,

    x_s = sigma_s / sigma_t x_t + alpha_s int_0^h e^(xi - h) D(xi) dxi,

where D is the denoiser along the trajectory. A multistep method puts a polynomial through its
values so far in the place of D. That makes the integral a weighted sum of them, and the step the
`glide` towards their weighted mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from safelight.diffusion.path import Path
from safelight.samplers.ancestral import renoised
from safelight.samplers.state import (
    Coefficients,
    Denoise,
    Evaluation,
    State,
    evaluate,
    glide,
    guessed,
    within,
)
from safelight.seeding import Noise


@dataclass(frozen=True)
class DPMSolver:
    """DPM-Solver++(2M), algorithm 2 of arXiv:2211.01095; with eta = 1 SDE-DPM-Solver++(2M).

    The line through the last two guesses is followed to the middle of the step. The first step and
    the one to 0, whose h is infinite, are of first order: DDIM(eta).
    """

    eta: float = 0.0
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        within("eta", self.eta, 0, 1)

    def evaluations(self, steps: int) -> int:
        return steps

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        c = Coefficients.of(path, state.t, s)
        seen = evaluate(denoise, state)
        guess = seen.x_0
        if state.past and c.sigma_s > 0:
            last = state.past[0]
            before, now, then = _progress(path, (last.t, state.t, s))
            guess = guess + (then - now) / (now - before) / 2 * (guess - last.x_0)
        return State(renoised(state.x, guess, c, self.eta, noise), s, (seen,))


@dataclass(frozen=True)
class UniPC:
    """UniPC-p of arXiv:2302.04867 with B(h) = e^h - 1, p = solver_order.

    The predictor UniP-p puts a polynomial through the last p guesses, the corrector UniC-p through
    the one at s as well. That one serves the next step too: the correction costs no call of the
    network, and makes the order p + 1. While there are fewer guesses, p is their number; the step
    to 0, whose h is infinite, is DDIM's.
    """

    solver_order: int = 2

    def __post_init__(self) -> None:
        within("solver_order", self.solver_order, 1, 3)

    @property
    def order(self) -> int:
        return self.solver_order + 1

    def evaluations(self, steps: int) -> int:
        return steps

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        c = Coefficients.of(path, state.t, s)
        past = guessed(denoise, state)[: self.solver_order]
        known = _nodes(path, past, c.h)
        x_s = glide(state.x, _mean(known, c.h), c)
        if c.sigma_s == 0:
            return State(x_s, s, past)
        seen = Evaluation(x_s, s, denoise(x_s, s))
        x_s = glide(state.x, _mean([*known, (1.0, seen.x_0)], c.h), c)
        return State(x_s, s, (seen, *past)[: self.solver_order])


def _progress(path: Path, times: Sequence[Tensor]) -> list[float]:
    """-ln tau at each of these times (): it grows by h in a step."""
    return (path.log_snr(torch.stack(list(times))) / 2).tolist()


def _nodes(path: Path, past: Sequence[Evaluation], h: float) -> list[tuple[float, Tensor]]:
    """Each guess with its place xi / h: 0 at t, 1 at s. Pure noise has no place, nor a finite h."""
    if math.isinf(h):
        return [(0.0, past[0].x_0)]
    places = _progress(path, [seen.t for seen in past])
    return [
        ((place - places[0]) / h, seen.x_0)
        for place, seen in zip(places, past, strict=True)
        if math.isfinite(place)
    ]


def _mean(known: Sequence[tuple[float, Tensor]], h: float) -> Tensor:
    """The guesses weighted so that polynomials through them are integrated exactly."""
    weights = quadrature([node for node, _ in known], h)
    mean = weights[0] * known[0][1]
    for weight, (_, guess) in zip(weights[1:], known[1:], strict=True):
        mean = mean + weight * guess
    return mean


def quadrature(nodes: Sequence[float], h: float) -> list[float]:
    """Weights w with sum_j w_j nodes_j^k = m_k for k below their number.

    m_k is the mean of (xi / h)^k under the weight e^xi of the integral. By parts,
    I_k = int_0^h e^(xi - h) (xi / h)^k dxi = 1 - k / h I_(k - 1) and m_k = I_k / I_0. With two
    nodes m_1 is 1/2, to which it tends for small h, as in the papers.
    """
    if len(nodes) == 1:
        return [1.0]
    moments = [1.0, 0.5]
    if len(nodes) > 2:
        integrals = [-math.expm1(-h)]
        for k in range(1, len(nodes)):
            integrals.append(1 - k / h * integrals[-1])
        moments = [integral / integrals[0] for integral in integrals]
    powers = torch.tensor(
        [[node**k for node in nodes] for k in range(len(nodes))], dtype=torch.float64
    )
    weights = torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64))
    return list(weights.tolist())
