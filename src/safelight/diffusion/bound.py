"""The variational bound, eq. (5) of arXiv:2006.11239, one term at a time, in nats.

-ln p(x_0) <= prior_term + E_eps[the sum of `term` over the steps 1 = t_N > ... > t_1 > 0]

for any path and any times, discrete steps or not: with x_t = alpha x_0 + sigma eps, the term from
t to s > 0 is KL(q(x_s | x_t, x_0) || p(x_s | x_t)), and the one to s = 0 is -ln p(x_0 | x_t), a
Gaussian that is integrated over each of the 256 levels. The prior is what samplers start from,
N(0, sigma(1)²). t and s are (b,) or (); images are (b, c, h, w) in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safelight.diffusion.denoiser import with_variance
from safelight.diffusion.path import Path, broadcast, diffuse
from safelight.diffusion.precision import precise
from safelight.errors import lookup

HALF = 1 / 255  # half of the distance between two levels
BEYOND = 40.0  # standard deviations that the outermost levels reach out: all float64 can tell


class Posterior(NamedTuple):
    """Of q(x_s | x_t, x_0): what its mean has of x_0, and its variance, small; and large.

    All of them are `precise`, shaped as t.
    """

    of_x_0: Tensor
    small: Tensor
    large: Tensor


def posterior(path: Path, t: Tensor, s: Tensor) -> Posterior:
    """Eq. (7) of arXiv:2006.11239 between any two times t > s.

    "small" is beta-tilde, "large" beta, the variance of x_t given x_s (section 3.2 there). At
    s = 0 beta-tilde is 0 and no variance for a decoder; half of beta stands for it, which is what
    that paper's code uses (the next step's) where the first two steps are alike.
    """
    t, s = precise(t), precise(s)
    new = -torch.expm1(path.log_snr(t) - path.log_snr(s))  # the share of x_t's noise that x_s lacks
    large = path.sigma(t) ** 2 * new
    small = torch.where(s > 0, path.sigma(s) ** 2 * new, large / 2)
    return Posterior(path.alpha(s) * new, small, large)


# From a denoiser to its guess of x_0, and to v: ln variance = v ln large + (1 - v) ln small,
# eq. (15) of arXiv:2102.09672.
VARIANCES: dict[str, Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "small": lambda denoise, x_t, t: (denoise(x_t, t), x_t.new_zeros(())),
    "large": lambda denoise, x_t, t: (denoise(x_t, t), x_t.new_ones(())),
    "learned": with_variance,
}


def prior_term(path: Path, x_0: Tensor) -> Tensor:
    """KL(q(x_1 | x_0) || N(0, sigma(1)²)) = alpha(1)² |x_0|² / (2 sigma(1)²), (b,)."""
    end = precise(x_0.new_ones(()))
    snr = (path.alpha(end) / path.sigma(end)) ** 2
    return snr.to(x_0) * x_0.square().flatten(1).sum(1) / 2


def term(
    denoise: Callable[[Tensor, Tensor], Tensor],
    path: Path,
    x_0: Tensor,
    t: Tensor,
    s: Tensor,
    eps: Tensor,
    variance: str = "small",
) -> Tensor:
    """One term of the bound for each image, in nats, (b,).

    Args:
        denoise: x_t, t -> x_0; with a method `with_variance` where variance is "learned".
        t, s: t > s >= 0; where x_0 is, or on the CPU.
        variance: a row of `VARIANCES`.
    """
    time = t.to(x_0)  # t and s may have more digits than the network takes
    x_t = diffuse(path, x_0, time, eps)
    guess, v = lookup(VARIANCES, variance, "variance")(denoise, x_t, time)
    return step_nats(path, x_0, guess, v, t, s)


def step_nats(path: Path, x_0: Tensor, guess: Tensor, v: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The same of a guess of x_0 and a v () or (b, c, h, w) that are known already."""
    back = Posterior(*(broadcast(c, x_0) for c in posterior(path, t, s)))
    low, high = back.small.log().to(x_0), back.large.log().to(x_0)
    log_variance = torch.lerp(low, high, v)
    gap = back.of_x_0.to(x_0) * (x_0 - guess)
    kl = normal_kl(gap, low, log_variance)
    decoded = (broadcast(s, x_0) == 0).to(x_0.device)
    # Elsewhere a guess may be so far off that its decoder has no gradient, and 0 times that is NaN.
    last = decoder_nats(x_0, torch.where(decoded, guess, x_0), log_variance)
    return torch.where(decoded, last, kl).flatten(1).sum(1)


def normal_kl(gap: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(N(m, exp log_p) || N(m + gap, exp log_q)), elementwise, in nats."""
    more = log_q - log_p
    return (more + torch.expm1(-more) + gap**2 * (-log_q).exp()) / 2


def decoder_nats(x_0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-ln of N(mean, variance) over the level of x_0, eq. (13) of arXiv:2006.11239, elementwise.

    A level reaches half of the way to its neighbours; the outermost reach to infinity. In float64:
    the gradient of ln Phi is exp(-x² / 2 - ln Phi), which in float32 has no digit left at x = -1e4.
    """
    level = precise(x_0)
    inverse = (-precise(log_variance) / 2).exp()
    away = level - precise(mean)
    below, above = (away - HALF) * inverse, (away + HALF) * inverse
    below = torch.where(level < -1 + HALF, above.clamp(max=0) - BEYOND, below)
    above = torch.where(level > 1 - HALF, below.clamp(min=0) + BEYOND, above)
    # Mirrored into the left tail, where ln Phi has digits: Phi(b) - Phi(a) = Phi(-a) - Phi(-b).
    right = below + above > 0
    a, b = torch.where(right, -above, below), torch.where(right, -below, above)
    log_b: Tensor = torch.special.log_ndtr(b)
    nats = -(log_b + (-torch.expm1(torch.special.log_ndtr(a) - log_b)).log())
    return nats.to(x_0)


def bits_per_dimension(nats: Tensor, x_0: Tensor) -> Tensor:
    """Nats of an image (b,) -> bits of each of its values (b,)."""
    return nats / (x_0[0].numel() * math.log(2))
