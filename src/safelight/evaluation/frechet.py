"""The Fréchet distance of two feature sets, and its interval.

With means mu and covariances S of both sides (Dowson and Landau 1982; Heusel et al. 2017),
    FD = |mu_1 - mu_2|² + tr(S_1 + S_2 - 2 (S_1^½ S_2 S_1^½)^½).
Any factor S_1 = L Lᵀ gives the same eigenvalues as the symmetric root, so the last trace is the
sum of the roots of the eigenvalues of Lᵀ S_2 L: symmetric, hence real, and never below zero but
by rounding, which is cut off. No matrix square root is taken.

The interval says how far the value would move with other images at the same counts. It does not
hold the distance at infinitely many images: FD is biased upwards at finite counts, which is why
it is read against a floor at the same counts.

The variance is that of the influence function psi, less the noise of psi. Of a statistic whose
variance is V_1 / n to the first order and V_2 / n² to the second (Hoeffding's decomposition), psi
is estimated with noise, and its variance gives V_1 / n + 2 V_2 / n² on average: where both sides
have the same distribution V_1 vanishes, and the interval would be 1.4 times too wide. The noise is
seen by estimating psi without a tenth of the images, and again without another tenth. Where those
that are left have no covariance of full rank (n up to 1.1 d) it is not, and the interval stays too
wide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval, normal_interval
from safelight.evaluation.moments import Features, Floats, Moments, Normal, blocks, normal
from safelight.seeding import derive

Side = Moments | Normal

PART = 0.1  # of the images, which is left out to see the noise of the influence function

METHOD = (
    "delta method through the influence function of the Fréchet distance, both sides, less the "
    "function's own noise as seen with a tenth of the images left out; covers the sampling of "
    "images at these counts, not the bias of finite counts and not retraining"
)


def frechet_distance(first: Side, second: Side) -> float:
    """FD of two sides, in float64; not negative, and finite on singular covariances."""
    eigenvalues = np.linalg.eigvalsh(_carried(factor(first.covariance), second.covariance))
    difference = first.mean - second.mean
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    crossed = np.sqrt(eigenvalues.clip(min=0.0)).sum()
    return max(float(difference @ difference + traces - 2.0 * crossed), 0.0)


def frechet(generated: Features, reference: Features) -> Interval:
    """FD of two feature sets (n, d), (m, d), with its interval; six passes over the features.

    The interval is value ± 1.96 sqrt(var psi_1 / n + var psi_2 / m - noise), psi as in `Influence`.
    Memory: about 6 d² float64. Raises TooFewImages where a side has no covariance of full rank.
    """
    m, n, d = len(generated), len(reference), generated.shape[1]
    require_full_rank(m, n, d)
    first, second = normal(generated), normal(reference)
    variance = sampling_variance(first, second, generated, reference)
    value = frechet_distance(first, second)
    del first, second  # their memory is wanted
    if min(m, n) - round(PART * min(m, n)) > d:
        # V_1 is not negative, so the noise is no more than half of the variance.
        variance -= min(noise(generated, reference), variance / 2.0)
    return normal_interval(value, variance, at_least=0.0)


def noise(generated: Features, reference: Features) -> float:
    """What the noise of both psi adds to the variance of FD beyond what belongs there: V_2 / n².

    Two estimates of psi, A and B, each lack a part f of the images of both sides, A one and B
    another. So the variance of psi_A - psi_B at the images that both have is 2 f / (1 - f)² times
    that of the noise in psi of the whole, of which half is in excess.
    """
    sides = (generated, reference)
    parts = [parted(len(side), name) for side, name in zip(sides, "xy", strict=True)]

    def psi(lacking: int) -> list[Floats]:
        held = (normal(s, of != lacking) for s, of in zip(sides, parts, strict=True))
        both = zip(influences(*held), sides, strict=True)
        return [np.concatenate([each(block) for block in blocks(side)]) for each, side in both]

    excess = 0.0
    for of, psi_A, psi_B in zip(parts, psi(1), psi(2), strict=True):
        whole = float((psi_A - psi_B)[of == 0].var()) * (1.0 - PART) ** 2 / (2.0 * PART)
        excess += whole / 2.0 / len(of)
    return excess


def parted(n: int, side: str) -> NDArray[np.int8]:
    """Which of n images are in the two parts, 1 and 2: at random, since images may lie by class."""
    order = np.random.default_rng(derive(0, "parts", side)).permutation(n)
    of = np.zeros(n, np.int8)
    each = round(PART * n)
    of[order[:each]], of[order[each : 2 * each]] = 1, 2
    return of


def sampling_variance(first: Side, second: Side, generated: Features, reference: Features) -> float:
    """The variance of FD over other images at these counts, to first order; one pass a side."""
    psi_1, psi_2 = influences(first, second)
    from_generated = psi_1.variance(generated) / len(generated)
    return from_generated + psi_2.variance(reference) / len(reference)


def require_full_rank(generated: int, reference: int, dimension: int) -> None:
    """Raise TooFewImages unless both counts exceed the features' dimension."""
    if min(generated, reference) > dimension:
        return
    raise TooFewImages(
        f"a Fréchet distance on {dimension:,} features needs at least {dimension + 1:,} images on "
        f"each side for a full-rank covariance, got {generated:,} generated and {reference:,} "
        "reference images; give more images or use --metrics kid"
    )


