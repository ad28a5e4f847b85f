"""Chosen classes of a data set, end to end: cats alone, then cats and frogs.

    python benchmarks/cats.py CIFAR10.zip --budget 10m --out OUT

Prepares, trains, samples into class folders, evaluates and reports each. Prints JSON: the sampled
files in each class folder, and every estimate with its interval and floor.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import safelight

CHOICES = {"cats": ("cat",), "cats-and-frogs": ("cat", "frog")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--n", type=int, default=1_000, help="images to evaluate")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = {}
    for name, classes in CHOICES.items():
        folder = options.out / name
        cache = safelight.prepare(options.source, classes=classes, out=folder / "cache")
        run = safelight.train(cache, out=folder / "run", budget=options.budget)
        samples = safelight.sample(run.path, n=32)
        judged = safelight.evaluate(run.path, metrics=("kid",), n=options.n)
        safelight.report(run.path)
        found[name] = {
            "training_images": cache.subset("train").count,
            "steps": run.summary.steps,
            "images_per_second": round(run.summary.images_per_second),
            "sampled": {place: len(list((samples / place).glob("*.png"))) for place in classes},
            "estimates": [str(estimate) for estimate in judged.estimates],
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
