"""Which times a sampler visits: from noise down to 0, float64, (n + 1,)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from safelight.diffusion.path import Path
from safelight.errors import UserError

Grid = Callable[[Path, int], Tensor]


def leading(path: Path, n: int) -> Tensor:
    """Steps 1, 1 + T//n, 1 + 2 T//n, ...: the spacing of DDPM's and DDIM's own code."""
    T = _levels(path, n)
    steps = 1 + torch.arange(n, dtype=torch.float64) * (T // n)
    return _to_zero(steps.flip(0) / T)


def trailing(path: Path, n: int) -> Tensor:
    """Steps T, T - T/n, ...: ends at full noise, table 2 of arXiv:2305.08891."""
    T = _levels(path, n)
    steps = T - torch.arange(n, dtype=torch.float64) * (T / n)
    return _to_zero(steps.round() / T)


def karras(path: Path, n: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Tensor:
    """Noise levels sigma/alpha from `high` to `low`, eq. (5) of arXiv:2206.00364."""
    ramp = torch.linspace(0, 1, n, dtype=torch.float64)
    level = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return _to_zero(torch.unique_consecutive(path.time(level**-2)))


def _levels(path: Path, n: int) -> int:
    if path.levels is None:
        raise UserError(
            "this grid counts the path's discrete steps and the path has none; use --grid karras"
        )
    if not 1 <= n <= path.levels:
        raise UserError(f"{n} steps asked of a path of {path.levels}; use at most {path.levels}")
    return path.levels


def _to_zero(times: Tensor) -> Tensor:
    return torch.cat([times, times.new_zeros(1)])


GRIDS: dict[str, Grid] = {"leading": leading, "trailing": trailing, "karras": karras}
