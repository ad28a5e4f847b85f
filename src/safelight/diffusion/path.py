"""Paths from images to noise: x_t = alpha(t) x_0 + sigma(t) eps, t = 0 clean, t = 1 noise.

A path is a schedule, which says how fast the log-SNR l = ln(alpha² / sigma²) falls, times a kind,
which says what alpha and sigma are at a log-SNR.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from safelight.diffusion.schedules import (
    Function,
    Schedule,
    beta_table,
    cosine_betas,
    linear_betas,
    proportional,
)


class Kind(NamedTuple):
    """alpha and sigma as functions of the log-SNR l."""

    alpha: Function
    sigma: Function


def preserving_alpha(log_snr: Tensor) -> Tensor:
    return log_snr.sigmoid().sqrt()


# alpha² + sigma² = 1, arXiv:2006.11239.
PRESERVING = Kind(preserving_alpha, lambda log_snr: preserving_alpha(-log_snr))
# alpha = 1, arXiv:1907.05600 and arXiv:2206.00364.
EXPLODING = Kind(torch.ones_like, lambda log_snr: (-log_snr / 2).exp())


class Path(nn.Module):
    """Every method works elementwise on a tensor of any shape and keeps its dtype.

    It is a module so that a schedule with weights is trained, averaged and saved with the network.
    """

    schedule: Schedule

    def __init__(self, kind: Kind, schedule: Schedule) -> None:
        super().__init__()
        self.kind, self.schedule = kind, schedule

    @property
    def levels(self) -> int | None:
        """The number of discrete time steps T, at t = 1/T, ..., 1; None for a continuous path."""
        return self.schedule.levels

    def alpha(self, t: Tensor) -> Tensor:
        return self.kind.alpha(self._log_snr(t)).to(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.kind.sigma(self._log_snr(t)).to(t)

    def log_snr(self, t: Tensor) -> Tensor:
        """ln(alpha² / sigma²): falling, infinite at t = 0, and at t = 1 maybe minus infinity."""
        return self._log_snr(t).to(t)

    def time(self, snr: Tensor) -> Tensor:
        """The t at which alpha² / sigma² = snr; beyond the path's ends, the nearest end.

        It is 0 for an infinite snr alone: of a path that begins at some noise that is just above 0.
        """
        noisiest = self._log_snr(torch.ones_like(snr))
        t = self.schedule.time(snr.log().clamp(min=noisiest)).to(snr)
        first = torch.finfo(torch.float32).tiny
        return torch.where(snr.isinf(), 0.0, t.clamp(first, 1))

    def _log_snr(self, t: Tensor) -> Tensor:
        """As precise as the schedule knows it."""
        return torch.where(t > 0, self.schedule.log_snr(t), math.inf)


def broadcast(coefficient: Tensor, x: Tensor) -> Tensor:
    """(b,) -> (b, 1, 1, 1), to multiply x (b, c, h, w); a scalar stays one."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.reshape(-1, *[1] * (x.ndim - 1))


def diffuse(path: Path, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """x_t ~ q(x_t | x_0), eq. (4) of arXiv:2006.11239. x_0, eps: (b, c, h, w); t: (b,)."""
    return broadcast(path.alpha(t), x_0) * x_0 + broadcast(path.sigma(t), x_0) * eps


PATHS: dict[str, Callable[[int], Path]] = {
    "edm": lambda T: Path(EXPLODING, proportional()),
    "linear": lambda T: Path(PRESERVING, beta_table(linear_betas(T))),
    "cosine": lambda T: Path(PRESERVING, beta_table(cosine_betas(T))),
}
