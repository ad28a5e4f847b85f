"""What solver steps are made of: the state, the protocol, the path's numbers, moves down and up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from safelight.diffusion.path import Path
from safelight.errors import UserError
from safelight.seeding import Noise

Denoise = Callable[[Tensor, Tensor], Tensor]  # x_t (b, c, h, w), t () -> x_0 (b, c, h, w)

# A noise level sigma/alpha beyond which x_t is as good as pure noise: the image's share of it is
# less than a quarter of one of 256 grey levels.
PURE = 1e3


class Evaluation(NamedTuple):
    """One call of the denoiser: what it saw, when, and its guess."""

    x: Tensor
    t: Tensor
    x_0: Tensor


class State(NamedTuple):
    """Where a trajectory is: x_t at time t, and the evaluations that led there, newest first.

    A step keeps as many of them as it will need again; multistep methods are made of them.
    """

    x: Tensor
    t: Tensor
    past: tuple[Evaluation, ...] = ()

    @property
    def x_0(self) -> Tensor:
        """The newest guess of the image; zeros before the first."""
        return self.past[0].x_0 if self.past else torch.zeros_like(self.x)


class Step(Protocol):
    """A frozen dataclass whose fields are the sampler's options."""

    @property
    def order(self) -> int | None:
        """The power of the step size that the error of a whole trajectory is proportional to.

        The error is an image's if the step draws no noise. If it does, it is the error of the
        covariance of images, where these are normally distributed. None where the error is
        proportional to no power.
        """
        ...

    def evaluations(self, steps: int) -> int | None:
        """How often a trajectory of so many steps to 0 calls `denoise`; None if images decide."""
        ...

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State: ...


class Coefficients(NamedTuple):
    """alpha and sigma at t and at s.

    They are Python's numbers: arithmetic on tensors of one element costs a microsecond each time.
    """

    alpha_t: float
    sigma_t: float
    alpha_s: float
    sigma_s: float

    @classmethod
    def of(cls, path: Path, t: Tensor, s: Tensor) -> Coefficients:
        times = torch.stack([t, s])
        (alpha_t, alpha_s), (sigma_t, sigma_s) = (
            path.alpha(times).tolist(),
            path.sigma(times).tolist(),
        )
        return cls(alpha_t, sigma_t, alpha_s, sigma_s)

    @property
    def fall(self) -> float:
        """tau_s / tau_t, where tau = sigma / alpha: rho in docs/mathematics.md, in [0, 1).

        It is 0 where s is clean, and where t is pure noise (alpha_t = 0).
        """
        return self.alpha_t * self.sigma_s / (self.alpha_s * self.sigma_t)

    @property
    def h(self) -> float:
        """ln(tau_t / tau_s), the step size that exponential integrators count in."""
        return -math.log(self.fall) if self.fall > 0 else math.inf


def evaluate(denoise: Denoise, state: State) -> Evaluation:
    return Evaluation(state.x, state.t, denoise(state.x, state.t))


def guessed(denoise: Denoise, state: State) -> tuple[Evaluation, ...]:
    """The evaluations of `state`, one at its own time first: made now unless the last step did."""
    if state.past and state.past[0].t == state.t:
        return state.past
    return (evaluate(denoise, state), *state.past)


def glide(x: Tensor, x_0: Tensor, c: Coefficients, std: float = 0.0) -> Tensor:
    """Mean of x_s, x_t known, were the image x_0: eq. (12) of arXiv:2010.02502.

        x_s = alpha_s x_0 + sqrt(sigma_s² - std²) eps,    eps = (x_t - alpha_t x_0) / sigma_t

    Noise of standard deviation `std` is then to be added. With std = 0 it is the exact solution of
    the probability-flow ODE for a constant x_0, and every solver here is this move towards some
    guess or mean of guesses. Regular at alpha_t = 0 and at alpha_s = 0.
    """
    keep = math.sqrt(c.sigma_s**2 - std**2) / c.sigma_t
    return keep * x + (c.alpha_s - keep * c.alpha_t) * x_0


def noised(path: Path, state: State, t: Tensor, noise: Noise) -> State:
    """A draw of q(x_t | x_s) where t is noisier than s, the time of `state`; it has no past."""
    c = Coefficients.of(path, t, state.t)
    ratio = c.alpha_t / c.alpha_s
    added = math.sqrt(max(c.sigma_t**2 - (ratio * c.sigma_s) ** 2, 0.0))
    return State(ratio * state.x + added * noise.normal(*state.x.shape[1:]), t)


def within(option: str, value: float, low: float, high: float) -> None:
    """Raises UserError where a sampler's option, a field of its step, is out of its range."""
    if not low <= value <= high:
        name = option.replace("_", "-")
        raise UserError(f"--{name} is {value}; it has to lie between {low:g} and {high:g}")
