"""Schedules: how the log-SNR l = ln(alpha² / sigma²) falls from t = 0, clean, to t = 1, noise.

A path is a schedule together with a kind (see `path`), which splits l into alpha and sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


class Schedule(Protocol):
    """Both functions work elementwise on tensors of any shape, and answer at least as precisely.

    They need not be right at t = 0, nor at log-SNRs beyond t = 1's: `Path` sees to the ends.
    """

    @property
    def levels(self) -> int | None:
        """The number of discrete time steps T, at t = 1/T, ..., 1; None for a continuous one."""
        ...

    def log_snr(self, t: Tensor, /) -> Tensor: ...

    def time(self, log_snr: Tensor, /) -> Tensor:
        """The inverse of log_snr."""
        ...


@dataclass(frozen=True)
class Continuous:
    """Two functions that are each other's inverse."""

    log_snr: Function
    time: Function
    levels: None = None


class Table:
    """T discrete steps. Entries are float64.

    Between steps the log-SNR is interpolated linearly; between t = 0 and the first step it stays
    at the first step's, since it is infinite at t = 0.

    Args:
        log_snr: (T,), at t = 1/T, ..., 1; falling.
    """

    def __init__(self, log_snr: Tensor) -> None:
        self.levels: int = len(log_snr)
        infinity = torch.full((1,), math.inf, dtype=torch.float64)
        self._table = torch.cat([infinity, log_snr.double()])  # (T + 1,), falling

    def log_snr(self, t: Tensor) -> Tensor:
        position = self._position(t)
        lower = position.floor().long()
        upper = (lower + 1).clamp(max=self.levels)
        at = torch.where(
            position == lower,
            self._table[lower],
            torch.lerp(self._table[lower], self._table[upper], position - lower),
        )
        return at.to(t.device)

    def time(self, log_snr: Tensor) -> Tensor:
        rising = -self._table[1:]
        wanted = -log_snr.double().cpu()
        upper = torch.searchsorted(rising, wanted.contiguous()).clamp(1, self.levels - 1)
        low, high = rising[upper - 1], rising[upper]
        position = upper + ((wanted - low) / (high - low)).clamp(0, 1)  # step 1 is rising[0]
        return (position / self.levels).to(log_snr.device)

    def _position(self, t: Tensor) -> Tensor:
        """t T, on the step where it is so near to one that only float32 keeps it from there."""
        position = t.double().cpu() * self.levels
        nearest = position.round()
        # float32 puts step 981 at 980.99997; what is so near a step is that step.
        rounding = 2 * torch.finfo(torch.float32).eps * self.levels
        position = torch.where((position - nearest).abs() < rounding, nearest, position)
        return torch.where(position > 0, position.clamp(1, self.levels), 0.0)


def beta_table(betas: Tensor) -> Table:
    """Variance preserving: alpha_t² = prod_{s <= t} (1 - beta_s). betas: (T,), each in (0, 1)."""
    if betas.ndim != 1 or not ((betas > 0) & (betas < 1)).all():
        raise ValueError("betas have to be a list of numbers strictly between 0 and 1")
    log_alpha2 = torch.log1p(-betas.double()).cumsum(0)
    return Table(log_alpha2 - torch.log(-torch.expm1(log_alpha2)))


def linear_betas(T: int) -> Tensor:
    """1e-4 to 0.02 for T = 1000, arXiv:2006.11239 section 4; scaled by 1000 / T otherwise."""
    scale = 1000 / T
    return torch.linspace(scale * 1e-4, scale * 0.02, T, dtype=torch.float64).clamp(max=0.999)


def cosine_betas(T: int) -> Tensor:
    """alpha_t² = cos²((t + s) / (1 + s) pi / 2), s = 0.008, eq. (17) of arXiv:2102.09672."""
    s = 0.008
    t = torch.arange(T + 1, dtype=torch.float64) / T
    alpha2 = ((t + s) / (1 + s) * math.pi / 2).cos() ** 2
    return (1 - alpha2[1:] / alpha2[:-1]).clamp(max=0.999)


def proportional(sigma_max: float = 80.0) -> Continuous:
    """sigma / alpha = sigma_max t: EDM's, arXiv:2206.00364, whose samplers begin at 80."""
    return Continuous(
        lambda t: -2 * (t.log() + math.log(sigma_max)),
        lambda log_snr: (-log_snr / 2).exp() / sigma_max,
    )


def straight() -> Continuous:
    """sigma / alpha = t / (1 - t): on the flow path x_t = (1 - t) x_0 + t eps, arXiv:2209.03003."""
    return Continuous(
        lambda t: 2 * (torch.log1p(-t) - t.log()), lambda log_snr: (-log_snr / 2).sigmoid()
    )
