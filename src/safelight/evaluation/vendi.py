"""The Vendi score (Friedman and Dieng 2022): how many different images are there, in effect?

With u_i the n images' features scaled to length 1 and K_ij = u_i·u_j,
    VS = exp H,   H = -sum_k λ_k log λ_k,   λ_k the eigenvalues of K / n:
n where all are at right angles, 1 where all are alike. Those of 1/n sum_i u_i u_iᵀ are the same but
for zeros, so the smaller of the two matrices is taken.

H is concave: of few images it is too low, by more the more features there are. Its variance is the
delete-group jackknife's, (G - 1) / G sum_g (H_(g) - mean H_(g))², H_(g) being the entropy without
group g. The influence function -u_iᵀ (log M) u_i - H would cost one decomposition instead of
G + 1, but makes intervals a quarter too narrow where there are fewer images than features.

Memory: three matrices of min(n, d)², at most 400 MB, and four blocks of BLOCK numbers, 128 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t

from safelight.errors import TooFewImages, UserError
from safelight.evaluation.estimate import Interval
from safelight.evaluation.moments import Features, Floats, blocks, directions
from safelight.evaluation.network import Head
from safelight.seeding import generator

GROUPS = 10
LARGEST = 4096  # of min(n, d): the eigenvalues, eleven times, take two minutes on two cores
BLOCK = 4_000_000  # numbers of a block of rows
FEWEST = 2 * GROUPS  # images

PARAMETERS = "entropy of the eigenvalues of the cosine kernel, in float64"
METHOD = (
    f"delete-group jackknife of the entropy, {GROUPS} random groups, Student's t; covers the "
    "sampling of images at this count, not the bias of a finite count, not retraining"
)


def vendi(features: Features, head: Head | None = None) -> Interval:
    """VS of (n, d) features with its interval; the head is of no use to it.

    Raises TooFewImages, and UserError where the eigenvalues would be too many.
    """
    require_few_eigenvalues(*features.shape)
    H, *left_out = map(_entropy, _matrices(features))
    error = math.sqrt((GROUPS - 1) * np.var(left_out))
    reach = float(t.ppf(0.975, GROUPS - 1)) * error
    return Interval(H, max(H - reach, 0.0), H + reach).through(math.exp)


def require_few_eigenvalues(images: int, dimension: int) -> None:
    """Raise TooFewImages below FEWEST, UserError where min(images, dimension) is over LARGEST."""
    if images < FEWEST:
        raise TooFewImages(
            f"the Vendi score needs at least {FEWEST} images, got {images}; give more images"
        )
    if min(images, dimension) > LARGEST:
        raise UserError(
            f"the Vendi score of {images:,} images with {dimension:,} features takes too large a "
            f"matrix; give at most {LARGEST:,} images with -n, or another network with --features"
        )


def _entropy(matrix: Floats) -> float:
    """H of the eigenvalues over their sum; those that are only rounding left out."""
    eigenvalues = np.linalg.eigvalsh(matrix)
    share = eigenvalues / np.trace(matrix)
    share = share[share > len(share) * np.finfo(np.float64).eps]
    return max(-float(share @ np.log(share)), 0.0)


def _matrices(features: Features) -> Iterator[Floats]:
    """The smaller matrix of all images, then of all but each group."""
    n, d = features.shape
    # At random: images often come class by class, or with their classes in turn.
    order = torch.randperm(n, generator=generator(0, "groups of the Vendi score"))
    group = order.numpy() % GROUPS
    if n < d:
        K = _cosines(features)
        yield K
        for g in range(GROUPS):
            yield K[np.ix_(group != g, group != g)]
    else:
        M = _products(features, np.ones(n, bool))
        yield M
        for g in range(GROUPS):
            yield M - _products(features, group == g)


def _cosines(features: Features) -> Floats:
    """K, (n, n)."""
    n, rows = len(features), _rows(features)
    K = np.empty((n, n))
    for i, a in enumerate(blocks(features, rows)):
        u = directions(a)
        for j, b in enumerate(blocks(features, rows)):
            tile = u @ directions(b).T
            K[i * rows : i * rows + len(a), j * rows : j * rows + len(b)] = tile
    return K


def _products(features: Features, chosen: NDArray[np.bool_]) -> Floats:
    """The sum of u_i u_iᵀ over the chosen images, (d, d), in one pass."""
    M, start = np.zeros((features.shape[1], features.shape[1])), 0
    for block in blocks(features, _rows(features)):
        rows = directions(block[chosen[start : start + len(block)]])
        M += rows.T @ rows
        start += len(block)
    return M


def _rows(features: Features) -> int:
    """How many rows a block has."""
    return max(BLOCK // int(features.shape[1]), 1)
