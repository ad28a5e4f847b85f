"""False alarms: what the guards say of real images against real images, where nothing is wrong.

    python benchmarks/guards.py CACHE... [--draws 5] [--out guards.json]

Of each cache with a train and a test split: training against test pictures, one half of the test
pictures against the other (with the training pictures known), and every class against every other,
as far as there are images, at each of COUNTS, `draws` times each. Prints, for each cache and each
guard, in how many of how many comparisons it had something to say.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from safelight.data.cache import Cache
from safelight.data.places import user_cache
from safelight.evaluation.evidence import Evidence, Looks
from safelight.evaluation.guards import GUARDS, findings
from safelight.evaluation.plan import Side
from safelight.evaluation.signature import Signatures, signature
from safelight.evaluation.store import features_of
from safelight.files import write_json

COUNTS = (50, 200, 1_000, 2_000)


@dataclass(frozen=True)
class Part:
    """A split under another name, or one of its classes: all that a guard asks of a source."""

    name: str
    whole: Cache
    classes: tuple[str, ...]
    count: int | None = None

    @property
    def fingerprint(self) -> str:
        return f"{self.name} of {self.whole.fingerprint}"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.whole.shape

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        return self.whole.images(seeds)

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        labels = self.whole.labels(seeds)
        return labels if len(self.classes) > 1 or labels is None else labels * 0


class Looked:
    """A split and all of its signatures."""

    def __init__(self, path: Path, split: str) -> None:
        self.cache = Cache.open(path, split)
        (kept,) = features_of(
            self.cache, range(self.cache.count), [signature()], user_cache(), batch=64
        )
        self.rows = kept[: self.cache.count]
        labels = self.cache.labels(range(self.cache.count))
        self.labels = np.zeros(self.cache.count) if labels is None else labels.numpy()

    def some(self, name: str, rows: np.ndarray, of_class: str = "") -> Looks:
        classes = (of_class,) if of_class else self.cache.classes
        side = Side(Part(name, self.cache, classes), rows.tolist())
        return Looks(side, Signatures(self.rows[rows]))

    @property
    def all(self) -> Looks:
        return Looks(Side(self.cache, range(self.cache.count)), Signatures(self.rows))


def comparisons(path: Path, draws: int) -> Iterator[tuple[str, Evidence]]:
    """What is compared, and the evidence; all of real pictures."""
    train, test = Looked(path, "train"), Looked(path, "test")
    for draw, n in itertools.product(range(draws), COUNTS):
        rng = np.random.default_rng([draw, n])
        seen, held_out = rng.permutation(train.cache.count), rng.permutation(test.cache.count)
        if n <= min(len(seen), len(held_out)):
            sides = train.some("first", seen[:n]), test.some("second", held_out[:n])
            yield "train, test", Evidence(*sides, None)
        if 2 * n <= len(held_out):
            halves = test.some("first", held_out[:n]), test.some("second", held_out[n : 2 * n])
            yield "test, test", Evidence(*halves, train.all)
        names = train.cache.classes
        for a, b in itertools.permutations(range(len(names)), 2):
            of_a, of_b = (seen[train.labels[seen] == each][:n] for each in (a, b))
            if min(len(of_a), len(of_b)) == n:
                classes = train.some("first", of_a, names[a]), train.some("second", of_b, names[b])
                yield "class, class", Evidence(*classes, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("caches", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("guards.json"))
    options = parser.parse_args()
    rows = []
    for path in options.caches:
        made: Counter[str] = Counter()
        alarms: Counter[tuple[str, str]] = Counter()
        for what, evidence in comparisons(path, options.draws):
            made[what] += 1
            for finding in findings(evidence):
                alarms[what, finding.guard] += 1
                print(f"{path.name} ({what}, n = {len(evidence.generated)}): {finding.text}")
        for what, count in made.items():
            said = {guard: alarms[what, guard] for guard in GUARDS if alarms[what, guard]}
            rows.append({"cache": path.name, "what": what, "comparisons": count, "alarms": said})
            print(f"{path.name}: {what}: {count} comparisons; {said or 'no alarm'}", flush=True)
        write_json(options.out, rows)


if __name__ == "__main__":
    main()
