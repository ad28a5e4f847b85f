"""The Fréchet distance of two Gaussians against `scipy.linalg.sqrtm` of their covariances' product.

    python benchmarks/frechet.py [--dimension 2048] [--rows 6000] [--repeats 3]

Both in one process, alternately, with the same threads. Prints JSON. The bars: at least 6 times
faster (the median of the ratios), and equal to 1e-8.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from scipy.linalg import sqrtm

from safelight.evaluation.frechet import frechet_distance
from safelight.evaluation.moments import Moments, moments


def features(rows: int, dimension: int, seed: int, shift: float) -> np.ndarray:
    """Correlated and rectified, as networks give them: (rows, dimension) float32."""
    mixing = np.random.default_rng(99).standard_normal((dimension, dimension)) / dimension**0.5
    drawn = np.random.default_rng(seed).standard_normal((rows, dimension)) @ mixing
    return np.maximum(drawn + shift, 0).astype(np.float32)


def by_square_root(first: Moments, second: Moments) -> float:
    """As pytorch-fid and clean-fid take it."""
    difference = first.mean - second.mean
    root = sqrtm(first.covariance @ second.covariance).real
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return float(difference @ difference + traces - 2 * np.trace(root))


def timed(distance: Callable[[Moments, Moments], float], *sides: Moments) -> tuple[float, float]:
    began = time.perf_counter()
    value = distance(*sides)
    return value, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimension", type=int, default=2_048)
    parser.add_argument("--rows", type=int, default=6_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    drawn = ((1, 0.4), (2, 0.3))
    sides = [moments(features(options.rows, options.dimension, *each)) for each in drawn]
    small = [moments(features(200, 64, *each)) for each in drawn]
    ours, theirs = [], []
    for distance in (frechet_distance, by_square_root):
        distance(*small)  # sets the libraries up
    for _ in range(options.repeats):
        ours.append(timed(frechet_distance, *sides))
        theirs.append(timed(by_square_root, *sides))
    ratios = [t / o for (_, o), (_, t) in zip(ours, theirs, strict=True)]
    found = {
        "dimension": options.dimension,
        "value": ours[0][0],
        "relative_error": abs(ours[0][0] / theirs[0][0] - 1),
        "seconds": round(median(seconds for _, seconds in ours), 2),
        "sqrtm_seconds": round(median(seconds for _, seconds in theirs), 2),
        "times_faster": [round(ratio, 1) for ratio in ratios],
        "median_times_faster": round(median(ratios), 1),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
