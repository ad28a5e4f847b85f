"""Tables of betas: beta_t is the variance of the noise that step t of T adds, (T,), float64.

The ends are those of T = 1000; for another T they are scaled by 1000 / T, so that as much noise is
added in all. Each table has a continuous form in `schedules`, its limit as T grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from safelight.diffusion.schedules import Table
from safelight.errors import UserError

LARGEST = 0.999  # of any step: with few steps the scaled ends would pass 1


def linear_betas(T: int, low: float = 1e-4, high: float = 0.02) -> Tensor:
    """Arithmetic, section 4 of arXiv:2006.11239."""
    return _ramp(low * 1000 / T, high * 1000 / T, T).clamp(max=LARGEST)


def root_linear_betas(T: int, low: float = 1e-4, high: float = 0.02) -> Tensor:
    """Square roots are arithmetic: "quad" in the code of arXiv:2006.11239."""
    return _ramp((low * 1000 / T) ** 0.5, (high * 1000 / T) ** 0.5, T).square().clamp(max=LARGEST)


def sigmoid_betas(T: int, low: float = 1e-4, high: float = 0.02) -> Tensor:
    """low + (high - low) sigmoid(x), x arithmetic from -6 to 6, arXiv:2203.02923."""
    return ((low + (high - low) * _ramp(-6, 6, T).sigmoid()) * 1000 / T).clamp(max=LARGEST)


def cosine_betas(T: int) -> Tensor:
    """alpha_t² = cos²((t + s) / (1 + s) pi / 2), s = 0.008, eq. (17) of arXiv:2102.09672."""
    s = 0.008
    t = torch.arange(T + 1, dtype=torch.float64) / T
    alpha2 = ((t + s) / (1 + s) * math.pi / 2).cos() ** 2
    return (1 - alpha2[1:] / alpha2[:-1]).clamp(max=LARGEST)


def _ramp(low: float, high: float, T: int) -> Tensor:
    return torch.linspace(low, high, T, dtype=torch.float64)


BETAS: dict[str, Callable[[int], Tensor]] = {
    "linear": linear_betas,
    # Stable Diffusion's ends, arXiv:2112.10752.
    "scaled-linear": partial(root_linear_betas, low=0.00085, high=0.012),
    "quadratic": root_linear_betas,
    "cosine": cosine_betas,
    "sigmoid": sigmoid_betas,
}


def zero_terminal(betas: Tensor) -> Tensor:
    """The nearest table that ends in pure noise, algorithm 1 of arXiv:2305.08891.

    alpha is shifted to 0 at the last step and scaled back to what it was at the first. betas: at
    least 2, as `beta_table` takes them.
    """
    alpha = torch.log1p(-betas.double()).cumsum(0).mul(0.5).exp()
    alpha2 = ((alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])).square()
    return 1 - torch.cat([alpha2[:1], alpha2[1:] / alpha2[:-1]])


def beta_table(betas: Tensor) -> Table:
    """Variance preserving: alpha_t² = prod_{s <= t} (1 - beta_s).

    Args:
        betas: (T,), each in (0, 1); the last may be 1, which leaves nothing of the image.

    Raises UserError for other betas.
    """
    allowed = (betas > 0) & (betas < 1)
    allowed[-1:] |= betas[-1:] == 1
    if not allowed.all():
        step = int(allowed.logical_not().nonzero()[0])
        raise UserError(
            f"beta {step + 1} of {len(betas)} is {float(betas[step]):g}; each has to lie between "
            "0 and 1, and only the last may be 1"
        )
    log_alpha2 = torch.log1p(-betas.double()).cumsum(0)
    return Table(log_alpha2 - torch.log(-torch.expm1(log_alpha2)))
