"""The probability-flow ODE, solved as finely as each moment needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from safelight.diffusion.ode import solve
from safelight.diffusion.path import Path
from safelight.errors import UserError
from safelight.samplers.state import (
    PURE,
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
class Adaptive:
    """The fifth-order method of Dormand and Prince, with steps of its own size from t to s.

    `tolerance` is the error that each of them may make by its own estimate, as root mean square
    over an image's pixels, which lie in [-1, 1]. All images of a batch take the same steps, which
    the worst of them decides, so neighbours do influence an image, within the tolerance. The step
    to 0 is the denoiser's guess.
    """

    tolerance: float = 1e-3
    order: ClassVar[None] = None  # the tolerance decides, and not how many times are visited

    def __post_init__(self) -> None:
        within("tolerance", self.tolerance, 1e-6, 1)

    def evaluations(self, steps: int) -> None:
        return None

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        state = _out_of_pure_noise(denoise, path, state, s)
        if state.t == s:
            return state
        c = Coefficients.of(path, state.t, s)
        if c.sigma_s == 0:
            seen = guessed(denoise, state)[0]
            return State(glide(state.x, seen.x_0, c), s, (seen,))
        flow = Flow(denoise, path)
        begin = state.x / math.hypot(c.alpha_t, c.sigma_t)
        end = solve(flow, begin, _span(c).to(begin.device), self.tolerance, "--tolerance")
        x_s = math.hypot(c.alpha_s, c.sigma_s) * end
        # The method's last call was at s.
        return State(x_s, s, (Evaluation(x_s, s, flow.x_0),))


def _span(c: Coefficients) -> Tensor:
    """lambda / 2 at t and at s, (2,) float64."""
    ends = [math.log(c.alpha_t / c.sigma_t), math.log(c.alpha_s / c.sigma_s)]
    return torch.tensor(ends, dtype=torch.float64)


class Flow:
    """dy/d(lambda / 2) = a (D - a y) for y = x / sqrt(alpha² + sigma²) and a² = sigmoid(lambda).

    That is the probability-flow ODE of any path, in the coordinates of the variance-preserving
    one, whose alpha is a: y stays of the size of an image at all noise levels, so that one
    tolerance means the same at each. The last guess is kept.

    Raises UserError where a guess is not finite.
    """

    x_0: Tensor

    def __init__(self, denoise: Denoise, path: Path) -> None:
        self._denoise, self._path = denoise, path

    def __call__(self, half_log_snr: Tensor, y: Tensor) -> Tensor:
        log_snr = 2 * half_log_snr.double().cpu()
        t = self._path.time(log_snr.exp())
        scale = torch.hypot(self._path.alpha(t), self._path.sigma(t))
        self.x_0 = self._denoise(float(scale) * y, t)
        if not self.x_0.isfinite().all():
            raise UserError(
                f"the model gives no finite numbers at the noise level {(-log_snr / 2).exp():.3g}; "
                "take an earlier --checkpoint, and a --guidance that is an ordinary number"
            )
        a = float(log_snr.sigmoid().sqrt())
        return a * (self.x_0 - a * y)


def _out_of_pure_noise(denoise: Denoise, path: Path, state: State, s: Tensor) -> State:
    """Where lambda is minus infinity or nearly so, go to the level PURE, or to s, straight.

    The change of y on the way is at most about 1 / PURE, and the guess hardly changes.
    """
    if path.sigma(state.t) <= PURE * path.alpha(state.t):
        return state
    nearer = torch.maximum(s, path.time(torch.full_like(s, PURE**-2)))
    seen = evaluate(denoise, state)
    x = glide(state.x, seen.x_0, Coefficients.of(path, state.t, nearer))
    return State(x, nearer, (seen,))
