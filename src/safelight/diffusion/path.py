"""Paths from images to noise: x_t = alpha(t) x_0 + sigma(t) eps, t = 0 clean, t = 1 noise.

A path is a schedule, which says how fast the log-SNR l = ln(alpha² / sigma²) falls, times a kind,
which says what alpha and sigma are at a log-SNR.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from safelight.diffusion.betas import BETAS, beta_table, zero_terminal
from safelight.diffusion.learned import LearnedSchedule
from safelight.diffusion.schedules import (
    LIMITS,
    Function,
    Schedule,
    Shifted,
    geometric,
    geometric_table,
    place,
    proportional,
    straight,
)
from safelight.errors import UserError, lookup


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
# alpha + sigma = 1, arXiv:2209.03003 and arXiv:2210.02747.
FLOW = Kind(lambda log_snr: (log_snr / 2).sigmoid(), lambda log_snr: (-log_snr / 2).sigmoid())


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

    def noise_level(self, t: Tensor) -> Tensor:
        """sigma / alpha: 0 at t = 0, infinite where alpha is 0; the same on every kind of path."""
        return (-self._log_snr(t) / 2).exp().to(t)

    def step(self, t: Tensor) -> Tensor:
        """The number of t's step: 0 to T - 1 at t = 1/T, ..., 1, and fractions between them.

        As the literature's code counts them. On a path without steps 1,000 t.
        """
        if self.levels is None:
            return 1000 * t
        return (place(t, self.levels) - 1).clamp(min=0).to(t)

    def time(self, snr: Tensor) -> Tensor:
        """The t at which alpha² / sigma² = snr; beyond the path's ends, the nearest end.

        It is 0 for an infinite snr alone: of a path that begins at some noise that is just above 0.
        """
        noisiest = self._log_snr(torch.ones_like(snr))
        t = self.schedule.time(snr.log().to(noisiest.device).clamp(min=noisiest)).to(snr)
        first = torch.finfo(torch.float32).tiny
        return torch.where(snr.isinf(), 0.0, t.clamp(first, 1))

    def _log_snr(self, t: Tensor) -> Tensor:
        """As precise as the schedule knows it, and where it knows it."""
        log_snr = self.schedule.log_snr(t)
        return torch.where(t.to(log_snr.device) > 0, log_snr, math.inf)


def broadcast(coefficient: Tensor, x: Tensor) -> Tensor:
    """(b,) -> (b, 1, 1, 1), to multiply x (b, c, h, w); a scalar stays one."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.reshape(-1, *[1] * (x.ndim - 1))


def diffuse(path: Path, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """x_t ~ q(x_t | x_0), eq. (4) of arXiv:2006.11239. x_0, eps: (b, c, h, w); t: (b,)."""
    return broadcast(path.alpha(t), x_0) * x_0 + broadcast(path.sigma(t), x_0) * eps


class Choices(NamedTuple):
    """What may be chosen about a schedule; None, empty and False stand for the usual."""

    T: int | None = None
    betas: tuple[float, ...] = ()
    zero_terminal_snr: bool = False


class PathRow(NamedTuple):
    """A named path: its kind, how to make its schedule, and which of the choices that heeds."""

    kind: Kind
    schedule: Callable[[Choices], Schedule]
    heeds: tuple[str, ...] = ()


def _table(betas: Tensor, chosen: Choices) -> Schedule:
    table = beta_table(betas)  # checks them too
    return beta_table(zero_terminal(betas)) if chosen.zero_terminal_snr else table


def _own_table(chosen: Choices) -> Schedule:
    if not chosen.betas:
        raise UserError(
            "the path 'table' is made of your betas and there are none; give one for each step, "
            "as in --diffusion.betas 1e-4 3e-4 ..., or choose --diffusion.path linear"
        )
    return _table(torch.tensor(chosen.betas, dtype=torch.float64), chosen)


def _discrete(betas: Callable[[int], Tensor]) -> PathRow:
    return PathRow(
        PRESERVING,
        lambda chosen: _table(betas(chosen.T or 1000), chosen),
        ("T", "zero_terminal_snr"),
    )


def _continuous(kind: Kind, make: Callable[[], Schedule]) -> PathRow:
    return PathRow(kind, lambda chosen: make())


# Tables of betas have their limit beside them under another name: a number of steps and "no
# steps" are two answers to one question, and a path that counts none can then refuse a T.
PATHS: dict[str, PathRow] = {
    "edm": _continuous(EXPLODING, proportional),
    "flow": _continuous(FLOW, straight),
    **{name: _discrete(betas) for name, betas in BETAS.items()},
    "table": PathRow(PRESERVING, _own_table, ("betas", "zero_terminal_snr")),
    # 232 levels: those of arXiv:2006.09011 for 32 × 32 pictures in colour, by its technique 2.
    "exploding": PathRow(EXPLODING, lambda chosen: geometric_table(chosen.T or 232), ("T",)),
    **{f"{name}-continuous": _continuous(PRESERVING, make) for name, make in LIMITS.items()},
    "exploding-continuous": _continuous(EXPLODING, geometric),
    "learned": _continuous(PRESERVING, LearnedSchedule),
}
REFUSALS = {  # why a path does not heed a choice
    "T": "has no number of steps to choose",
    "betas": "does not take betas",
    "zero_terminal_snr": "is no table of betas that could be rescaled to end in pure noise",
}


def make_path(
    name: str,
    *,
    T: int | None = None,
    betas: Sequence[float] = (),
    shift: float = 1.0,
    zero_terminal_snr: bool = False,
) -> Path:
    """The path called `name`.

    Args:
        name: a row of `PATHS`.
        T: how many discrete steps, at least 2; the path's usual number unless given.
        betas: of the path "table", see `beta_table`.
        shift: above 0; more is more noise at every time, see `Shifted`.
        zero_terminal_snr: rescale a table of betas to end in pure noise, see `zero_terminal`.

    Raises UserError for a choice that is wrong, or that this path could not heed.
    """
    row = lookup(PATHS, name, "path")
    if T is not None and T < 2:
        raise UserError(f"T is {T}; a path of discrete steps has at least 2")
    chosen = Choices(T, tuple(betas), zero_terminal_snr)
    for option, value, usual in zip(Choices._fields, chosen, Choices(), strict=True):
        if value != usual and option not in row.heeds:
            raise UserError(_refusal(name, option))
    schedule = row.schedule(chosen)
    return Path(row.kind, schedule if shift == 1 else Shifted(schedule, shift))


def _refusal(name: str, option: str) -> str:
    others = ", ".join(other for other, row in PATHS.items() if option in row.heeds)
    return (
        f"the path {name!r} {REFUSALS[option]}; leave --diffusion.{option.replace('_', '-')} out, "
        f"or choose one of: {others}"
    )
