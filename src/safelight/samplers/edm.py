"""The solvers of EDM, arXiv:2206.00364."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from safelight.diffusion.path import Path
from safelight.samplers.state import Coefficients, Denoise, Evaluation, State, evaluate, glide
from safelight.seeding import Noise


@dataclass(frozen=True)
class Heun:
    """Algorithm 1 of arXiv:2206.00364: dz/dl = (z - x_0)/l for z = x/alpha, l = sigma/alpha."""

    order: ClassVar[int] = 2

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        c = Coefficients.of(path, state.t, s)
        first = evaluate(denoise, state)
        x_s = glide(state.x, first.x_0, c)
        if c.sigma_s == 0:  # x_0 itself: no slope at zero noise
            return State(x_s, s, (first,))
        second = Evaluation(x_s, s, denoise(x_s, s))
        change = c.alpha_s * (1 / c.fall - 1) / 2
        return State(x_s + change * (second.x_0 - first.x_0), s, (second,))
