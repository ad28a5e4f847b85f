"""Every recipe on one data set with one network, each trained for the same time.

    python benchmarks/recipes.py mnist --budget 10m --n 1000 --out OUT

Measure on a quiet machine. For each recipe: KID with its interval and floor, the share recognised,
and the seconds that 1,000 images take. What is trained and measured is kept in OUT: the same
command again goes on. Prints JSON, and the table for the documentation on standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from timed import Timed

import safelight
from safelight import Sampling
from safelight.config import RECIPES
from safelight.data.cache import Cache
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.sources import sibling
from safelight.training.run import Run
from safelight.verbs import auto_config

FEW = Sampling()
# 5 iterations at each of 232 levels, as usual, would take an hour.
LANGEVIN = Sampling(sampler="langevin", steps=60, inner=3)
SAMPLINGS: dict[str, tuple[Sampling, ...]] = {"smld": (LANGEVIN, FEW)}  # all others by FEW alone


def trained(cache: Cache, recipe: str, budget: str, out: Path) -> Run:
    _, config = auto_config(cache)
    config = config.model_copy(update={"diffusion": RECIPES[recipe]})
    return safelight.train(cache, config=config, budget=budget, out=out / recipe)


def measure(run: Run, sampling: Sampling, n: int) -> dict[str, Any]:
    source = Timed(run.source(sampling))
    real = run.cache().subset("test")
    train = sibling(real, "train")
    metrics = ("kid", "accuracy")
    found = evaluate(source, real, pool=train, train=train, metrics=metrics, n=n)  # type: ignore[arg-type]
    return {
        "recipe": run.name,
        "sampling": sampling.changes(),
        "drawn": found.drawn,
        "evaluations": source.calls,
        "seconds for 1,000": round(source.seconds * 1000 / n, 1),
        "steps": run.summary.steps,
        "estimates": [estimate.to_json() for estimate in found.estimates],
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| recipe | sampler | KID [95 %] | recognised [95 %] | s for 1,000 | training steps |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        shown = []
        for estimate in map(Estimate.from_json, row["estimates"]):
            value, low, high = map(estimate.show, (estimate.value, estimate.low, estimate.high))
            shown.append(f"{value} [{low}, {high}]")
        cells = (row["recipe"], row["drawn"], *shown, row["seconds for 1,000"], f"{row['steps']:,}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--n", type=int, default=1_000, help="images of each")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cache = safelight.prepare(options.data, out=options.out / "cache")
    file = options.out / "recipes.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    for recipe in options.recipes:
        run = trained(cache, recipe, options.budget, options.out)
        for sampling in SAMPLINGS.get(recipe, (FEW,)):
            if any((r["recipe"], r["sampling"]) == (recipe, sampling.changes()) for r in rows):
                continue
            rows.append(measure(run, sampling, options.n))
            file.write_text(json.dumps(rows, indent=1))
    print(json.dumps(rows, indent=2))
    print(table(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
