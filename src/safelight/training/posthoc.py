"""Averages of any length from a few that were kept: post-hoc EMA, arXiv:2312.02696, section 3.2.

After step t the average of width w holds of the weights of step s the share
    p(s) = D(s) - D(s - 1),   D(s) = min(1, s / t)^(gamma + 1),   s = 1, 2, ...
(`ema.PowerAverage`, unrolled). D(s) is its memory: the share that is from steps up to s. An average
that was not kept is made of those that were, as sum_i x_i theta_i, by least squares (algorithm 3
there), which differ from the paper's in three ways:
    sum_s (D(s) - sum_i x_i D_i(s))² + (ROUNDING |x|)² sum_s D(s)²  ->  min,   sum_i x_i = 1.
They are of the memories, not of the shares: what weights that walk from step to step make of an
error is its sum. They keep x small, since what was kept is rounded. And weights that do not change
come out exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from safelight.training.ema import exponent

Floats = NDArray[np.float64]
AT_ONCE = 2**14  # steps whose memories are in the computer's: 8 MB for 60 averages
# Of the averages in float32, as a share of the distance of one from the last weights. A tenth of it
# was measured at a constant learning rate, and ten times of it where that had fallen to zero.
ROUNDING = 5e-4


class Kept(NamedTuple):
    """An average that there is: its width, and the step after which it was taken."""

    width: float
    step: int


class Mixture(NamedTuple):
    """shares: x_i of each average that was kept; their sum is 1.

    error: how far what they make is from the average wanted, as a share of the distance between
    that and the last weights: the expectation (of squares), if weights walk at random. For then
    the two are sums over the walk's independent parts, that of step s + 1 times D - sum_i x_i D_i
    and times D at s.
    """

    shares: tuple[float, ...]
    error: float


def mixtures(kept: Sequence[Kept], widths: Sequence[float], step: int) -> list[Mixture]:
    """What makes the average of each of these widths after `step` from what was kept until then."""
    k = len(kept)
    products = _products([*kept, *(Kept(width, step) for width in widths)], step)
    chosen = ([*range(k), j] for j in range(k, len(products)))
    return [_mixture(products[np.ix_(those, those)]) for those in chosen]


def _mixture(products: Floats) -> Mixture:
    """products: of the memories of what was kept and, last, of what is wanted."""
    target, k = products[-1, -1], len(products) - 1
    if not target:  # after the first step: every average is the weights
        return Mixture((1.0, *[0.0] * (k - 1)), 0.0)
    system = np.ones((k + 1, k + 1))  # with Lagrange's multiplier of the sum
    scale = np.trace(products)
    system[:k, :k] = (products[:k, :k] + ROUNDING**2 * target * np.eye(k)) / scale
    system[k, k] = 0.0
    # Averages of few steps may be all but the same, which `solve` would refuse.
    x = np.linalg.lstsq(system, np.append(products[:k, k] / scale, 1.0), rcond=None)[0][:k]
    apart = np.append(x, -1.0)
    squares = float(apart @ products @ apart) / float(target)
    return Mixture(tuple(x.tolist()), max(squares, 0.0) ** 0.5)


def _products(averages: Sequence[Kept], step: int) -> Floats:
    """sum_s D_i(s) D_j(s) over s = 0..step - 1, (n, n)."""
    t = np.array([[float(average.step)] for average in averages])
    power = np.array([[exponent(average.width) + 1] for average in averages])
    total = np.zeros((len(averages), len(averages)))
    for first in range(0, step, AT_ONCE):
        s = np.arange(first, min(first + AT_ONCE, step), dtype=np.float64)
        D = np.minimum(1.0, s / t) ** power
        total += D @ D.T
    return total
