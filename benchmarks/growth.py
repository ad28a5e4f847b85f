"""How the time of some work grows with a size: timing in turns, and the exponent of what grows.

Work on n of something takes a + b n^p seconds: a fixed cost (a program's start, a call's own
price), and what grows. The slope of log seconds over log n by itself flatters: a fixed cost that is
half of the time at the smallest size makes 0.8 of a true 1.05 over a sixteenfold range. So all
three of a >= 0, b and p are fitted, by least squares of the logarithm of the seconds, which gives
each size the same say: the error of a time is a share of it. Where a = 0 fits as well as any other,
p is that slope.

Each turn times all sizes, forwards and backwards by turns, so that a machine that slows down or is
disturbed moves neighbours alike; each turn is fitted by itself. The exponent is the median of the
turns', its interval that of order statistics, which asks for nothing about how the errors are
distributed but that turns be independent: of nine turns the median lies between the second lowest
and the second highest exponent 96.1 times of 100. What it can't cover is what is wrong in all turns
alike, such as a size from which on a cache is too small: that is in the seconds, which are told.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import binom

Name = TypeVar("Name", bound=Hashable)
BAR = 1.05  # of an exponent
QUICK = 0.3  # seconds that a timing takes at least
STARTS = (0.01, 0.5, 0.9)  # of the fit: the fixed cost as a share of the smallest time


class Growth(NamedTuple):
    """seconds = fixed + scale * size ** exponent."""

    fixed: float
    scale: float
    exponent: float


def in_turns(works: Mapping[Name, Callable[[], object]], turns: int) -> dict[Name, list[float]]:
    """Seconds of each, in every turn. Each has been done before, and short work is repeated."""
    times = {name: _times(work) for name, work in works.items()}
    found: dict[Name, list[float]] = {name: [] for name in works}
    for turn in range(turns):
        for name in list(works)[:: -1 if turn % 2 else 1]:
            found[name].append(_seconds(works[name], times[name]))
    return found


def growth(sizes: Sequence[float], seconds: Sequence[float]) -> Growth:
    """The curve of least squares in log seconds. ValueError of fewer than three sizes."""
    if len(set(sizes)) < len(Growth._fields):
        raise ValueError(f"a curve of three numbers needs three sizes, got {len(set(sizes))}")
    # In units of the smallest time and the middle size, so that the three numbers are alike.
    unit, middle = min(seconds), math.exp(statistics.fmean(map(math.log, sizes)))
    x, y = np.log(np.asarray(sizes) / middle), np.log(np.asarray(seconds) / unit)

    def errors(z: Any) -> Any:
        fixed, height, exponent = z
        return np.log(fixed + np.exp(height + exponent * x)) - y

    def fitted(share: float) -> Any:
        slope, height = np.polyfit(x, np.log(np.exp(y) - share), 1)
        bounds = ([0, -np.inf, 0], [1, np.inf, np.inf])
        start = (share, height, max(slope, 1e-6))
        return least_squares(errors, start, bounds=bounds, x_scale=(0.1, 1, 0.1)).x

    slope, height = np.polyfit(x, y, 1)
    found = [(0.0, height, slope), *map(fitted, STARTS)]
    fixed, height, exponent = min(found, key=lambda z: float((errors(z) ** 2).sum()))
    return Growth(fixed * unit, math.exp(height) * unit / middle**exponent, float(exponent))


def measured(seconds: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """What is told of the seconds of each size in every turn, the bar beside the exponent."""
    sizes, turns = list(seconds), list(zip(*seconds.values(), strict=True))
    exponents = sorted(growth(sizes, turn).exponent for turn in turns)
    medians = [statistics.median(of) for of in seconds.values()]
    interval = order_interval(exponents)
    return {
        "seconds": {size: round(m, 4) for size, m in zip(sizes, medians, strict=True)},
        "fixed": round(growth(sizes, medians).fixed, 4),
        "exponent": round(statistics.median(exponents), 3),
        "interval": interval and [round(end, 3) for end in interval],
        "bar": BAR,
        "verdict": verdict(interval),
        "plain slope": round(float(np.polyfit(np.log(sizes), np.log(medians), 1)[0]), 3),
    }


def order_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Where their distribution's median is, at this level; None of fewer than six at 95 %."""
    left = int(binom.ppf((1 - level) / 2, len(values), 0.5))
    ordered = sorted(values)
    return (ordered[left - 1], ordered[-left]) if left else None


def verdict(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "too few turns to say"
    low, high = interval
    if high <= BAR:
        return "within"
    return "over" if low > BAR else "cannot tell"


def _times(work: Callable[[], object]) -> int:
    """How often it is done in a timing. The first time allocates memory and chooses kernels."""
    first = _seconds(work, 1)
    return 1 if first > 10 * QUICK else 1 + int(QUICK / _seconds(work, 1))


def _seconds(work: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times
