"""The Fréchet distance at infinitely many images, from its values at fewer.

FD of n images a side is biased upwards: FD is smooth in the moments, and the moments' errors enter
its second order, so that E FD_n = FD_inf + b / n + O(1 / n²) where both sides grow in proportion
(Chong and Forsyth 2020, arXiv:1911.07023, who hold the reference fixed and so keep its part of b).
For two sides of one normal distribution, whose covariance has the eigenvalues a_i, each side gives
    b = sum_i a_i + 1/2 sum_ij a_i a_j (1 + delta_ij) / (a_i + a_j).

Each side is divided at random into quarters. The line through the mean FD of all that leaves one
quarter out and FD of everything meets 1 / n = 0 at
    FD_inf = 4 FD_n - 3 mean FD_(3n/4),
the jackknife that deletes a quarter. Each image is left out once, so its first-order influence is
that on FD_n, and so is the variance of that order, var psi (`frechet.sampling_variance`). In the
second order the pairs of one quarter cancel and the others weigh 4/3: 4/3 of FD's variance there,
which of two sides of one normal distribution is
    (1/n + 1/m)² (2 sum_i a_i² + sum_ij (1 + delta_ij) a_i² a_j² / (a_i + a_j)²).
The interval takes the larger of the two. psi, estimated at sides that are alike, is large where
FD_n is by chance, and small where it is small: with a few directions that vary more than all others
the interval by psi alone held the truth 80 times of 100.

The means over quarters and halves are for the eye: the line is straight or it is not. Nothing is
taken from fewer images than have a covariance of full rank, where it bends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import combinations
from statistics import fmean

import numpy as np

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval, normal_interval
from safelight.evaluation.frechet import frechet_distance, sampling_variance
from safelight.evaluation.moments import Features, Moments, blocks
from safelight.seeding import derive

Point = tuple[float, float]  # images generated, and FD of as many

QUARTERS = 4
# Which quarters are taken together. Each image is in equally many of a row, so that its influence
# is the same on every point of the curve; three of a row leave one out.
SUBSETS = (
    ((0,), (1,), (2,), (3,)),
    ((0, 1), (2, 3)),
    tuple(combinations(range(QUARTERS), 3)),
    (tuple(range(QUARTERS)),),
)

PARAMETERS = (
    "means and covariances (n - 1) in float64; 4 FD(n) - 3 FD(3n/4), the mean over leaving out "
    "each quarter of both sides, divided at random"
)
METHOD = (
    "delta method through the influence function of the Fréchet distance, both sides, and where "
    "that vanishes its second order; covers the sampling of images, not retraining"
)


def frechet_at_infinity(generated: Features, reference: Features) -> Interval:
    """FD of infinitely many images by that of (n, d), (m, d) features, with interval and curve.

    It is unbiased up to O(1 / n²), so it may be slightly below zero. The curve has the mean FD at
    n/4, n/2, 3n/4 and n images (and as large a part of m), as far as they have full rank.

    Memory: the sums of four quarters a side, 64 d² bytes, and as much again while they are joined;
    for d = 2,048 that is 0.5 GB, however many images there are. Raises TooFewImages.
    """
    require_three_quarters(len(generated), len(reference), generated.shape[1])
    sides = [by_quarter(generated, "generated"), by_quarter(reference, "reference")]
    curve = [_mean(sides, subsets) for subsets in SUBSETS if _full_rank(sides, subsets)]
    first, second = (joined(side, range(QUARTERS)) for side in sides)
    variance = max(
        sampling_variance(first, second, generated, reference),
        QUARTERS / (QUARTERS - 1) * second_order_variance(first, second),
    )
    found = normal_interval(limit(*curve[-2:]), variance)
    points = tuple((round(count), value) for count, value in curve)
    return replace(found, curve=points)


def limit(fewer: Point, more: Point) -> float:
    """Where the line in 1 / n through two points (n, value) meets 1 / n = 0."""
    (m, at_m), (n, at_n) = fewer, more
    return (n * at_n - m * at_m) / (n - m)


def second_order_variance(first: Moments, second: Moments) -> float:
    """The variance of FD of two sides of one normal distribution, of which both are taken here.

    Its covariance is the mean of theirs; the equation is the module's.
    """
    a = np.linalg.eigvalsh((first.covariance + second.covariance) / 2.0)
    a = a[a > 0]
    means = np.outer(a, a) / np.add.outer(a, a)  # half the harmonic mean of each two
    squares = 2.0 * (a @ a) + (means**2).sum() + (np.diag(means) ** 2).sum()
    return float((1.0 / first.count + 1.0 / second.count) ** 2 * squares)


def require_three_quarters(generated: int, reference: int, dimension: int) -> None:
    """Raise TooFewImages unless three quarters of both sides exceed the features' dimension."""
    if 3 * min(generated, reference) // QUARTERS > dimension:
        return
    fewest = -(-QUARTERS * (dimension + 1) // 3)
    raise TooFewImages(
        f"FD at infinity on {dimension:,} features needs at least {fewest:,} images on each side, "
        f"three quarters of which have a full-rank covariance, got {generated:,} generated and "
        f"{reference:,} reference images; give more images or use --metrics kid"
    )


def by_quarter(features: Features, side: str) -> list[Moments]:
    """The moments of each quarter of the rows, divided at random; one pass."""
    held = [Moments(features.shape[1]) for _ in range(QUARTERS)]
    quarters = np.arange(len(features)) % QUARTERS
    np.random.default_rng(derive(0, "quarters", side)).shuffle(quarters)
    start = 0
    for block in blocks(features):
        of = quarters[start : start + len(block)]
        for quarter, kept in enumerate(held):
            kept.update(block[of == quarter])
        start += len(block)
    return held


def joined(quarters: Sequence[Moments], subset: Sequence[int]) -> Moments:
    """The moments of several quarters together."""
    return reduce(Moments.merge, [quarters[i] for i in subset])


def _full_rank(sides: Sequence[Sequence[Moments]], subsets: Sequence[Sequence[int]]) -> bool:
    """Whether each of these subsets has more images than features, on both sides."""
    fewest = min(sum(side[i].count for i in subset) for side in sides for subset in subsets)
    return fewest > len(sides[0][0].mean)


def _mean(sides: Sequence[Sequence[Moments]], subsets: Sequence[Sequence[int]]) -> Point:
    """The mean FD over these subsets of both sides, and of how many generated images each is."""
    counts, values = [], []
    for subset in subsets:
        first, second = (joined(side, subset) for side in sides)
        counts.append(first.count)
        values.append(frechet_distance(first, second))
    return fmean(counts), fmean(values)
