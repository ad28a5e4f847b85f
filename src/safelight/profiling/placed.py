"""A map on which pictures that look alike lie together: t-SNE (van der Maaten and Hinton 2008).

Distances between far parts of it, and the sizes of its lumps, mean nothing.
"""

from __future__ import annotations

import numpy as np
from sklearn.manifold import TSNE

from safelight.evaluation.moments import Floats

PERPLEXITY = 30.0
FEWEST = 10  # pictures, below which a map shows nothing


def placed(points: Floats) -> Floats | None:
    """Places (m, 2) in [0, 1] of points (m, d), the same each time; None of too few."""
    m = len(points)
    if m < FEWEST or points.shape[1] < 2 or not np.ptp(points, axis=0)[:2].all():
        return None
    perplexity = min(PERPLEXITY, (m - 1) / 3)
    # One thread: others would add up in another order.
    found = TSNE(2, init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(
        points
    )
    low, high = found.min(0), found.max(0)
    return np.asarray((found - low) / np.maximum(high - low, 1e-12), np.float64)
