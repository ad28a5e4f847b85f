"""From a data set to judged samples within a budget: how many are recognised as what was asked?

    python benchmarks/recognised.py digits --budget 150s --n 500 --out OUT
    python benchmarks/recognised.py mnist --budget 15m --n 2000 --out OUT
    python benchmarks/recognised.py mnist --preset transformer --n 2000 --out OUT

Measure on a quiet machine. Prints JSON: the share recognised with its interval, the classifier's
own accuracy on real held-out images, KID with its interval and floor, and the time of each part.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import safelight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--n", type=int, default=2_000)
    parser.add_argument("--features", default="efficientnet-lite0", help="network for KID")
    parser.add_argument("--split")
    parser.add_argument("--size", type=int)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # what the commands say goes beside the JSON
        found = measure(options)
    print(json.dumps(found, indent=2))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def lap(name: str) -> None:
        nonlocal began
        seconds[name], began = round(time.monotonic() - began, 1), time.monotonic()

    cache = safelight.prepare(
        options.data, size=options.size, split=options.split, out=options.out / "cache"
    )
    lap("prepare")
    run = safelight.train(
        cache.path, out=options.out / "run", budget=options.budget, preset=options.preset
    )
    lap("train")
    found = safelight.evaluate(run.path, features=options.features, metrics=("kid",), n=options.n)
    lap("sample, and evaluate KID")
    judged = safelight.evaluate(run.path, features="classifier", metrics=("accuracy",), n=options.n)
    lap("sample again, and recognise")
    safelight.report(run.path)
    lap("report")
    estimates = [*found.to_json()["estimates"], *judged.to_json()["estimates"]]
    keys = ("name", "value", "low", "high", "n", "floor")
    return {
        "estimates": [{key: e[key] for key in keys} for e in estimates],
        "seconds": seconds,
        "training_images_per_second": round(run.summary.images_per_second),
        "parameters": run.summary.parameters,
    }


if __name__ == "__main__":
    main()
