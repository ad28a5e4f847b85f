"""How often the intervals of the metrics that have to be asked for hold what they should.

    python benchmarks/coverage_scores.py --draws 400 --images 500

Features are rectified mixtures of normal numbers, as networks give them, 64 of them, and 1,280 for
those that may have fewer images than features. What should be held is zero for the unbiased
distances of sides that are alike, and the mean of all draws at this count for the others. Printed
are the share of draws whose interval holds it, and the mean width over that of 1.96 deviations of
the draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from safelight.evaluation.diversity import pairwise
from safelight.evaluation.estimate import Interval, Z
from safelight.evaluation.inception_score import inception_score
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.kernels import ENERGY, GAUSSIAN
from safelight.evaluation.network import Head
from safelight.evaluation.sliced import sliced_wasserstein
from safelight.evaluation.vendi import vendi

Sides = tuple[np.ndarray, ...]


@cache
def mixing(d: int) -> np.ndarray:
    return np.random.default_rng(99).standard_normal((d, d)) / np.sqrt(d)


def rows(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((n, d)) @ mixing(d)
    return np.maximum(drawn + shift + 0.3, 0).astype(np.float32)


def one(d: int, n: int, seed: int) -> Sides:
    return (rows(n, d, seed),)


def two(shift: float, n: int, seed: int) -> Sides:
    return rows(n, 64, 2 * seed, shift), rows(n, 64, 2 * seed + 1)


def head(classes: int) -> Head:
    rng = np.random.default_rng(3)
    return Head(rng.standard_normal((classes, 64)), np.zeros(classes))


Case = tuple[Callable[..., Interval], Callable[[int, int], Sides], float | None]


def cases() -> dict[str, Case]:
    """How a metric is measured, of what, and the distribution's own value where it is known."""
    alike, apart = partial(two, 0.0), partial(two, 0.1)
    single, wide = partial(one, 64), partial(one, 1280)
    gaussian = partial(kernel_distance, kernel=GAUSSIAN)
    energy = partial(kernel_distance, kernel=ENERGY)
    return {
        "mmd, sides alike": (gaussian, alike, 0.0),
        "mmd, sides apart": (gaussian, apart, None),
        "energy distance, sides alike": (energy, alike, 0.0),
        "energy distance, sides apart": (energy, apart, None),
        "swd, sides alike": (sliced_wasserstein, alike, None),
        "swd, sides apart": (sliced_wasserstein, apart, None),
        "is, 10 classes": (partial(inception_score, head=head(10)), single, None),
        "is, 200 classes": (partial(inception_score, head=head(200)), single, None),
        "vendi, 64 features": (vendi, single, None),
        "vendi, 1,280 features": (vendi, wide, None),
        "pairs, 64 features": (pairwise, single, None),
        "pairs, 1,280 features": (pairwise, wide, None),
    }


def line(name: str, case: Case, images: int, draws: int) -> str:
    """The metric, how often its interval holds what it should, and how wide it is."""
    measure, draw, truth = case
    found = [measure(*draw(images, seed)) for seed in range(draws)]
    values = np.array([each.value for each in found])
    wanted = values.mean() if truth is None else truth
    held = np.mean([each.low <= wanted <= each.high for each in found])
    width = np.mean([each.high - each.low for each in found]) / (2 * Z * values.std())
    return f"| {name} | {held:.1%} | {width:.2f} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--draws", type=int, default=400)
    options.add_argument("--images", type=int, default=500)
    given = options.parse_args()
    for name, case in cases().items():
        print(line(name, case, given.images, given.draws), flush=True)


if __name__ == "__main__":
    main()
