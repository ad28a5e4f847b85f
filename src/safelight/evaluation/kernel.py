"""Kernel distances (KID, CMMD, energy distance): the unbiased squared maximum mean discrepancy.

With a kernel k of `kernels`, m generated and n reference features,
    MMD²_u = sum_{i≠j} k(x_i, x_j) / (m (m-1)) + sum_{i≠j} k(y_i, y_j) / (n (n-1))
             - 2 sum_{i,j} k(x_i, y_j) / (m n)                     (Gretton et al. 2012, eq. 3)
over all pairs, not over subsets. It is unbiased at any count, so it may be slightly below zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval, Z, normal_interval
from safelight.evaluation.kernels import CUBIC, Kernel
from safelight.evaluation.moments import Features, Floats, blocks

AT_MOST = 10_000  # images a side; the work grows with the square
TILE = 1024  # memory: two blocks of TILE x d and two tiles of TILE², 50 MB for d = 2,048
FEWEST = 4  # images a side: below, the variance has no unbiased estimate

METHOD = (
    "score interval by the unbiased variance of the U-statistic from its Hoeffding decomposition; "
    "covers the sampling of images, not retraining"
)


@dataclass(frozen=True)
class KernelSums:
    """Sums over one kernel matrix K (a, b); of a side with itself the diagonal counts as zero.

    rows (a,), columns (b,): the sums of each row and column; squares: the sum of all K_ij².
    """

    rows: Floats
    columns: Floats
    squares: float

    @property
    def total(self) -> float:
        return float(self.rows.sum())


def parameters(kernel: Kernel) -> str:
    """What decides the value, for the protocol."""
    return (
        f"{kernel.text} in float64, unbiased over all pairs of at most {AT_MOST:,} images a side, "
        "drawn at random"
    )


def kernel_distance(generated: Features, reference: Features, kernel: Kernel = CUBIC) -> Interval:
    """MMD²_u of two feature sets (m, d), (n, d), with its interval. Raises TooFewImages below 4.

    Only the first AT_MOST rows of each side are used, in tiles of TILE x TILE.
    """
    require_enough(len(generated), len(reference))
    xx = kernel_sums(generated, generated, same=True, kernel=kernel)
    yy = kernel_sums(reference, reference, same=True, kernel=kernel)
    xy = kernel_sums(generated, reference, kernel=kernel)
    m, n = len(xy.rows), len(xy.columns)
    within = xx.total / (m * (m - 1)) + yy.total / (n * (n - 1))
    return score_interval(within - 2.0 * xy.total / (m * n), *variance_parts(xx, yy, xy))


def score_interval(value: float, first: float, second: float) -> Interval:
    """All t with (value - t)² <= z² Var(t), as Wilson's for shares; parts as of `variance_parts`.

    Var(t) is what MMD²_u would have for variance if t were the truth. Its first part is that of
    the witness a - c, whose square MMD² is: it grows as t does, Var(t) = first t / value + second
    for t above 0, and vanishes for t = 0. With the variance at t = value instead, the interval is
    too wide where both sides have one distribution, since values far from zero come with large
    estimates of the first part (every one of 400 intervals held the truth).
    """
    second = max(second, 0.0)
    reach = Z * math.sqrt(second)
    # Below `reach` the ratio is one of noise; it would be of any size for a value near 0.
    slope = max(first, 0.0) / max(value, reach) if value > 0 else 0.0
    middle = value + Z**2 * slope / 2.0
    half = Z * math.sqrt(second + slope * max(value, 0.0) + Z**2 * slope**2 / 4.0)
    high = middle + half
    # The ends' product is value² - reach²: their difference would cancel for small values.
    low = value - reach if value <= reach else (value - reach) * (value + reach) / high
    return Interval(value, min(low, value), max(high, value))


def kernel_difference(
    first: Features, second: Features, reference: Features, *, paired: bool = False
) -> Interval:
    """MMD²_u(second) - MMD²_u(first) against one reference, which moves both alike; cubic kernel.

    The variance is the jackknife's over each of the three sides (Efron and Stein 1981: never too
    small on average): much smaller than that of two distances taken as independent.

    paired: the i-th images of both sides have the same seed, so that they move together too; they
    are left out at once. Without it the interval would be too wide, and "not told apart" too easy.
    """
    for side in (first, second):
        require_enough(len(side), len(reference))
    distances, shares, parts = [], [], []
    for side, sign in ((first, -1.0), (second, 1.0)):
        xx, xy = kernel_sums(side, side, same=True), kernel_sums(side, reference)
        m, n = len(xy.rows), len(xy.columns)
        distances.append(sign * (xx.total / (m * (m - 1)) - 2.0 * xy.total / (m * n)))
        within = (xx.total - 2.0 * xx.rows) / ((m - 1) * (m - 2))
        parts.append(sign * (within - 2.0 * (xy.total - xy.rows) / ((m - 1) * n)))
        shares.append(sign * -2.0 * (xy.total - xy.columns) / (m * (n - 1)))
    sides = [parts[0] + parts[1]] if paired else parts
    return normal_interval(sum(distances), sum(map(_jackknife, [*sides, shares[0] + shares[1]])))


def _jackknife(left_out: Floats) -> float:
    """The variance of a statistic from its values with each image left out."""
    return float(left_out.var() * (len(left_out) - 1))


def require_enough(generated: int, reference: int, dimension: int = 0) -> None:
    """Raise TooFewImages below FEWEST images a side; the features' dimension does not matter."""
    if min(generated, reference) < FEWEST:
        raise TooFewImages(
            f"the kernel distance needs at least {FEWEST} images on each side, "
            f"got {generated} generated and {reference} reference images; give more images"
        )


