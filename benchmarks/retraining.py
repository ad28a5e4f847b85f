"""How often intervals of the difference of two equally good recipes hold zero:

    python benchmarks/retraining.py

The deviation of retraining is in those of sampling, of whose variance half is the reference's. The
reference moves both recipes alike, or each by itself.
"""

from __future__ import annotations

import math

import numpy as np

from safelight.evaluation.estimate import Estimate, Z
from safelight.evaluation.protocol import Protocol
from safelight.evaluation.retraining import difference

DRAWS, TRAININGS = 4000, 3
HALF = math.sqrt(0.5)
HOW = Protocol("kid", "p", "pixels", 3, "w", "none", "1x8x8", 500, 500, "f", 0)


def estimates(values: np.ndarray) -> list[Estimate]:
    return [Estimate("kid", v, v - Z, v + Z, 500, "m", None, HOW) for v in values]


def held(training: float, alike: bool, trainings: int) -> float:
    """The share of DRAWS intervals that hold zero."""
    rng = np.random.default_rng(7)
    t, g = rng.normal(size=(2, 2, DRAWS, TRAININGS))
    reference = HALF * rng.normal(size=(2, DRAWS, 1))
    values = training * t + HALF * g + (reference[:1] if alike else reference)
    count = 0
    for first, second in zip(*values[:, :, :trainings], strict=True):
        apart = difference(estimates(first), estimates(second))
        count += apart.low <= 0 <= apart.high
    return count / DRAWS


def main() -> None:
    columns = ("three trainings, alike", "each by itself", "one training, alike", "each by itself")
    print(f"| retraining | {' | '.join(columns)} |")
    print("| --- | --- | --- | --- | --- |")
    for training in (0.0, 1.0, 3.0):
        shares = [held(training, alike, k) for k in (TRAININGS, 1) for alike in (True, False)]
        print(f"| {training:g} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |")


if __name__ == "__main__":
    main()
