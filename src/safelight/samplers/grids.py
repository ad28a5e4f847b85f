"""Which times a sampler visits: from noise down to 0, float64, (n + 1,), all different.

The last before 0 has the noise level `low` at least, where a grid does not count a path's steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from safelight.diffusion.path import Path
from safelight.errors import UserError

Grid = Callable[[Path, int, float], Tensor]
LOWEST, HIGHEST = 0.002, 80.0  # sigma / alpha, table 1 of arXiv:2206.00364
# A path's least noise is read at this time, as in appendix C of arXiv:2011.13456, and not at 0: the
# noise of some paths jumps from none at 0 to its least.
EARLIEST = 1e-5
# The share of a path's T steps that the grid `leading` may leave out above its first. 10 of 1000,
# the fewest in table 1 of arXiv:2010.02502, begin at 901, where alpha is 0.02 on the linear path
# and 0.15 on the cosine one. At 601 it is 0.16 and 0.58: so much of an image, above all its
# brightness, would be missing from the pure noise that a sampler begins with.
LEFT_OUT = 0.1


def uniform(path: Path, n: int, low: float = 0.0) -> Tensor:
    """Evenly from 1 to 1/n, or to where the noise level is `low` if that is more noise.

    Of T steps those nearest to an even spacing from T to 1.

    The latter is "linspace" of table 2 of arXiv:2305.08891.
    """
    T = _levels(path, n)
    if T is None:
        return _to_zero(_even(path, n, low, 1))
    if n == 1:
        return _to_zero(torch.ones(1, dtype=torch.float64))
    rising = torch.arange(n, dtype=torch.float64) * ((T - 1) / (n - 1))
    return _to_zero((1 + rising.round().flip(0)) / T)


def quadratic(path: Path, n: int, low: float = 0.0) -> Tensor:
    """The squares of 1, ..., 1/n: finer towards the image, appendix D.2 of arXiv:2010.02502.

    With the same end as `uniform`.

    Of T steps those nearest to it, and none twice.
    """
    T = _levels(path, n)
    count = _counted(n)
    if T is None:
        return _to_zero(_even(path, n, low, 2) ** 2)
    return _to_zero(torch.maximum((T * (count / n) ** 2).round(), count) / T)


def leading(path: Path, n: int, low: float = 0.0) -> Tensor:
    """Steps 1, 1 + k, 1 + 2 k, ... with k = ⌊T / n⌋: the spacing of DDPM's and DDIM's own code.

    The first that is visited is below T unless n = T. It is far below for some n, such as 600 of
    1000, which begin at 600; these are refused.
    """
    T = _levels(path, n)
    if T is None:
        raise UserError(
            "the grid leading counts a path's discrete steps and this path has none; use --grid "
            "uniform, karras or logsnr"
        )
    times = (1 + (_counted(n) - 1) * (T // n)) / T
    if times[0] < 1 - LEFT_OUT:
        raise UserError(
            f"{n} steps of the grid leading begin at step {T * float(times[0]):.0f} of {T}, where "
            f"{float(path.alpha(times[0])):.0%} of the image is left, and a sampler begins with "
            "noise alone; use --grid trailing"
        )
    return _to_zero(times)


def trailing(path: Path, n: int, low: float = 0.0) -> Tensor:
    """Steps T, T - T/n, ...: starts at full noise, table 2 of arXiv:2305.08891."""
    T = _levels(path, n)
    if T is None:
        return uniform(path, n, low)
    steps = T - torch.arange(n, dtype=torch.float64) * (T / n)
    return _to_zero(steps.round() / T)


def karras(
    path: Path, n: int, low: float = LOWEST, high: float = HIGHEST, rho: float = 7.0
) -> Tensor:
    """Noise levels sigma/alpha from `high` to `low`, eq. (5) of arXiv:2206.00364.

    Where the path has no such levels, from its own highest, or to its own lowest.
    """
    low, high = _reached(path, n, low, high)
    ramp = torch.linspace(0, 1, n, dtype=torch.float64)
    level = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return _to_zero(path.time(level**-2))


def logsnr(path: Path, n: int, low: float = LOWEST, high: float = HIGHEST) -> Tensor:
    """The same, but evenly spaced in log-SNR: each level is the last times one factor."""
    low, high = _reached(path, n, low, high)
    ramp = torch.linspace(math.log(high), math.log(low), n, dtype=torch.float64)
    return _to_zero(path.time((-2 * ramp).exp()))


def _even(path: Path, n: int, low: float, power: int) -> Tensor:
    """1, ..., 2/n, 1/n, but no further than where the power-th power has the noise level `low`."""
    lowest = float(path.time(torch.tensor(low, dtype=torch.float64) ** -2)) ** (1 / power)
    return torch.linspace(1, max(1 / n, lowest), n, dtype=torch.float64)


def _reached(path: Path, n: int, low: float, high: float) -> tuple[float, float]:
    """The ends, drawn in to the levels that the path has.

    A path of T steps has those between its steps too, so that n may be larger than T here.
    """
    _at_least_one(n)
    ends = torch.tensor([EARLIEST, 1.0], dtype=torch.float64)
    lowest, highest = path.noise_level(ends).tolist()
    return max(low, lowest), min(high, highest)


def _levels(path: Path, n: int) -> int | None:
    """T, or None. Raises UserError where n steps are none, or more than there are."""
    _at_least_one(n)
    if path.levels is not None and n > path.levels:
        raise UserError(
            f"{n} steps asked of a path of {path.levels}; use at most {path.levels}, or --grid "
            "karras or logsnr"
        )
    return path.levels


def _at_least_one(n: int) -> None:
    if n < 1:
        raise UserError(f"{n} steps asked of a sampler; use at least 1")


def _counted(n: int) -> Tensor:
    """n, ..., 2, 1."""
    return torch.arange(n, 0, -1, dtype=torch.float64)


def _to_zero(times: Tensor) -> Tensor:
    """With the image at the end. Raises UserError where times are not all different."""
    times = torch.cat([times, times.new_zeros(1)])
    if (times.diff() >= 0).any():
        raise UserError(
            f"this path has no {len(times) - 1} different noise levels for this grid; use fewer "
            "--steps"
        )
    return times


NOISE_GRIDS = ("karras", "logsnr")  # which never count a path's steps
GRIDS: dict[str, Grid] = {
    "leading": leading,
    "trailing": trailing,
    "uniform": uniform,
    "quadratic": quadratic,
    "karras": karras,
    "logsnr": logsnr,
}
