"""How probable a denoiser's model thinks an image is: -ln P(x_0), two ways, in nats.

`bound_nats` adds up the terms of the variational bound over a grid of times. `flow_nats` follows
the probability-flow ODE, section 4.3 of arXiv:2011.13456: with z = x_t / alpha and u = ln(level),
level = sigma / alpha,

    dz/du = z - D(z, u),        d ln p(z)/du = -div(z - D).

An image has 256 levels and an ODE a density of noisy images, so that it begins at a low noise level
and pays for the noise that it began with: see `DEQUANTISATIONS`.

Images are (b, c, h, w) in [-1, 1], results (b,). `denoise`: x_t (b, c, h, w), t () or (b,) -> x_0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchdiffeq import odeint

from safelight.diffusion.bound import HALF, prior_term, term
from safelight.diffusion.path import Path, broadcast
from safelight.errors import UserError, lookup

Denoise = Callable[[Tensor, Tensor], Tensor]

# The noise levels of a path without a first step, or without an end. Half a level of 256: less
# noise no longer hides which level it was, and what networks don't know there is paid for.
LOWEST = HALF
HIGHEST = 80.0  # where samplers begin on such a path
STEPS = 1000  # of the bound on a continuous path


def level(path: Path, t: Tensor) -> Tensor:
    """sigma / alpha, the noise of x_t / alpha."""
    return (-path.log_snr(t) / 2).exp()


def ends(path: Path) -> Tensor:
    """The two times between which images are told from noise, (2,) float64, rising."""
    return path.time(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64) ** -2)


# The probability-flow ODE


class Start(NamedTuple):
    """The ODE begins at z = x_0 + level y, and -ln P(x_0) <= E[nats - ln p(y)]."""

    y: Tensor  # (b, c, h, w)
    nats: Tensor  # (b,)


def normal(denoise: Denoise, path: Path, x_0: Tensor, t: Tensor, eps: Tensor) -> Start:
    """The path's own noise, and the bound's own last step back to the 256 levels.

    For any q, ln P(x_0) >= E_q[ln P(x_0 | y) + ln p(y) - ln q(y)]; here q(y) = N(0, I). It asks
    nothing of the model that it was not trained for.
    """
    d = eps[0].numel()
    t = t.to(x_0)
    decoder = term(denoise, path, x_0, t, torch.zeros_like(t), eps, "large")
    return Start(eps, decoder - eps.square().flatten(1).sum(1) / 2 - d / 2 * math.log(2 * math.pi))


def uniform(denoise: Denoise, path: Path, x_0: Tensor, t: Tensor, eps: Tensor) -> Start:
    """Uniform within each of the 256 levels, as published figures have it, arXiv:1511.01844.

    ln P(x_0) = ln of the integral of p over the levels of x_0 >= E[ln(p(z) (2 / 255)^d)].
    """
    noise = level(path, t)
    y = torch.special.erf(eps / math.sqrt(2)) * (HALF / noise).to(eps)
    return Start(y, eps[0].numel() * (noise / (2 * HALF)).log().expand(len(eps)))


DEQUANTISATIONS: dict[str, Callable[[Denoise, Path, Tensor, Tensor, Tensor], Start]] = {
    "normal": normal,
    "uniform": uniform,
}


def flow_nats(
    denoise: Denoise,
    path: Path,
    x_0: Tensor,
    eps: Tensor,
    probes: Tensor,
    tolerance: float = 1e-3,
    dequantisation: str = "normal",
) -> Tensor:
    """-ln P(x_0) by the probability-flow ODE, from the lowest noise level to N(0, highest²).

    With the prior N(0, level²) of z that samplers start from, and y = (z - x_0) / level, of which
    dy/du = (x_0 - D) / level and d ln p(y)/du = tr(dD/dz),

        -ln p(y) = |w|² / 2 + d/2 ln(2 pi) + integral of tr(dD/dz) du,   w = z / level at the end.

    So y is about as large as noise is at every level, and a step's error in it says what it costs:
    the tolerance is in nats per dimension, for each image whatever is beside it.

    Args:
        eps: standard normal, for the dequantisation.
        probes: v of Hutchinson's estimator E[vᵀ J v] = tr J, (p, b, c, h, w), each +1 or -1.
        tolerance: largest error of a step; that of the sum is about as large.
        dequantisation: a row of `DEQUANTISATIONS`.

    Raises UserError where the denoiser gives a number that is not finite.
    """
    first, last = ends(path).to(x_0.device)
    start = lookup(DEQUANTISATIONS, dequantisation, "dequantisation")
    y, nats = start(denoise, path, x_0, first, eps)
    begin = torch.cat([y.flatten(1).double(), y.new_zeros(len(y), 1)], dim=1)
    u = level(path, torch.stack([first, last])).log()
    # The solver would step beyond the end and interpolate, to where the path has no noise level.
    options = {"norm": _worst, "step_t": u[1:]}
    flow = _Flow(denoise, path, x_0, probes)
    with torch.no_grad():
        end = odeint(flow, begin, u, rtol=0.0, atol=tolerance, method="dopri5", options=options)[-1]
    w, integral = end[:, :-1] + x_0.flatten(1) / u[1].exp(), end[:, -1]
    d = w.shape[1]
    return nats + w.square().sum(1) / 2 + d * (math.log(2 * math.pi) / 2 + integral)


@dataclass(frozen=True)
class _Flow:
    """The slope of (y, integral of tr(dD/dz) / d) as one tensor (b, d + 1), float64."""

    denoise: Denoise
    path: Path
    x_0: Tensor
    probes: Tensor

    def __call__(self, u: Tensor, state: Tensor) -> Tensor:
        noise = u.exp()
        t = self.path.time(noise**-2)
        x_t = self.path.alpha(t) * (self.x_0 + noise * state[:, :-1].reshape(self.x_0.shape))
        guess, trace = with_trace(self.denoise, x_t.to(self.x_0), t, self.probes)
        if not guess.isfinite().all():
            raise UserError(
                f"the model gives no finite numbers at noise level {float(noise):.3g}, so it has "
                "no likelihood; take an earlier --checkpoint"
            )
        slope = ((self.x_0 - guess) / noise).flatten(1)
        return torch.cat([slope, self.path.alpha(t) * trace[:, None] / slope.shape[1]], dim=1)


def with_trace(
    denoise: Denoise, x_t: Tensor, t: Tensor, probes: Tensor
) -> tuple[Tensor, Tensor]:
    """D(x_t), and Hutchinson's estimate of tr(dD/dx_t), (b,): the mean over v of vᵀ (dD/dx_t) v."""
    with torch.enable_grad():
        x_t = x_t.detach().requires_grad_()
        guess = denoise(x_t, t)
        products = [
            (v * torch.autograd.grad(guess, x_t, v.to(guess), retain_graph=True)[0]) for v in probes
        ]
    return guess.detach(), torch.stack(products).flatten(2).sum(2).mean(0)