class Influence:
    """The influence function of FD at one side, (mu_1, S_1), the other side held fixed.

    A point x added to P_1 with weight e moves mu_1 by e (x - mu_1) and S_1 by
    e ((x - mu_1)(x - mu_1)ᵀ - S_1). The gradient of FD is 2 (mu_1 - mu_2) in mu_1 and I - A in
    S_1, where A is the optimal linear map from N(0, S_1) to N(0, S_2), A S_1 A = S_2. Hence
        psi(x) = 2 (mu_1 - mu_2)·(x - mu_1) + (x - mu_1)ᵀ (I - A) (x - mu_1) - tr((I - A) S_1),
    which has mean zero, and FD of n images has the standard error sqrt(var psi / n) from this
    side to the first order in 1/n.
    """

    def __init__(self, side: Side, other: Side, A: Floats) -> None:
        self.mean = side.mean
        self.slope = 2.0 * (side.mean - other.mean)
        self.curve = -A
        self.curve[np.diag_indices_from(self.curve)] += 1.0
        self.offset = float(np.vdot(self.curve, side.covariance))

    def __call__(self, rows: NDArray[Any]) -> Floats:
        """psi of each row: (b, d) -> (b,)."""
        centred = np.asarray(rows, dtype=np.float64) - self.mean
        quadratic = np.einsum("bd,bd->b", centred @ self.curve, centred)
        psi: Floats = centred @ self.slope + quadratic - self.offset
        return psi

    def variance(self, features: Features) -> float:
        """The variance of psi over (n, d) features, in one pass."""
        held = Moments(1)
        for block in blocks(features):
            held.update(self(block)[:, None])
        return float(held.covariance[0, 0])


def influences(first: Side, second: Side) -> tuple[Influence, Influence]:
    """Those at the first side and at the second."""
    A, B = transports(first.covariance, second.covariance)
    return Influence(first, second, A), Influence(second, first, B)


def transports(S_1: Floats, S_2: Floats) -> tuple[Floats, Floats]:
    """The optimal linear maps A from N(0, S_1) to N(0, S_2) and B back, symmetric, all (d, d):
    A S_1 A = S_2 and B S_2 B = S_1. One is the other's inverse where neither side is flat."""
    A, whole = _transport(S_1, S_2)
    B = np.asarray(np.linalg.inv(A)) if whole else _transport(S_2, S_1)[0]
    return A, B


def _transport(S_1: Floats, S_2: Floats) -> tuple[Floats, bool]:
    """A = L (Lᵀ S_1 L)^-½ Lᵀ with S_2 = L Lᵀ, and whether it leaves nothing out.

    Directions in which Lᵀ S_1 L vanishes are left out (pseudo-inverse): no image of either side
    has any extent there.
    """
    L = factor(S_2)
    # The driver that needs least memory, in place of the matrix (LAPACK's order is the transposed
    # one; it is symmetric): for d = 2,048 numpy's would take 100 MB more.
    eigenvalues, vectors = eigh(
        _carried(L, S_1).T, driver="evr", overwrite_a=True, check_finite=False
    )
    kept = eigenvalues > eigenvalues[-1] * len(eigenvalues) * np.finfo(np.float64).eps
    spread = L @ vectors[:, kept]
    spread *= eigenvalues[kept] ** -0.25
    return spread @ spread.T, bool(kept.all())


def factor(S: Floats) -> Floats:
    """Some L with S = L Lᵀ, (d, d): Cholesky's, or where S is singular, from its eigenvectors."""
    try:
        return np.asarray(np.linalg.cholesky(S), dtype=np.float64)
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(S)
        L: Floats = vectors * np.sqrt(eigenvalues.clip(min=0.0))
        return L


def _carried(L: Floats, S: Floats) -> Floats:
    """Lᵀ S L, (d, d), symmetric up to rounding: of what it is given, eigh reads one triangle."""
    product: Floats = L.T @ S @ L
    return product
