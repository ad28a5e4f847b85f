"""How many images of a side there are of a kind, and whether that is more than of real ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

CHANCE = 1e-3  # how probable what a test finds may be, were both sides alike
TIMES = 2  # as often as among real images: what real sets have too is no fault of the generated
Flags = NDArray[np.bool_]  # (n,): which images are of the kind


def more_often(found: Flags, real: Flags, growth: float = 1.0) -> bool:
    """Whether there are any, and over TIMES as often as among real ones.

    growth: how much larger the share of real ones would be, were they as many as the others.
    """
    return bool(found.any() and found.mean() > TIMES * growth * real.mean())


def by_no_chance(found: Flags, real: Flags, growth: float = 1.0) -> bool:
    """Fisher's exact test of the two counts, one-sided, at CHANCE; growth as in `more_often`."""
    expected = min(len(real), int(np.ceil(growth * real.sum())))
    counts = [[found.sum(), (~found).sum()], [expected, len(real) - expected]]
    return bool(fisher_exact(counts, alternative="greater").pvalue < CHANCE)


def counted(found: Flags, name: str) -> str:
    """ "12 of 2,000 generated images are"."""
    count = int(found.sum())
    return f"{count:,} of {len(found):,} {name} images {'is' if count == 1 else 'are'}"
