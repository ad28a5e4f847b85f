"""The sliced Wasserstein distance (Rabin et al. 2011): how far values of pixels have to be moved.

On a direction θ the m generated and n reference features become two sets of numbers, whose squared
Wasserstein distance is that of their quantiles, ∫ (Q_x(u) - Q_y(u))² du. Over L directions
    SWD² = 1/L sum_θ ∫ (Q_x - Q_y)² du,
and SWD is its root, in the features' own unit. The directions are drawn once for all, so SWD is the
same number every time; its expectation over all directions is not what is meant.

SWD² is, like any distance of empirical distributions, too large at finite counts. Its influence
function at x is the mean over θ of Kantorovich's potential φ (del Barrio and Loubes 2019),
    φ'(x) = 2 (x - T(x)),      T the map of x to the reference's quantile,
and the same with the sides exchanged. Memory: (AT_MOST, L) float64 a side, 41 MB; the directions,
50 MB for 3x64x64 values; and a block or a tile, 60 MB.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval, normal_interval
from safelight.evaluation.moments import Features, Floats, blocks
from safelight.seeding import generator

DIRECTIONS = 512
AT_MOST = 10_000  # images a side: bounds the memory
BLOCK = 256  # rows that are projected at once
TILE = 64  # directions at once: six arrays of (AT_MOST, TILE), 31 MB
FEWEST = 10  # images a side: the quantiles of fewer say little

PARAMETERS = (
    f"root of the mean squared Wasserstein distance on {DIRECTIONS} fixed random directions, "
    f"at most {AT_MOST:,} images a side, drawn at random"
)
METHOD = (
    "delta method through Kantorovich's potentials, both sides, root of the ends; covers the "
    "sampling of images at these counts, not the bias of finite counts, the choice of directions "
    "or retraining"
)


def sliced_wasserstein(generated: Features, reference: Features) -> Interval:
    """SWD of (m, d) and (n, d) features with its interval; one pass. Raises TooFewImages."""
    require_quantiles(len(generated), len(reference))
    theta = unit_directions(generated.shape[1])
    x, y = _projected(generated, theta), _projected(reference, theta)
    total, psi_x, psi_y = 0.0, np.zeros(len(x)), np.zeros(len(y))
    for start in range(0, DIRECTIONS, TILE):
        a, b = x[:, start : start + TILE], y[:, start : start + TILE]
        total += float(_add_potential(psi_x, a, b).sum())
        _add_potential(psi_y, b, a)
    variance = (psi_x / DIRECTIONS).var(ddof=1) / len(x) + (psi_y / DIRECTIONS).var(ddof=1) / len(y)
    squared = max(total / DIRECTIONS, 0.0)
    return normal_interval(squared, variance, at_least=0.0).through(math.sqrt)


def require_quantiles(generated: int, reference: int, dimension: int = 0) -> None:
    """Raise TooFewImages below FEWEST images a side; the features' dimension does not matter."""
    if min(generated, reference) < FEWEST:
        raise TooFewImages(
            f"the sliced Wasserstein distance needs at least {FEWEST} images on each side, got "
            f"{generated} generated and {reference} reference images; give more images"
        )


def unit_directions(dimension: int) -> Floats:
    """(dimension, DIRECTIONS), each column a direction of length 1; the same ones every time."""
    rng = generator(0, "sliced Wasserstein directions", dimension)
    drawn = torch.randn(dimension, DIRECTIONS, generator=rng, dtype=torch.float64).numpy()
    theta: Floats = drawn / np.linalg.norm(drawn, axis=0)
    return theta


def _projected(features: Features, theta: Floats) -> Floats:
    return np.concatenate([block @ theta for block in blocks(features, BLOCK, AT_MOST)])


def _add_potential(psi: Floats, x: Floats, y: Floats) -> Floats:
    """Add the potentials at x to psi (m,); the squared distances on each direction, (t,).

    x, y: (m, t), (n, t). The potential is its slope's integral over the sorted x, by trapezia.
    """
    order = np.argsort(x, axis=0)
    x = np.take_along_axis(x, order, axis=0)
    T, squares = _transported(np.sort(y, axis=0), len(x))
    slopes = x - T
    potential = np.zeros_like(x)
    np.cumsum(np.diff(x, axis=0) * (slopes[1:] + slopes[:-1]), axis=0, out=potential[1:])
    np.put_along_axis(unsorted := np.empty_like(x), order, potential, axis=0)
    psi += unsorted.sum(axis=1)
    spread: Floats = squares - (T**2).mean(axis=0)
    distances: Floats = (slopes**2).mean(axis=0) + spread
    return distances


def _transported(y: Floats, m: int) -> tuple[Floats, Floats]:
    """Where each of m equal parts of probability goes among the sorted y (n, t), on average.

    The means of Q_y over ((i-1)/m, i/m), (m, t), and those of y² over all, (t,).
    """
    n = len(y)
    summed = np.concatenate([np.zeros((1, y.shape[1])), np.cumsum(y, axis=0)])
    whole, rest = np.divmod(np.arange(m + 1) * n, m)
    beyond = y[np.minimum(whole, n - 1)] * (rest / m)[:, None]
    T: Floats = np.diff(summed[whole] + beyond, axis=0) * (m / n)
    return T, (y**2).mean(axis=0)
