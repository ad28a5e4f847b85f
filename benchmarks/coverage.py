"""How often a 95 % interval holds what it is to hold: a simulation with known truth.

    python benchmarks/coverage.py [--n 500 2000] [--dimension 64 1280] [--sides same apart]
        [--metrics kid accuracy precision recall density coverage fd] [--draws 400] --out FOLDER

Each draw makes two sides of n features and asks each metric for its interval. The truth is
    kid       0 for sides of one distribution, otherwise the mean of all draws (it has no bias),
    accuracy  0.9, the share by which hits are drawn,
    others    the mean of all draws: the estimator's own mean at this n.
Prints JSON and a table as in docs/metrics.md. Every draw is kept in FOLDER, one file for each case,
so that a run that was stopped goes on, and parts of it can be run one by one; begin in an empty
folder when a method has changed. The bar: 92 % to 98 %.
A draw of n = 2,000 with d = 1,280 takes some 10 seconds for fd, and 3 for all others together.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safelight.evaluation.accuracy import tally
from safelight.evaluation.estimate import Interval
from safelight.evaluation.frechet import frechet
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.manifold import coverage, density, precision, recall
from safelight.files import write_json

RIGHT = 0.9  # the share of images that the classifier takes for their class
SIDES = {"same": (0.0, 1.0), "apart": (0.1, 0.95)}  # shift and scale of the generated side
EVERY = 10  # draws between two writes

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]  # generated, reference, hits


def hits(n: int, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(n) < RIGHT).astype(np.int64)


METRICS: dict[str, Callable[[Drawn], Interval]] = {
    "kid": lambda drawn: kernel_distance(*drawn[:2]),
    "accuracy": lambda drawn: tally(drawn[2], np.ones_like(drawn[2]), 2).share(),
    "precision": lambda drawn: precision(*drawn[:2]),
    "recall": lambda drawn: recall(*drawn[:2]),
    "density": lambda drawn: density(*drawn[:2]),
    "coverage": lambda drawn: coverage(*drawn[:2]),
    "fd": lambda drawn: frechet(*drawn[:2]),
}


@functools.cache
def mixing(d: int) -> np.ndarray:
    """(d, d): independent numbers become correlated ones, the variances of whose principal parts
    fall as 1, 1/2, 1/3, ...; each has the variance 1 on average."""
    rng = np.random.default_rng(d)
    deviations = np.arange(1, d + 1) ** -0.5
    deviations *= np.sqrt(d / (deviations**2).sum())
    return deviations[:, None] * np.linalg.qr(rng.standard_normal((d, d)))[0]


def features(n: int, d: int, rng: np.random.Generator, shift: float, scale: float) -> np.ndarray:
    """Correlated and rectified, as networks give them, (n, d) float32."""
    normal = rng.standard_normal((n, d)) @ mixing(d)
    return np.maximum(normal * scale + shift + 0.3, 0.0).astype(np.float32)


@dataclass(frozen=True)
class Case:
    metric: str
    n: int
    d: int
    sides: str

    @property
    def possible(self) -> bool:
        return self.metric != "fd" or self.n > self.d

    @property
    def name(self) -> str:
        return f"{self.metric}-{self.sides}-{self.n}-{self.d}"

    def read(self, folder: Path) -> list[list[float]]:
        file = folder / f"{self.name}.json"
        return json.loads(file.read_text()) if file.exists() else []

    def draw(self, number: int) -> Drawn:
        """The same for every metric."""
        rng = np.random.default_rng([number, self.n, self.d, list(SIDES).index(self.sides)])
        generated = features(self.n, self.d, rng, *SIDES[self.sides])
        return generated, features(self.n, self.d, rng, 0.0, 1.0), hits(self.n, rng)

    def truth(self, values: np.ndarray) -> float:
        known = {"accuracy": RIGHT} | ({"kid": 0.0} if self.sides == "same" else {})
        return known.get(self.metric, float(values.mean()))


def measure(cases: Iterable[Case], draws: int, folder: Path) -> None:
    """Go on with cases of the same n, d and sides up to so many draws."""
    held = {case: case.read(folder) for case in cases}
    for number in range(min(map(len, held.values())), draws):
        wanting = [case for case, rows in held.items() if len(rows) == number]
        drawn = wanting[0].draw(number)
        for case in wanting:
            found = METRICS[case.metric](drawn)
            held[case].append([found.value, found.low, found.high])
            if len(held[case]) % EVERY == 0 or len(held[case]) == draws:
                write_json(folder / f"{case.name}.json", held[case])


def summary(case: Case, rows: list[list[float]]) -> dict[str, float]:
    """width: half the mean interval over 1.96 times the deviation of the values."""
    values, low, high = np.array(rows).T
    truth = case.truth(values)
    return {
        "draws": len(rows),
        "truth": truth,
        "covered": float(((low <= truth) & (truth <= high)).mean()),
        "truth below": float((truth < low).mean()),
        "truth above": float((truth > high).mean()),
        "width": float((high - low).mean() / (2 * 1.96 * values.std())),
    }


def show(case: Case, found: dict[str, float]) -> str:
    return (
        f"| {case.metric} | {case.sides} | {case.n:,} | {case.d:,} | {found['draws']} | "
        f"{found['truth']:.4g} | {found['covered']:.1%} | {found['truth below']:.1%}, "
        f"{found['truth above']:.1%} | {found['width']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--dimension", type=int, nargs="+", default=[64, 1280])
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), choices=METRICS)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    table: list[tuple[Case, dict[str, float]]] = []
    for d, n, sides in itertools.product(chosen.dimension, chosen.n, chosen.sides):
        cases = [Case(metric, n, d, sides) for metric in chosen.metrics]
        cases = [case for case in cases if case.possible]
        if not cases:
            continue
        measure(cases, chosen.draws, chosen.out)
        table += [(case, summary(case, case.read(chosen.out))) for case in cases]
        print("\n".join(show(*row) for row in table[-len(cases) :]), flush=True)
    print(json.dumps({case.name: found for case, found in table}, indent=2))
    print("| metric | sides | n | features | draws | truth | held | below, above | width |")
    print("\n".join(["|---|---|---|---|---|---|---|---|---|", *(show(*row) for row in table)]))


if __name__ == "__main__":
    main()
