"""The kernels k(x, y) of features that the unbiased distance of `kernel` may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from safelight.evaluation.moments import Floats, directions

SIGMA = 10.0  # of the Gaussian kernel, as in CMMD


@dataclass(frozen=True)
class Kernel:
    """text: what it is, for the protocol. tile: (a, d), (b, d) float64 -> k of each pair, (a, b).

    A constant added to k changes no distance.
    """

    text: str
    tile: Callable[[Floats, Floats], Floats]


def cubic(x: Floats, y: Floats) -> Floats:
    """(x·y / d + 1)³: KID, Binkowski et al. 2018."""
    tile: Floats = (x @ y.T / x.shape[1] + 1.0) ** 3
    return tile


def gaussian(x: Floats, y: Floats) -> Floats:
    """1,000 (exp(-|x/|x| - y/|y||² / 2σ²) - 1): CMMD, Jayasumana et al. 2024, less a constant.

    Its values are within 2 % of 1,000, and what tells images apart is in what they lack of that:
    without the constant no digit of it is lost.
    """
    cosines = directions(x) @ directions(y).T
    tile: Floats = 1000.0 * np.expm1((cosines - 1.0) / SIGMA**2)
    return tile


def energy(x: Floats, y: Floats) -> Floats:
    """-|x - y|: with it the distance is 2 E|x - y| - E|x - x'| - E|y - y'|, Székely's of 1985."""
    tile: Floats = -cdist(x, y)
    return tile


CUBIC = Kernel("polynomial kernel (x·y/d + 1)^3", cubic)
GAUSSIAN = Kernel(
    f"1,000 times the Gaussian kernel exp(-|x - y|²/2σ²), σ = {SIGMA:g}, of features of length 1",
    gaussian,
)
ENERGY = Kernel("kernel -|x - y|", energy)
