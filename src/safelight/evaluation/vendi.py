"""The Vendi score (Friedman and Dieng 2022): how many different images are there, in effect?

With u_i the n images' features scaled to length 1 and K_ij = u_i·u_j,
    VS = exp(-sum_k λ_k log λ_k),   λ_k the eigenvalues of K / n, or of M = 1/n sum_i u_i u_iᵀ:
n where all are at right angles, 1 where all are alike. The logarithm is the entropy H(M), and
    h_i = -u_iᵀ (log M) u_i     with     1/n sum_i h_i = H
has h_i - H for its influence function, so that the standard error of log VS is the deviation of the
h_i over sqrt(n). H is concave: of few images it is too low, by more the more features there are.

Memory: three matrices of min(n, d)², at most 400 MB, and two blocks of rows.
"""

from __future__ import annotations

import math

import numpy as np

from safelight.errors import TooFewImages, UserError
from safelight.evaluation.estimate import Interval, normal_interval
from safelight.evaluation.moments import Features, Floats, blocks, directions
from safelight.evaluation.network import Head

LARGEST = 4096  # of min(n, d): its eigenvectors take 40 s on two cores
TILE = 1024
FEWEST = 10  # images: the deviation of fewer says little

PARAMETERS = "entropy of the eigenvalues of the cosine kernel, in float64"
METHOD = (
    "delta method through the influence function of the entropy, normal in the logarithm; covers "
    "the sampling of images at this count, not the bias of a finite count, not retraining"
)


def vendi(features: Features, head: Head | None = None) -> Interval:
    """VS of (n, d) features with its interval; the head is of no use to it.

    Raises TooFewImages, and UserError where the eigenvalues would be too many.
    """
    n, d = features.shape
    require_few_eigenvalues(n, d)
    parts = _parts_of_images(features) if n < d else _parts_of_features(features)
    return normal_interval(parts.mean(), parts.var(ddof=1) / n, at_least=0.0).through(math.exp)


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


def _parts_of_features(features: Features) -> Floats:
    """h_i from the eigenvectors v_k of M: -sum_k log λ_k (u_i·v_k)², (n,)."""
    d = features.shape[1]
    M = np.zeros((d, d))
    for block in blocks(features):
        rows = directions(block)
        M += rows.T @ rows
    eigenvalues, vectors = np.linalg.eigh(M / len(features))
    kept = _present(eigenvalues)
    surprise, V = -np.log(eigenvalues[kept]), vectors[:, kept]
    return np.concatenate([(directions(block) @ V) ** 2 @ surprise for block in blocks(features)])


def _parts_of_images(features: Features) -> Floats:
    """The same from the eigenvectors w_k of K / n, since u_i·v_k = sqrt(n λ_k) w_ik, (n,)."""
    n = len(features)
    K = np.empty((n, n))
    for i, a in enumerate(blocks(features, TILE)):
        for j, b in enumerate(blocks(features, TILE)):
            tile = directions(a) @ directions(b).T
            K[i * TILE : i * TILE + len(a), j * TILE : j * TILE + len(b)] = tile
    eigenvalues, vectors = np.linalg.eigh(K / n)
    kept = _present(eigenvalues)
    weights = -n * eigenvalues[kept] * np.log(eigenvalues[kept])
    parts: Floats = vectors[:, kept] ** 2 @ weights
    return parts


def _present(eigenvalues: Floats) -> np.ndarray:
    """Which are more than rounding; of the others λ log λ vanishes."""
    present: np.ndarray = eigenvalues > len(eigenvalues) * np.finfo(np.float64).eps
    return present
