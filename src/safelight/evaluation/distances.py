"""Squared distances of many vectors from many others."""

from __future__ import annotations

import numpy as np

from safelight.evaluation.moments import Floats


def squared_distances(a: Floats, b: Floats) -> Floats:
    """|a_i - b_j|², never below zero, of rows (n, d), (m, d) in float64: (n, m).

    As |a|² + |b|² - 2 a·b, so exact up to rounding of |a|² + |b|², of which a small distance may be
    no more than the rest. In place: a tile is the largest thing in memory.
    """
    found: Floats = a @ b.T
    found *= -2.0
    found += squared_norms(a)[:, None]
    found += squared_norms(b)
    return found.clip(min=0.0, out=found)


def squared_norms(a: Floats) -> Floats:
    """|a_i|², (n,)."""
    norms: Floats = np.einsum("nd,nd->n", a, a)
    return norms
