"""Solver steps from t to s < t. A sampler sees `denoise` and the path, never a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from safelight.diffusion.path import Path
from safelight.errors import UserError, lookup
from safelight.seeding import Noise

Denoise = Callable[[Tensor, Tensor], Tensor]  # x_t (b, c, h, w), t () -> x_0 (b, c, h, w)


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

    order: ClassVar[int]  # the error of a whole trajectory falls with this power of the step size

    def evaluations(self, steps: int) -> int:
        """Calls of `denoise` in a trajectory of so many steps."""
        ...

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State: ...


class Coefficients(NamedTuple):
    """alpha and sigma at t and at s, float64 scalars."""

    alpha_t: Tensor
    sigma_t: Tensor
    alpha_s: Tensor
    sigma_s: Tensor

    @classmethod
    def of(cls, path: Path, t: Tensor, s: Tensor) -> Coefficients:
        return cls(path.alpha(t), path.sigma(t), path.alpha(s), path.sigma(s))


@dataclass(frozen=True)
class DDPM:
    """Ancestral sampling, algorithm 2 of arXiv:2006.11239, between any two times t > s.

    x_s ~ N(mu, v) with mu of eq. (7). variance "small" is beta-tilde, the posterior's; "large" is
    beta, the forward step's (section 3.2 there).
    """

    variance: str = "small"
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large"):
            raise UserError(f"unknown DDPM variance {self.variance!r}; choose small or large")

    def evaluations(self, steps: int) -> int:
        return steps

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        x, t = state.x, state.t
        alpha_t, sigma_t, alpha_s, sigma_s = Coefficients.of(path, t, s)
        ratio = alpha_t / alpha_s
        beta = sigma_t**2 - ratio**2 * sigma_s**2  # variance of x_t given x_s
        x_0 = denoise(x, t)
        seen = (Evaluation(x, t, x_0),)
        mean = (ratio * sigma_s**2 / sigma_t**2) * x + (alpha_s * beta / sigma_t**2) * x_0
        if s == 0:  # the last step adds no noise
            return State(mean, s, seen)
        v = beta if self.variance == "large" else beta * sigma_s**2 / sigma_t**2
        return State(mean + v.sqrt() * noise.normal(*x.shape[1:]), s, seen)


@dataclass(frozen=True)
class DDIM:
    """Eq. (12) and (16) of arXiv:2010.02502; eta = 0 is deterministic, eta = 1 is DDPM's noise."""

    eta: float = 0.0
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise UserError(f"eta is {self.eta}; it has to lie between 0 and 1")

    def evaluations(self, steps: int) -> int:
        return steps

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        x, t = state.x, state.t
        alpha_t, sigma_t, alpha_s, sigma_s = Coefficients.of(path, t, s)
        x_0 = denoise(x, t)
        eps = (x - alpha_t * x_0) / sigma_t
        beta = sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2
        std = self.eta * sigma_s / sigma_t * beta.sqrt()
        x_s = alpha_s * x_0 + (sigma_s**2 - std**2).sqrt() * eps
        if std > 0:
            x_s = x_s + std * noise.normal(*x.shape[1:])
        return State(x_s, s, (Evaluation(x, t, x_0),))


@dataclass(frozen=True)
class Heun:
    """Algorithm 1 of arXiv:2206.00364: dz/dl = (z - x_0)/l for z = x/alpha, l = sigma/alpha."""

    order: ClassVar[int] = 2

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        x, t = state.x, state.t
        alpha_t, sigma_t, alpha_s, sigma_s = Coefficients.of(path, t, s)
        l_t, l_s = sigma_t / alpha_t, sigma_s / alpha_s
        z = x / alpha_t
        x_0 = denoise(x, t)
        slope = (z - x_0) / l_t
        z_s = z + (l_s - l_t) * slope
        if s == 0:  # x_0 itself: no slope at zero noise
            return State(z_s * alpha_s, s, (Evaluation(x, t, x_0),))
        x_0 = denoise(z_s * alpha_s, s)
        seen = Evaluation(z_s * alpha_s, s, x_0)
        z_s = z + (l_s - l_t) * (slope + (z_s - x_0) / l_s) / 2
        return State(z_s * alpha_s, s, (seen,))


@dataclass(frozen=True)
class SamplerRow:
    """A named sampler: its step, whose fields are its options, and its usual grid and length."""

    make: Callable[..., Step]
    grids: tuple[str, ...]  # the grid used, first for a path of T steps, last for a continuous one
    steps: int


SAMPLERS: dict[str, SamplerRow] = {
    "heun": SamplerRow(Heun, ("karras",), 18),
    "ddim": SamplerRow(DDIM, ("leading", "karras"), 50),
    "ddpm": SamplerRow(DDPM, ("leading", "karras"), 1000),
}


def make_step(sampler: str, options: Mapping[str, Any]) -> Step:
    """The step of a row of SAMPLERS; raises UserError for an option that it does not have."""
    row = lookup(SAMPLERS, sampler, "sampler")
    known = [field.name for field in fields(row.make)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise UserError(f"{sampler} has no {option}; leave --{option} out")
    return row.make(**options)


def start(path: Path, times: Tensor, eps: Tensor) -> State:
    """The first state: noise of the first time's level (the image's share of x_t is not known)."""
    return State(path.sigma(times[0]) * eps, times[0])
