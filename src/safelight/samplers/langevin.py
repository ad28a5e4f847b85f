"""Langevin dynamics: noise and the score in turn, at one noise level after another.

One iteration at alpha, sigma with step size `rate` sigma², eq. (4) of arXiv:1907.05600, where the
score is (alpha D - x) / sigma²:

    x <- x + rate (alpha D - x) + sqrt(2 rate) sigma n,    n ~ N(0, I)

In z = x / alpha it is the same on every path.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from safelight.diffusion.path import Path
from safelight.samplers.ancestral import DDPM
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

MOST_ITERATIONS = 1000


@dataclass(frozen=True)
class AnnealedLangevin:
    """Algorithm 1 of arXiv:1907.05600, with technique 4 and the last denoising of 2006.09011.

    A step from t to s takes z = x / alpha as it is and runs `inner` iterations at the level of s.
    The step to 0 is the denoiser's guess. The papers iterate at their first level too, where they
    begin with noise of another distribution; here x is a draw of the prior there, as iterations
    would make it. A step from pure noise, where z is infinite, begins with such a draw at s.

    `rate` is epsilon / sigma_L² of the second paper, half of that of the first. Unless given it is
    `best_rate`, from pure noise that of a step that halves the level.

    An iteration moves what is much wider than the noise by little. So what the data vary in keeps
    some of the variance of higher levels, the more the fewer iterations there are.
    """

    inner: int = 5
    rate: float | None = None
    order: ClassVar[None] = None  # the variance tends to the truth with the iterations at a level

    def __post_init__(self) -> None:
        within("inner", self.inner, 1, MOST_ITERATIONS)
        if self.rate is not None:
            within("rate", self.rate, 1e-6, 1)

    def evaluations(self, steps: int) -> int:
        return (steps - 1) * self.inner + 1

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        c = Coefficients.of(path, state.t, s)
        if c.sigma_s == 0:
            seen = evaluate(denoise, state)
            return State(glide(state.x, seen.x_0, c), s, (seen,))
        pure = c.alpha_t == 0
        rate = self.rate or best_rate(2.0 if pure else 1 / c.fall, self.inner)
        x = (c.sigma_s / c.sigma_t if pure else c.alpha_s / c.alpha_t) * state.x
        state = State(x, s)
        for _ in range(self.inner):
            seen = evaluate(denoise, state)
            state = State(stirred(seen, c, rate, noise.normal(*x.shape[1:])), s, (seen,))
        return state


def stirred(seen: Evaluation, c: Coefficients, rate: float | Tensor, n: Tensor) -> Tensor:
    """One iteration at s. rate: a number, or (b, 1, 1, 1)."""
    return seen.x + rate * (c.alpha_s * seen.x_0 - seen.x) + (2 * rate) ** 0.5 * c.sigma_s * n


@functools.lru_cache(maxsize=4096)
def best_rate(gamma: float, inner: int) -> float:
    """Technique 4 of arXiv:2006.09011: the r for which the noise is most nearly of its level.

    Where all images are one, D is that image and an iteration multiplies the deviation of z from
    it by 1 - r and adds noise of variance 2 r tau_s². Coming from the level tau_t = gamma tau_s,
    after K = `inner` of them its variance is, proposition 2 there,

        f(r) tau_s²,    f(r) = q (gamma² - v) + v,    q = (1 - r)^(2 K),    v = 2 / (2 - r),

    which cannot come down to tau_s²: it starts at gamma² for r = 0, and v > 1. So f is least where
    f' = -2 K q / (1 - r) (gamma² - v) + (1 - q) v² / 2 = 0. f' is negative at 0, positive at 1 and
    has one root between (its first term rises as long as it is negative): bisection.
    """
    low, high = 0.0, 1.0
    for _ in range(50):
        r = (low + high) / 2
        q, v = (1 - r) ** (2 * inner), 2 / (2 - r)
        slope = -2 * inner * q / (1 - r) * (gamma**2 - v) + (1 - q) * v**2 / 2
        low, high = (low, r) if slope > 0 else (r, high)
    return high


@dataclass(frozen=True)
class PredictorCorrector:
    """An ancestral step, then `inner` of Langevin's: section 4.2 of arXiv:2011.13456.

    The predictor is ancestral sampling as in appendix F there, whose noise has the posterior's
    variance. Algorithms 2 and 3 have reverse diffusion in its place, and so noise of the forward
    step's: its deviation is larger by tau_t / tau_s, which is about 1 % in most of the usual
    thousand steps, but twofold where one step halves the level.

    The corrector's step size is 2 (snr |n| / |score|)², that of algorithm 4. Algorithm 5, for
    variance-preserving paths, has the factor 1 - beta_i as well, between 0.98 and 1 there. Without
    it an image is the same on every path. Each image's own norms are taken, where the paper's code
    takes the batch's means: an image is to depend on its own seed, and not on who keeps it company.
    """

    snr: float = 0.16
    inner: int = 1
    order: ClassVar[None] = None  # the corrector's error stays, however many the steps

    def __post_init__(self) -> None:
        within("snr", self.snr, 0, 0.7)
        within("inner", self.inner, 1, MOST_ITERATIONS)

    def evaluations(self, steps: int) -> int:
        return steps + (steps - 1) * self.inner

    def __call__(
        self, denoise: Denoise, path: Path, state: State, s: Tensor, noise: Noise
    ) -> State:
        c = Coefficients.of(path, state.t, s)
        state = DDPM()(denoise, path, state, s, noise)
        if c.sigma_s == 0:
            return state
        for _ in range(self.inner):
            seen = evaluate(denoise, state)
            n = noise.normal(*seen.x.shape[1:])
            state = State(stirred(seen, c, self._rate(seen, c, n), n), s, (seen,))
        return state

    def _rate(self, seen: Evaluation, c: Coefficients, n: Tensor) -> Tensor:
        """2 (snr |n| / |eps|)² with eps = -sigma score, (b, 1, 1, 1).

        It is at most 1, beyond which x would overshoot alpha D.
        """
        eps = (seen.x - c.alpha_s * seen.x_0) / c.sigma_s
        return (2 * (self.snr * _norm(n) / _norm(eps)) ** 2).clamp(max=1)


def _norm(images: Tensor) -> Tensor:
    """Of each image, (b, 1, 1, 1)."""
    return images.square().sum((1, 2, 3), keepdim=True).sqrt()
