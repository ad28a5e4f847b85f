"""Schedules: how the log-SNR l = ln(alpha² / sigma²) falls from t = 0, clean, to t = 1, noise.

A path is a schedule together with a kind (see `path`), which splits l into alpha and sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from safelight.diffusion.precision import precise
from safelight.errors import UserError

Function = Callable[[Tensor], Tensor]


class Schedule(Protocol):
    """Both functions work elementwise on tensors of any shape, and answer at least as precisely.

    They need not be right at t = 0, nor at log-SNRs outside their range: `Path` sees to the ends.
    An answer may be `precise`, and so on the CPU where a device has no float64.
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
    """Two functions that are each other's inverse. Raises UserError if the log-SNR ever rises."""

    log_snr: Function
    time: Function
    levels: None = None

    def __post_init__(self) -> None:
        t = torch.linspace(0, 1, 257, dtype=torch.float64)[1:]
        _require_falling(self.log_snr(t), t)


class Table:
    """T discrete steps. Entries are float64.

    Between steps the log-SNR is interpolated linearly; between t = 0 and the first step it stays
    at the first step's, since it is infinite at t = 0. Before a last step that is pure noise,
    alpha / sigma is interpolated instead.

    Args:
        log_snr: (T,), at t = 1/T, ..., 1; falling, at the last step maybe to minus infinity.

    Raises UserError for a table that rises, or of fewer than 2 steps.
    """

    def __init__(self, log_snr: Tensor) -> None:
        self.levels: int = len(log_snr)
        if self.levels < 2:
            raise UserError(f"a path of {self.levels} steps leads nowhere; give at least 2")
        _require_falling(log_snr, torch.arange(1, self.levels + 1) / self.levels)
        infinity = torch.full((1,), math.inf, dtype=torch.float64)
        table = torch.cat([infinity, log_snr.double()])  # (T + 1,), falling
        self._copies = {table.device: table}

    def log_snr(self, t: Tensor) -> Tensor:
        position = place(t, self.levels)
        lower = position.floor().long()
        upper = (lower + 1).clamp(max=self.levels)
        table = self._on(position.device)
        from_lower, before, after = position - lower, table[lower], table[upper]
        straight = torch.lerp(before, after, from_lower)
        to_noise = before + 2 * torch.log1p(-from_lower)
        at = torch.where(after.isinf(), to_noise, straight)
        return torch.where(position == lower, before, at)

    def time(self, log_snr: Tensor) -> Tensor:
        wanted = -precise(log_snr)
        rising = -self._on(wanted.device)[1:]
        upper = torch.searchsorted(rising, wanted.contiguous()).clamp(1, self.levels - 1)
        low, high = rising[upper - 1], rising[upper]
        to_noise = -torch.expm1((low - wanted) / 2)
        share = torch.where(high.isinf(), to_noise, (wanted - low) / (high - low))
        position = upper + share.clamp(0, 1)  # step 1 is rising[0]
        return position / self.levels

    def _on(self, device: torch.device) -> Tensor:
        """A copy for each device: a GPU that asked the CPU at every call would have to wait."""
        if device not in self._copies:
            with torch.inference_mode(False):  # or it could not be used in training later
                self._copies[device] = next(iter(self._copies.values())).to(device)
        return self._copies[device]


def place(t: Tensor, levels: int) -> Tensor:
    """t T, `precise`: 0 at t = 0, else from 1, the first step, to T = `levels`, the last."""
    position = precise(t) * levels
    nearest = position.round()
    # float32 puts step 981 at 980.99997; what is so near a step is that step.
    rounding = 2 * torch.finfo(torch.float32).eps * levels
    position = torch.where((position - nearest).abs() < rounding, nearest, position)
    return torch.where(position > 0, position.clamp(1, levels), 0.0)


def _require_falling(log_snr: Tensor, t: Tensor) -> None:
    falls = log_snr.diff() < 0  # not so for NaN either
    if not falls.all():
        here = int(falls.logical_not().nonzero()[0])
        raise UserError(
            "a schedule's log-SNR has to fall from t = 0 to t = 1, and this one does not between "
            f"t = {float(t[here]):.4g} and {float(t[here + 1]):.4g}; give one that does"
        )


class Shifted(nn.Module):
    """The log-SNR of another schedule less 2 ln(shift), arXiv:2301.11093.

    For images k times as wide a shift of k keeps the noise that is left after averaging k × k
    pixels. On the straight schedule it moves t to shift t / (1 + (shift - 1) t), as
    arXiv:2403.03206 has it. It is a module so that a schedule with weights is trained inside it.
    """

    def __init__(self, schedule: Schedule, shift: float) -> None:
        super().__init__()
        if not 0 < shift < math.inf:
            raise UserError(f"shift is {shift:g}; it has to be a number above 0 (1 shifts nothing)")
        self.schedule, self.levels, self._fall = schedule, schedule.levels, 2 * math.log(shift)

    def log_snr(self, t: Tensor) -> Tensor:
        return self.schedule.log_snr(t) - self._fall

    def time(self, log_snr: Tensor) -> Tensor:
        return self.schedule.time(log_snr + self._fall)


