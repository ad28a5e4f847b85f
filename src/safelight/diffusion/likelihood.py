"""How probable a denoiser's model thinks an image is: -ln P(x_0) in nats, by two methods.

`bound_nats` adds up the terms of the variational bound over a grid of times. `flow_nats` follows
the probability-flow ODE, section 4.3 of arXiv:2011.13456: with z = x_t / alpha, the noise level
sigma / alpha of z and its logarithm u,

    dz/du = z - D(z, u),        d ln p(z)/du = -div(z - D).

An image has 256 levels and an ODE a density of noisy images, so that it begins at a low noise level
and pays for the noise that it began with: see `DEQUANTISATIONS`. Both estimate an upper bound of
-ln P(x_0), from the lowest noise level that the path knows to the noise that samplers start from.

Images are (b, c, h, w) in [-1, 1], results (b,). `denoise`: x_t (b, c, h, w), t (b,) -> x_0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from safelight.diffusion.bound import HALF, prior_term, term
from safelight.diffusion.ode import root_mean_square, solve
from safelight.diffusion.path import Path
from safelight.errors import UserError

Denoise = Callable[[Tensor, Tensor], Tensor]

# Noise levels at which a path begins and ends that does so nowhere itself. Half a level of 256:
# less noise no longer hides which of them it was, and all that a network does not know of that is
# paid for. From 0.002, the bound of digits and of MNIST is higher by 0.3 bits.
LOWEST = HALF
HIGHEST = 80.0  # where samplers start on such a path
STEPS = 10_000  # of the bound on a continuous path: 0.1 bits are lost with 1,000
NOT_FINITE = (
    "the model gives no finite numbers, so it has no likelihood; take another run, trained with a "
    "smaller --optimiser.lr"
)


def ends(path: Path) -> Tensor:
    """The times of the lowest and the highest noise level, (2,) float64."""
    return path.time(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64) ** -2)


class Start(NamedTuple):
    """Where the ODE begins: z = x_0 + level y. And -ln P(x_0) <= E[nats - ln p(y)]."""

    y: Tensor  # (b, c, h, w)
    nats: Tensor  # (b,)


def dequantise_normal(
    denoise: Denoise, path: Path, x_0: Tensor, eps: Tensor, variance: str = "small"
) -> Start:
    """The path's own noise, and the bound's own last step back to the 256 levels.

    ln P(x_0) >= E_q[ln P(x_0 | y) + ln p(y) - ln q(y)] for any q; here q(y) = N(0, I). The model
    is asked for nothing that it was not trained for.
    """
    t = ends(path)[0].expand(len(x_0))
    decoder = term(denoise, path, x_0, t, torch.zeros_like(t), eps, variance)
    return Start(eps, decoder + log_normal(eps))


def dequantise_uniform(
    denoise: Denoise, path: Path, x_0: Tensor, eps: Tensor, variance: str = "small"
) -> Start:
    """Uniform within each of the 256 levels, section 3.1 of arXiv:1511.01844: eps made uniform.

    P(x_0) is the integral of p(z) over the levels of x_0, so ln P(x_0) >= E[ln p(z) (2 / 255)^d].
    Published figures have it. It is dearer for models that learnt from undisturbed levels.
    """
    level = path.noise_level(ends(path)[0]).to(eps)
    y = HALF * torch.special.erf(eps / math.sqrt(2)) / level
    return Start(y, (eps[0].numel() * (level / (2 * HALF)).log()).expand(len(eps)))


DEQUANTISATIONS: dict[str, Callable[[Denoise, Path, Tensor, Tensor, str], Start]] = {
    "normal": dequantise_normal,
    "uniform": dequantise_uniform,
}


def flow_nats(
    denoise: Denoise, path: Path, x_0: Tensor, start: Start, probes: Tensor, tolerance: float
) -> Tensor:
    """-ln P(x_0) by the probability-flow ODE from `start` on.

    At its end samplers start from N(0, level²). In y = (z - x_0) / level it reads
    dy/du = (x_0 - D) / level and d ln p(y)/du = tr(dD/dz), so that

        -ln p(y) = |w|² / 2 + d/2 ln(2 pi) + integral of tr(dD/dz) du,   w = z / level at the end.

    y is as large as noise at every level, and an error in it costs what it is: so the tolerance
    is one of nats per dimension, for every image, whatever is beside it in the batch.

    Args:
        probes: v of Hutchinson's estimator tr J = E[vᵀ J v], (p, b, c, h, w), each +1 or -1.
        tolerance: largest error of a step.

    Raises UserError where the denoiser gives a number that is not finite, and where the tolerance
    is less than the denoiser's own rounding allows.
    """
    u = path.noise_level(ends(path).to(x_0.device)).log()
    y = start.y.flatten(1).double()
    begin = torch.cat([y, y.new_zeros(len(y), 1)], dim=1)
    flow = _Flow(denoise, path, x_0, probes)
    with torch.no_grad():
        end = solve(flow, begin, u, tolerance, "--likelihood.tolerance", _size)
    w = end[:, :-1] + x_0.flatten(1) / u[1].exp()
    return start.nats - log_normal(w) + w.shape[1] * end[:, -1]


def log_normal(x: Tensor) -> Tensor:
    """ln of the density of N(0, I), (b,)."""
    squares = x.square() + math.log(2 * math.pi)
    return -squares.flatten(1).sum(1) / 2


@dataclass(frozen=True)
class _Flow:
    """The slope in u of y and of the integral of tr(dD/dz) / d, together (b, d + 1), float64."""

    denoise: Denoise
    path: Path
    x_0: Tensor
    probes: Tensor

    def __call__(self, u: Tensor, state: Tensor) -> Tensor:
        level = u.exp()
        t = self.path.time(level**-2)
        alpha = self.path.alpha(t)
        x_t = alpha * (self.x_0 + level * state[:, :-1].reshape(self.x_0.shape))
        guess, trace = with_trace(self.denoise, x_t.to(self.x_0), t.to(self.x_0), self.probes)
        if not guess.isfinite().all():
            raise UserError(NOT_FINITE)
        slope = ((self.x_0 - guess) / level).flatten(1)
        return torch.cat([slope, (alpha * trace / slope.shape[1])[:, None]], dim=1)


def with_trace(denoise: Denoise, x_t: Tensor, t: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    """D(x_t), and tr(dD/dx_t) (b,) as the mean over the probes of vᵀ (dD/dx_t) v."""
    with torch.enable_grad():
        x_t = x_t.detach().requires_grad_()
        guess = denoise(x_t, t.expand(len(x_t)))
        products = [
            v * torch.autograd.grad(guess, x_t, v.to(guess), retain_graph=True)[0] for v in probes
        ]
    return guess.detach(), torch.stack(products).flatten(2).sum(2).mean(0)


def _size(error: Tensor) -> Tensor:
    """Of an error of both, (b, d + 1) -> (b,): the larger of y's and the integral's."""
    return torch.maximum(root_mean_square(error[:, :-1]), error[:, -1].abs())


def bound_times(path: Path, steps: int = STEPS) -> Tensor:
    """Where the bound's steps lie, rising from 0 to 1, float64: the path's own T if it has steps.

    Else `steps` of them, even in log-SNR between the lowest and the highest noise level.
    """
    if path.levels is not None:
        return torch.arange(path.levels + 1, dtype=torch.float64) / path.levels
    low, high = path.log_snr(ends(path)).tolist()
    inner = path.time(torch.linspace(low, high, steps, dtype=torch.float64).exp())
    return torch.cat([inner.new_zeros(1), inner[:-1], inner.new_ones(1)])


def bound_nats(
    denoise: Denoise,
    path: Path,
    x_0: Tensor,
    times: Tensor,
    u: Tensor,
    draw: Callable[[], Tensor],
    variance: str = "small",
) -> Tensor:
    """An unbiased estimate of the variational bound, prior and decoder included.

    The decoder's term is always taken. The others are divided into strata of neighbours, and
    every image draws one term from each, which stands for all of its stratum.

    Args:
        times: rising from 0 to 1, see `bound_times`.
        u: (b, strata) uniform in [0, 1); with as many strata as there are terms, none is left out.
        draw: standard normal noise (b, c, h, w), new at each call.
        variance: a row of `bound.VARIANCES`.

    Raises UserError where the denoiser gives a number that is not finite.
    """

    def at(step: Tensor) -> Tensor:
        return term(denoise, path, x_0, times[step], times[step - 1], draw(), variance)

    total = prior_term(path, x_0) + at(torch.ones(len(x_0), dtype=torch.int64))
    edges = torch.linspace(2, len(times), u.shape[1] + 1, dtype=torch.float64).round().long()
    for low, high, place in zip(edges[:-1], edges[1:], u.T.cpu(), strict=True):
        total = total + (high - low) * at(low + (place * (high - low)).long())
    if not total.isfinite().all():
        raise UserError(NOT_FINITE)
    return total
