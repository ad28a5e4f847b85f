"""How many images a metric needs, asked of the metric itself."""

from __future__ import annotations

from collections.abc import Callable

from safelight.errors import TooFewImages, UserError, lookup
from safelight.evaluation import memorisation
from safelight.evaluation.copying import Copying
from safelight.evaluation.kinds import Distance, Score
from safelight.evaluation.metrics import METRICS

# Features of the networks that numbers are usually taken on.
DIMENSIONS = {"efficientnet-lite0": 1280, "inception": 2048}
# From how many images a side on a number says something, where it is taken of fewer too. Half of
# KID's interval is then a fifth of what means of 3x3 pixels do to KID (0.19 for CIFAR-10 on
# efficientnet-lite0, 0.18 for digits on pixels; with 10 images 0.8 and 1.0, with 4 of them 2.1 and
# 2.9: `benchmarks/few.py`).
TELLING = {"kid": 100}
MOST = 10_000_000  # images: a check that refuses even these refuses something else


def fewest_images(metric: str, dimension: int) -> int:
    """The fewest images a side that `metric`, a row of METRICS, takes on so many features.

    Its own check is asked, which refuses too few and takes any number above (of a score of classes
    `dimension` is their number). Raises UserError for a metric that asks for no number of images.
    """
    takes = _check(metric, dimension)
    low, high = 0, 1  # `low` is too few
    while _too_few(takes, high):
        low, high = high, 2 * high
        if high > MOST:  # a fault of ours
            raise ValueError(f"{metric} takes no number of images")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _too_few(takes, middle) else (low, middle)
    return high


def _check(metric: str, dimension: int) -> Callable[[int], None]:
    row = lookup(METRICS, metric, "metric")
    if isinstance(row, Distance):
        distance = row.require
        return lambda n: distance(n, n, dimension)
    if isinstance(row, Score):
        score = row.require
        return lambda n: score(n, dimension)
    if isinstance(row, Copying):
        return memorisation.require_enough
    raise UserError(f"{metric} asks for no number of images; name another metric")


def _too_few(takes: Callable[[int], None], n: int) -> bool:
    try:
        takes(n)
    except TooFewImages:
        return True
    except UserError:  # too many, of a metric that has a largest number
        return False
    return False
