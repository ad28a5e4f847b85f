"""Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et
al. 2020, arXiv:2002.09797) of two feature sets.

With B_k(z) the ball around z that reaches to its k-th nearest neighbour on its own side,
    precision = share of generated x in some B_3(y), y real           (closed balls)
    recall    = share of real y in some B_3(x), x generated           (closed balls)
    density   = mean over generated x of |{real y: x in B_5(y)}| / 5  (open balls)
    coverage  = share of real y whose B_5(y) holds a generated x      (open balls).
k and the edges are those of the papers and of their authors' code.

The interval. The images of one side are judged by balls that are themselves random, so that a
share's variance is above the binomial one. Halves of the images tell by how much: two halves of
both sides are two independent samples, so of a statistic T with variance V / n,
    E (T_A - T_B)² / 4 = (V / (n/2) + V / (n/2)) / 4 = V / n,
however far it is from a sum over images (deleting one image at a time gives too much: an image
moves the balls of its neighbours). It is averaged over HALVINGS random divisions, which makes it a
variance of as many degrees of freedom, and set against that of as many independent images, within
the same halves: the design effect (Kish 1965). A share's interval is Wilson's of n / effect images;
a density's is normal. Both have Student's quantile in place of the normal one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from safelight.errors import TooFewImages
from safelight.evaluation.accuracy import wilson
from safelight.evaluation.balls import AT_MOST, HALVINGS, Flags, inside
from safelight.evaluation.estimate import Interval, Z, normal_interval
from safelight.evaluation.moments import Features, Floats

K_SHARES = 3  # of precision and recall
K_COUNTS = 5  # of density and coverage
FEWEST = 50  # images a side: below, the intervals hold too seldom
WIDER = (float(student.ppf(0.975, HALVINGS)) / Z) ** 2  # of a variance that is seen by the halves

_DISTANCES = f"Euclidean distances in float64, at most {AT_MOST:,} images a side, drawn at random"
PARAMETERS_SHARES = f"k = {K_SHARES}, closed balls, {_DISTANCES}"
PARAMETERS_COUNTS = f"k = {K_COUNTS}, open balls, {_DISTANCES}"
_COVERS = "covers the sampling of images of both sides at these counts, not retraining"
_VARIANCE = f"variance from {HALVINGS} random divisions of both sides into halves"
METHOD_SHARE = f"Wilson score interval of the effective number of images, {_VARIANCE}; {_COVERS}"
METHOD_MEAN = f"normal, {_VARIANCE}; {_COVERS}"


def precision(generated: Features, reference: Features) -> Interval:
    """Which share of generated images lies among the real ones. Raises TooFewImages."""
    require_enough(len(generated), len(reference))
    found = inside(generated, reference, K_SHARES, closed=True)
    return share(found.of_points > 0, found.halves_points, least_effect=1.0)


def recall(generated: Features, reference: Features) -> Interval:
    """Which share of real images lies among the generated ones. Raises TooFewImages."""
    require_enough(len(generated), len(reference))
    return precision(reference, generated)


def density(generated: Features, reference: Features) -> Interval:
    """How many real images' balls hold a generated image, of K_COUNTS; 1 on average for two sides
    of one distribution, and more where the generated ones crowd. Raises TooFewImages."""
    require_enough(len(generated), len(reference))
    found = inside(generated, reference, K_COUNTS, closed=False)
    counts = found.of_points / K_COUNTS
    m = counts.shape[1]
    variance = counts[0].var(ddof=1) / m * effect(counts, found.halves_points)
    # Where no image lies in a ball no variance is seen: as much room above as Wilson leaves.
    return normal_interval(
        float(counts[0].mean()), max(variance, (Z / (K_COUNTS * m)) ** 2), at_least=0.0
    )


def coverage(generated: Features, reference: Features) -> Interval:
    """Of which share of real images there is a generated one nearby. Raises TooFewImages."""
    require_enough(len(generated), len(reference))
    found = inside(generated, reference, K_COUNTS, closed=False)
    return share(found.of_centres > 0, found.halves_centres)


def share(hits: Flags, halves: Flags, least_effect: float = 0.0) -> Interval:
    """Of hits (1 + HALVINGS, n), as in `Inside`: the share in the whole, with its interval.

    least_effect: the design effect that is known to be the least. Of precision and recall it is 1:
    given the balls, images are hit independently with a probability p, so that the variance is
    E p (1 - p) / n + Var p, which is no less than E p (1 - E p) / n.
    """
    value, n = float(hits[0].mean()), hits.shape[1]
    effective = n / max(effect(hits.astype(np.float64), halves), least_effect)
    return replace(wilson(value * effective, effective), value=value)  # but for rounding it is


def effect(values: Floats, halves: Flags) -> float:
    """The design effect of the mean of values[0], (n,): its variance over that of as many
    independent values, by the halves, values[1:], times WIDER. 1 where nothing in them differs."""
    n, moments = values.shape[1], []
    for side in (halves[1:], ~halves[1:]):
        count = side.sum(axis=1)
        mean = (values[1:] * side).sum(axis=1) / count
        squares = (values[1:] ** 2 * side).sum(axis=1) / count
        moments.append((mean, (squares - mean**2) * count / (count - 1)))
    (a, spread_a), (b, spread_b) = moments
    independent = float((spread_a + spread_b).mean()) / 2 / n
    variance = float(((a - b) ** 2).mean()) / 4
    return WIDER * variance / independent if variance and independent else 1.0


def require_enough(generated: int, reference: int, dimension: int = 0) -> None:
    """Raise TooFewImages below FEWEST images a side; the features' dimension does not matter."""
    if min(generated, reference) < FEWEST:
        raise TooFewImages(
            f"precision, recall, density and coverage need at least {FEWEST} images on each side, "
            f"got {generated} generated and {reference} reference images; give more images"
        )


ROWS: tuple[tuple[str, str, str, Callable[[Features, Features], Interval]], ...] = (
    # of METRICS: name, parameters, the interval's method, the measure
    ("precision", PARAMETERS_SHARES, METHOD_SHARE, precision),
    ("recall", PARAMETERS_SHARES, METHOD_SHARE, recall),
    ("density", PARAMETERS_COUNTS, METHOD_MEAN, density),
    ("coverage", PARAMETERS_COUNTS, METHOD_SHARE, coverage),
)
