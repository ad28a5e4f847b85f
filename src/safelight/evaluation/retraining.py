"""Several trainings of one recipe, which differ by their seed: intervals that cover retraining.

The value of training i is
    v_i = mu + t_i + g_i + r,
t_i being the chance of training, g_i that of its generated images and r that of the reference
images, which all trainings are judged by. With s the standard deviation of k values, s² / k is the
unbiased variance of the mean of t + g: it holds the sampling of generated images already. Of r the
values say nothing, and what an evaluation tells, z² = Var(g + r), does not say how it is divided.
So the variance of the mean is bounded:
    (Var t + Var g) / k + Var r <= E[s²] / k + z².
The bound holds too where the same seeds of images make g alike in all trainings. Where training
moves values three times as far as sampling, it makes the interval of three trainings 4 % wider;
where it hardly moves them, the interval is wider than it need be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from scipy.stats import t as student

from safelight.evaluation.estimate import Estimate, Interval

METHOD = (
    "Student's t over {k} trainings, and beside it the sampling interval of one, since all are "
    "judged by the same reference; covers retraining and the sampling of images"
)


def mean(trainings: Sequence[Estimate]) -> Interval:
    """The recipe's value, by at least 2 trainings; a share's ends stay between 0 and 1."""
    value, spread = _mean(trainings), _spread(trainings)
    reach = _student(len(trainings) - 1) * spread / math.sqrt(len(trainings))
    below, above = _sampling(trainings)
    least, most = trainings[0].span
    low, high = value - math.hypot(reach, below), value + math.hypot(reach, above)
    return Interval(value, max(low, least), min(high, most))


def combined(trainings: Sequence[Estimate]) -> Estimate:
    """One estimate of the recipe. Their protocols are the same, so their floors are too."""
    first, (value, low, high) = trainings[0], _ends(mean(trainings))
    method = METHOD.format(k=len(trainings))
    return Estimate(
        first.name, value, low, high, first.n, method, first.floor, protocol=first.protocol
    )


def difference(first: Sequence[Estimate], second: Sequence[Estimate]) -> Interval:
    """second - first, each of one training or several.

    Of one training each: the two as independent samples; covers the sampling of images only. They
    are judged by the same reference, whose chance moves both alike, so it is, if anything, too
    wide. Of more: Welch's interval for the trainings, with the former beside it (see above). A
    single training is taken to vary as those of the other side do (the pooled t).
    """
    value = _mean(second) - _mean(first)
    (below_1, above_1), (below_2, above_2) = _sampling(first), _sampling(second)
    reach = _welch(first, second)
    low = math.hypot(reach, below_2, above_1)
    high = math.hypot(reach, above_2, below_1)
    return Interval(value, value - low, value + high)


def _welch(first: Sequence[Estimate], second: Sequence[Estimate]) -> float:
    """Half of the interval of the difference of means (Welch 1947); 0 for single trainings."""
    sides = [side for side in (first, second) if len(side) > 1]
    if not sides:
        return 0.0
    if len(sides) == 1:
        pooled = _spread(sides[0]) * math.sqrt(1 / len(first) + 1 / len(second))
        return _student(len(sides[0]) - 1) * pooled
    parts = [_spread(side) ** 2 / len(side) for side in sides]
    total = sum(parts)
    if not total:
        return 0.0
    shares = [part / total for part in parts]  # squares of the parts may be too small for a float
    freedom = 1 / sum(x**2 / (len(side) - 1) for x, side in zip(shares, sides, strict=True))
    return _student(freedom) * math.sqrt(total)


def _mean(trainings: Sequence[Estimate]) -> float:
    return math.fsum(each.value for each in trainings) / len(trainings)


def _spread(trainings: Sequence[Estimate]) -> float:
    """The standard deviation s of the values."""
    centre = _mean(trainings)
    squares = math.fsum((each.value - centre) ** 2 for each in trainings)
    return math.sqrt(squares / (len(trainings) - 1))


def _sampling(trainings: Sequence[Estimate]) -> tuple[float, float]:
    """How far the sampling interval of one reaches below and above (root mean squares)."""
    k = math.sqrt(len(trainings))
    below = math.hypot(*(each.value - each.low for each in trainings)) / k
    return below, math.hypot(*(each.high - each.value for each in trainings)) / k


@cache
def _student(freedom: float) -> float:
    return float(student.ppf(0.975, freedom))


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
