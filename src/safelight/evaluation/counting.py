"""How many images of a side there are of a kind, and whether that is more than of real ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

CHANCE = 1e-3  # how probable what a test finds may be, were both sides alike
TIMES = 2  # as often as among real images: what real sets have too is no fault of the generated
Flags = NDArray[np.bool_]  # (n,): which images are of the kind


def more_often(found: Flags, real: Flags) -> bool:
    """Whether there are any, and over TIMES as often as among real ones."""
    return bool(found.any() and found.mean() > TIMES * _growth(found, real) * real.mean())


def by_no_chance(found: Flags, real: Flags) -> bool:
    """Fisher's exact test of the two counts, one-sided, at CHANCE."""
    expected = min(len(real), int(np.ceil(_growth(found, real) * real.sum())))
    counts = [[found.sum(), (~found).sum()], [expected, len(real) - expected]]
    return bool(fisher_exact(counts, alternative="greater").pvalue < CHANCE)


def counted(found: Flags, name: str) -> str:
    """ "12 of 2,000 generated images are"."""
    count = int(found.sum())
    return f"{count:,} of {len(found):,} {name} images {'is' if count == 1 else 'are'}"


def _growth(found: Flags, real: Flags) -> float:
    """Of more images a larger share has another that is the same, at most in proportion."""
    return max(1.0, len(found) / len(real))
