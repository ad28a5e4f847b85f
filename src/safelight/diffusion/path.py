"""Paths from images to noise: x_t = alpha(t) x_0 + sigma(t) eps, t = 0 clean, t = 1 noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Path(Protocol):
    """Every method works elementwise on a tensor of any shape and keeps its dtype."""

    @property
    def levels(self) -> int | None:
        """The number of discrete time steps T, at t = 1/T, ..., 1; None for a continuous path."""
        ...

    def alpha(self, t: Tensor) -> Tensor: ...

    def sigma(self, t: Tensor) -> Tensor: ...

    def time(self, snr: Tensor) -> Tensor:
        """The t at which alpha² / sigma² = snr; beyond the path's ends, the nearest end."""
        ...


def broadcast(coefficient: Tensor, x: Tensor) -> Tensor:
    """(b,) -> (b, 1, 1, 1), to multiply x (b, c, h, w); a scalar stays one."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.reshape(-1, *[1] * (x.ndim - 1))


def diffuse(path: Path, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """x_t ~ q(x_t | x_0), eq. (4) of arXiv:2006.11239. x_0, eps: (b, c, h, w); t: (b,)."""
    return broadcast(path.alpha(t), x_0) * x_0 + broadcast(path.sigma(t), x_0) * eps


@dataclass(frozen=True)
class VarianceExploding:
    """alpha = 1, sigma = sigma_max t: the path of EDM, arXiv:2206.00364."""

    sigma_max: float = 80.0
    levels: None = None

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_max * t

    def time(self, snr: Tensor) -> Tensor:
        return (snr.rsqrt() / self.sigma_max).clamp(0, 1)


class BetaTable:
    """Variance preserving with T discrete steps: alpha_t² = prod_{s <= t} (1 - beta_s).

    Between steps the log-SNR is interpolated linearly; between t = 0 and the first step it stays
    at the first step's, since it is infinite at t = 0. Table entries are float64.

    Args:
        betas: (T,), each in (0, 1).
    """

    def __init__(self, betas: Tensor) -> None:
        if betas.ndim != 1 or not ((betas > 0) & (betas < 1)).all():
            raise ValueError("betas have to be a list of numbers strictly between 0 and 1")
        self.levels: int = len(betas)
        log_alpha2 = torch.log1p(-betas.double()).cumsum(0)
        log_sigma2 = torch.log(-torch.expm1(log_alpha2))
        infinity = torch.full((1,), math.inf, dtype=torch.float64)
        self.log_snr = torch.cat([infinity, log_alpha2 - log_sigma2])  # (T + 1,), falling

    def alpha(self, t: Tensor) -> Tensor:
        return self._log_snr_at(t).sigmoid().sqrt().to(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self._log_snr_at(t).neg().sigmoid().sqrt().to(t)

    def time(self, snr: Tensor) -> Tensor:
        rising = -self.log_snr[1:]
        wanted = -snr.double().log().cpu()
        upper = torch.searchsorted(rising, wanted.contiguous()).clamp(1, self.levels - 1)
        low, high = rising[upper - 1], rising[upper]
        position = upper + ((wanted - low) / (high - low)).clamp(0, 1)  # step 1 is rising[0]
        return torch.where(snr.cpu().isinf(), 0.0, position / self.levels).to(snr)

    def _log_snr_at(self, t: Tensor) -> Tensor:
        position = t.double().cpu() * self.levels
        nearest = position.round()
        # float32 puts step 981 at 980.99997; what is so near a step is that step.
        rounding = 2 * torch.finfo(torch.float32).eps * self.levels
        position = torch.where((position - nearest).abs() < rounding, nearest, position)
        position = torch.where(position > 0, position.clamp(1, self.levels), 0.0)
        lower = position.floor().long()
        upper = (lower + 1).clamp(max=self.levels)
        at = torch.where(
            position == lower,
            self.log_snr[lower],
            torch.lerp(self.log_snr[lower], self.log_snr[upper], position - lower),
        )
        return at.to(t.device)


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


PATHS: dict[str, Callable[[int], Path]] = {
    "edm": lambda T: VarianceExploding(),
    "linear": lambda T: BetaTable(linear_betas(T)),
    "cosine": lambda T: BetaTable(cosine_betas(T)),
}
