"""A support-vector classifier of pixels as the judge, with the grid and the counts of a report.

    python benchmarks/svc.py CIFAR10.zip --classes airplane ship deer frog truck --out OUT

Prepares so many pictures of each class, tunes C and gamma by cross-validation on those to train,
and gives the accuracy on them, on the test pictures, and of each class, with intervals; the points
of the grid; and the seconds it took. Prints JSON, and the tables on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import safelight
from safelight.data.cache import Cache
from safelight.evaluation.accuracy import tally
from safelight.evaluation.estimate import Interval
from safelight.evaluation.features import Material
from safelight.evaluation.store import features_of
from safelight.evaluation.support import support_vectors


def measure(cache: Cache, store: Path) -> dict[str, Any]:
    began = time.monotonic()
    train, test = cache.subset("train"), cache.subset("test")
    judge = support_vectors(Material(train.shape, train, store))
    (features,) = features_of(test, range(test.count), [judge.network], store, 256)
    labels = test.labels(range(test.count))
    assert labels is not None
    found = tally(judge.predict(features), labels.numpy(), len(test.classes))
    classes = {name: found.share_of(i) for i, name in enumerate(test.classes)}
    trials = json.loads(next((store / "classifiers").glob("*.json")).read_text())["trials"]
    return {
        "seconds": round(time.monotonic() - began),
        "train": [train.count, shown(judge.own().share())],
        "test": [test.count, shown(found.share())],
        "C": judge.best.C,
        "gamma": judge.best.gamma,
        "classes": {name: shown(share) for name, share in classes.items() if share},
        "seen": np.bincount(labels.numpy()).tolist(),
        "grid": trials,
    }


def shown(share: Interval) -> list[float]:
    return [round(value, 4) for value in (share.value, share.low, share.high)]


def table(row: dict[str, Any]) -> str:
    lines = ["| images | accuracy [95 %] |", "| --- | --- |"]
    parts = {"what it learnt from": row["train"][1], "test": row["test"][1], **row["classes"]}
    for name, (value, low, high) in parts.items():
        lines.append(f"| {name} | {value:.1%} [{low:.1%}, {high:.1%}] |")
    lines += ["", "| C | gamma | left-out pictures recognised |", "| --- | --- | --- |"]
    for trial in row["grid"]:
        lines.append(f"| {trial['C']:g} | {trial['gamma']:.3g} | {trial['accuracy']:.1%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--per-class", type=int, default=1_000, help="pictures: 80 % are learnt")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # what the commands say goes beside the JSON
        cache = safelight.prepare(
            options.source,
            classes=tuple(options.classes),
            per_class=options.per_class,
            split="80/10/10",
            out=options.out / "cache",
        )
        with TemporaryDirectory(dir=options.out) as store:  # nothing is kept: the time counts
            row = measure(cache, Path(store))
    print(json.dumps(row, indent=2))
    print(table(row), file=sys.stderr)


if __name__ == "__main__":
    main()