def _worst(ratio: Tensor) -> Tensor:
    """The error of the worst image: of its y, as root mean square, or of its integral."""
    return torch.maximum(ratio[:, :-1].square().mean(1).sqrt(), ratio[:, -1].abs()).max()


# The variational bound


def bound_times(path: Path, steps: int = STEPS) -> Tensor:
    """Where the bound's steps lie, rising from 0 to 1, float64: the path's own T if it has steps.

    Else `steps` of them, even in log-SNR between the lowest and the highest noise level.
    """
    if path.levels is not None:
        return torch.arange(path.levels + 1, dtype=torch.float64) / path.levels
    low, high = (float(u) for u in path.log_snr(ends(path)))
    inner = path.time(torch.linspace(low, high, steps, dtype=torch.float64).exp())
    return torch.cat([inner.new_zeros(1), inner[:-1], inner.new_ones(1)])


def bound_nats(
    denoise: Denoise,
    path: Path,
    x_0: Tensor,
    times: Tensor,
    u: Tensor,
    draw: Callable[[], Tensor],
    variance: str = "large",
) -> Tensor:
    """-ln P(x_0) <= prior + sum of the terms: an unbiased estimate of the right-hand side.

    The prior's term and the decoder's are always there. The others are divided into strata of
    neighbours, of each of which every image draws one, to stand for all of its stratum.

    Args:
        times: (n + 1,), rising from 0 to 1.
        u: (b, strata) uniform in [0, 1); with n - 1 strata, no term is left out.
        draw: gives new standard normal noise (b, c, h, w) at each call.
        variance: a row of `bound.VARIANCES`.
    """
    times = times.to(x_0)

    def at(step: Tensor) -> Tensor:
        return term(denoise, path, x_0, times[step], times[step - 1], draw(), variance)

    total = prior_term(path, x_0) + at(torch.ones(len(x_0), dtype=torch.int64))
    edges = torch.linspace(2, len(times), u.shape[1] + 1).round().long()
    for low, high, share in zip(edges[:-1], edges[1:], u.T.cpu(), strict=True):
        total = total + (high - low) * at(low + (share * (high - low)).long())
    return total
