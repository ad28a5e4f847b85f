"""How far apart the images of one side are: the mean squared distance of all pairs.

    U = 2 / n (n-1) sum_{i<j} |x_i - x_j|² = 2 tr S,      S the covariance with n - 1,
so no pair has to be looked at. It is unbiased at any n; its projection on one image is
|x - mean|² + tr S, hence Var U is about 4 Var |x - mean|² / n (Hoeffding 1948).
Memory: two blocks of BLOCK numbers, 64 MB, and n numbers.
"""

from __future__ import annotations

import numpy as np

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval, normal_interval
from safelight.evaluation.moments import Features, Floats, blocks
from safelight.evaluation.network import Head

BLOCK = 4_000_000  # numbers of a block: the features of LPIPS are tens of thousands
FEWEST = 10  # images: the deviation of fewer says little

PARAMETERS = "mean over all pairs of images, unbiased, in float64"
METHOD = (
    "first order of the U-statistic's Hoeffding decomposition, normal; covers the sampling of "
    "images, not retraining"
)


def pairwise(features: Features, head: Head | None = None) -> Interval:
    """U of (n, d) features with its interval; two passes. Raises TooFewImages below FEWEST."""
    n, d = features.shape
    require_pairs(n)
    rows = max(BLOCK // d, 1)
    mean = sum((block.sum(axis=0) for block in blocks(features, rows)), np.zeros(d)) / n
    squares = np.concatenate([_squares(block - mean) for block in blocks(features, rows)])
    value = 2.0 * float(squares.sum()) / (n - 1)
    return normal_interval(value, 4.0 * float(squares.var(ddof=1)) / n, at_least=0.0)


def _squares(rows: Floats) -> Floats:
    """|row|² of each, (b,)."""
    squares: Floats = np.einsum("bd,bd->b", rows, rows)
    return squares


def require_pairs(images: int, dimension: int = 0) -> None:
    """Raise TooFewImages below FEWEST images; the features' dimension does not matter."""
    if images < FEWEST:
        raise TooFewImages(
            f"a mean distance of pairs needs at least {FEWEST} images, got {images}; "
            "give more images"
        )