def kernel_sums(x: Features, y: Features, same: bool = False, kernel: Kernel = CUBIC) -> KernelSums:
    """The sums over k(x_i, y_j); with same=True, x and y are one set and i = j is left out."""
    rows, columns = np.zeros(min(len(x), AT_MOST)), np.zeros(min(len(y), AT_MOST))
    squares = 0.0
    for i, a in enumerate(blocks(x, TILE, AT_MOST)):
        for j, b in enumerate(blocks(y, TILE, AT_MOST)):
            tile = kernel.tile(a, b)
            if same and i == j:
                np.fill_diagonal(tile, 0.0)
            rows[i * TILE : i * TILE + len(a)] += tile.sum(axis=1)
            columns[j * TILE : j * TILE + len(b)] += tile.sum(axis=0)
            squares += float(np.einsum("ij,ij->", tile, tile))
    return KernelSums(rows, columns, squares)


def variance_parts(xx: KernelSums, yy: KernelSums, xy: KernelSums) -> tuple[float, float]:
    """Unbiased estimates of the parts of Var MMD²_u that fall as 1/n and as 1/n².

    Hoeffding's decomposition (Serfling 1980, section 5.1.5) splits it into uncorrelated parts.
    With a(x) = E k(x, x'), b(x) = E k(x, y) for x of the first side, c and e for the second:
        Var MMD²_u = 4 Var(a - b) / m + 4 Var(c - e) / n
                     + 2 W_xx / (m (m-1)) + 2 W_yy / (n (n-1)) + 4 W_xy / (m n),
    W being the variance of k(x, x') - a(x) - a(x') and so on. Where both sides have the same
    distribution the first line vanishes and the second is all there is: it must not be left out.
    """
    m, n = len(xx.rows), len(yy.rows)
    yx = KernelSums(xy.columns, xy.rows, xy.squares)
    first = 4.0 * _main_effect(xx, xy) / m + 4.0 * _main_effect(yy, yx) / n
    second = 2.0 * _interaction_within(xx) / (m * (m - 1))
    second += 2.0 * _interaction_within(yy) / (n * (n - 1))
    second += 4.0 * _interaction_across(xy) / (m * n)
    return first, second


# Below, products of expectations are estimated from distinct images, which keeps them unbiased:
# sums over distinct indices are written as sums over all indices less those that coincide.


def _main_effect(xx: KernelSums, xy: KernelSums) -> float:
    """Var(a - b) over the side x: Var a + Var b - 2 Cov(a, b)."""
    m, n = len(xx.rows), len(xy.columns)
    shared = float(xx.rows @ xy.rows)
    apart = (xx.total * xy.total - 2.0 * shared) / (m * (m - 1) * (m - 2) * n)
    covariance = shared / (m * (m - 1) * n) - apart
    a = _chained_within(xx) - _apart_within(xx)
    b = _chained_across(xy) - _apart_across(xy)
    return a + b - 2.0 * covariance


def _interaction_within(xx: KernelSums) -> float:
    """The variance of k(x, x') - a(x) - a(x'): E k² - 2 E[k(x, x') k(x, x'')] + (E k)²."""
    m = len(xx.rows)
    return xx.squares / (m * (m - 1)) - 2.0 * _chained_within(xx) + _apart_within(xx)


def _interaction_across(xy: KernelSums) -> float:
    """The variance of k(x, y) - b(x) - e(y)."""
    m, n = len(xy.rows), len(xy.columns)
    yx = KernelSums(xy.columns, xy.rows, xy.squares)
    chained = _chained_across(xy) + _chained_across(yx)
    return xy.squares / (m * n) - chained + _apart_across(xy)


def _chained_within(xx: KernelSums) -> float:
    """E[k(x, x') k(x, x'')]."""
    m = len(xx.rows)
    return (float(xx.rows @ xx.rows) - xx.squares) / (m * (m - 1) * (m - 2))


def _apart_within(xx: KernelSums) -> float:
    """E[k(x, x')]², from four distinct images."""
    m = len(xx.rows)
    pairs = xx.total**2 - 4.0 * float(xx.rows @ xx.rows) + 2.0 * xx.squares
    return pairs / (m * (m - 1) * (m - 2) * (m - 3))


def _chained_across(xy: KernelSums) -> float:
    """E[k(x, y) k(x, y')]."""
    m, n = len(xy.rows), len(xy.columns)
    return (float(xy.rows @ xy.rows) - xy.squares) / (m * n * (n - 1))


def _apart_across(xy: KernelSums) -> float:
    """E[k(x, y)]², from two distinct images a side."""
    m, n = len(xy.rows), len(xy.columns)
    rows, columns = float(xy.rows @ xy.rows), float(xy.columns @ xy.columns)
    return (xy.total**2 - rows - columns + xy.squares) / (m * (m - 1) * n * (n - 1))
