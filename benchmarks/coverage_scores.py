"""How often the intervals of the metrics that have to be asked for hold what they should.

    python benchmarks/coverage_scores.py --draws 400 --images 500

Features are rectified mixtures of normal numbers, as networks give them, 64 of them, and 1,280 for
those that may have fewer images than features. What should be held is the distribution's own value
for the unbiased metrics, and the mean of all draws at this count for the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from safelight.evaluation.diversity import pairwise
from safelight.evaluation.estimate import Interval
from safelight.evaluation.inception_score import inception_score
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.kernels import ENERGY, GAUSSIAN
from safelight.evaluation.network import Head
from safelight.evaluation.sliced import sliced_wasserstein
from safelight.evaluation.vendi import vendi

MANY = 10_000  # images a side behind the values of the unbiased metrics
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


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--draws", type=int, default=400)
    options.add_argument("--images", type=int, default=500)
    given = options.parse_args()
    alike, apart = partial(two, 0.0), partial(two, 0.1)
    gaussian = partial(kernel_distance, kernel=GAUSSIAN)
    energy = partial(kernel_distance, kernel=ENERGY)
    single, wide = partial(one, 64), partial(one, 1280)
    table: dict[str, tuple[Callable[..., Interval], Callable[[int, int], Sides], str]] = {
        "mmd, sides alike": (gaussian, alike, "zero"),
        "mmd, sides apart": (gaussian, apart, "many"),
        "energy distance, sides alike": (energy, alike, "zero"),
        "energy distance, sides apart": (energy, apart, "many"),
        "swd, sides alike": (sliced_wasserstein, alike, "mean"),
        "swd, sides apart": (sliced_wasserstein, apart, "mean"),
        "is, 10 classes": (partial(inception_score, head=head(10)), single, "mean"),
        "is, 200 classes": (partial(inception_score, head=head(200)), single, "mean"),
        "vendi, 64 features": (vendi, single, "mean"),
        "vendi, 1,280 features": (vendi, wide, "mean"),
        "pairs, 64 features": (pairwise, single, "many"),
        "pairs, 1,280 features": (pairwise, wide, "many"),
    }
    for name, (measure, draw, wanted) in table.items():
        found = [measure(*draw(given.images, seed)) for seed in range(given.draws)]
        values = np.array([each.value for each in found])
        truth = {
            "zero": lambda: 0.0,
            "mean": values.mean,
            "many": lambda measure=measure, draw=draw: measure(*draw(MANY, 10**6)).value,
        }[wanted]()
        held = np.mean([each.low <= truth <= each.high for each in found])
        width = np.mean([each.high - each.low for each in found]) / (2 * 1.96 * values.std())
        print(f"| {name} | {held:.1%} | {width:.2f} |", flush=True)


if __name__ == "__main__":
    main()