@torch.no_grad()
def bisect(falling: Function, wanted: Tensor) -> Tensor:
    """The t in [0, 1] at which `falling`(t) is `wanted`, to 2^-60; beyond the ends, the end."""
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    for _ in range(60):
        middle = (low + high) / 2
        before = falling(middle) > wanted
        low, high = torch.where(before, middle, low), torch.where(before, high, middle)
    return (low + high) / 2


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


# Noise of 0.01 is about one of an image's 256 levels (2 / 255). Noise of 50 is more than the usual
# distance of two 32 × 32 pictures in colour, sqrt(2 · 3072) 0.5 = 39 at a deviation of 0.5, which
# is what technique 1 of arXiv:2006.09011 asks for.
LEAST, MOST = 0.01, 50.0


def geometric(low: float = LEAST, high: float = MOST) -> Continuous:
    """sigma / alpha = low (high / low)^t, appendix C of arXiv:2011.13456."""
    base, span = math.log(low), math.log(high / low)
    return Continuous(
        lambda t: -2 * (base + span * t), lambda log_snr: (-log_snr / 2 - base) / span
    )


def geometric_table(T: int, low: float = LEAST, high: float = MOST) -> Table:
    """T noise levels in geometric progression, section 4.1 of arXiv:1907.05600."""
    return Table(-2 * torch.linspace(math.log(low), math.log(high), T, dtype=torch.float64))


def of_integral(B: Function, inverse: Function | None = None) -> Continuous:
    """alpha² = exp(-B(t)), sigma² = 1 - alpha², B(t) = ∫_0^t beta, appendix C of arXiv:2011.13456.

    It is the limit of a table of betas as T grows and T beta_t stays, since ln(1 - beta) -> -beta.
    """

    def log_snr(t: Tensor) -> Tensor:
        return -B(t) - torch.log(-torch.expm1(-B(t)))

    if inverse is None:
        return Continuous(log_snr, partial(bisect, log_snr))
    return Continuous(log_snr, lambda log_snr: inverse(_softplus(-log_snr)))


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))  # torch's own is cut off at 20


def linear_limit(low: float = 0.1, high: float = 20.0) -> Continuous:
    """beta(t) = low + (high - low) t."""
    slope = high - low
    return of_integral(
        lambda t: low * t + slope * t**2 / 2,
        lambda B: 2 * B / (low + (low**2 + 2 * slope * B).sqrt()),
    )


def root_linear_limit(low: float = 0.1, high: float = 20.0) -> Continuous:
    """beta(t) = (a + d t)², a = sqrt(low), a + d = sqrt(high)."""
    a = math.sqrt(low)
    d = math.sqrt(high) - a

    def inverse(B: Tensor) -> Tensor:
        root = (a**3 + 3 * d * B).pow(1 / 3)  # a + d t
        return 3 * B / (root.square() + a * root + a**2)

    return of_integral(lambda t: t * (a**2 + a * d * t + (d * t) ** 2 / 3), inverse)


def sigmoid_limit(low: float = 0.1, high: float = 20.0) -> Continuous:
    """beta(t) = low + (high - low) sigmoid(12 t - 6)."""
    start = math.log1p(math.exp(-6))
    return of_integral(lambda t: low * t + (high - low) * (_softplus(12 * t - 6) - start) / 12)


def cosine_limit(s: float = 0.008) -> Continuous:
    """alpha² = cos²(f(t)) / cos²(f(0)), f(t) = (t + s) / (1 + s) pi / 2; alpha = 0 at t = 1.

    With k = f', both alpha² cos²(f(0)) = sin²(k (1 - t)) and sigma² cos²(f(0)) =
    sin(k t) sin(k t + 2 f(0)), which do not cancel at either end.
    """
    k = math.pi / 2 / (1 + s)
    begin = k * s

    def log_snr(t: Tensor) -> Tensor:
        log_sigma2 = (k * t).sin().log() + (k * t + 2 * begin).sin().log()
        return 2 * (k * (1 - t)).sin().log() - log_sigma2

    def time(log_snr: Tensor) -> Tensor:
        sine2 = math.sin(begin) ** 2 + math.cos(begin) ** 2 * (-log_snr).sigmoid()
        cosine2 = math.cos(begin) ** 2 * log_snr.sigmoid()
        return (torch.atan2(sine2.sqrt(), cosine2.sqrt()) - begin) / k

    return Continuous(log_snr, time)


LIMITS: dict[str, Callable[[], Continuous]] = {
    "linear": linear_limit,
    "scaled-linear": partial(root_linear_limit, low=0.85, high=12.0),
    "quadratic": root_linear_limit,
    "cosine": cosine_limit,
    "sigmoid": sigmoid_limit,
}
