"""Every recipe on one data set with one network, each trained for the same time.

    python benchmarks/recipes.py mnist --budget 10m --n 1000 --out OUT

For each recipe: KID with its interval and floor, the share recognised, and the seconds that 1,000
images take. What is trained and judged is kept in OUT: the same command again goes on. The times
are measured at its end; those, and a budget of time, want a quiet machine. Prints JSON, and the
table for the documentation on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from functools import partial
from pathlib import Path

from kept import Row, Rows, evaluations, seconds

import safelight
from safelight import Sampling
from safelight.config import Diffusion
from safelight.data.cache import Cache
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.presets import RECIPES, fitting
from safelight.sources import sibling
from safelight.training.run import Run
from safelight.training.source import DiffusionSource

FEW = Sampling()
# 5 iterations at each of 232 levels, as usual, would take an hour.
LANGEVIN = Sampling(sampler="langevin", steps=60, inner=3)
LEARNED = Sampling(sampler="ddpm", steps=50, variance="learned")
ANCESTRAL = Sampling(sampler="ddpm", steps=50)  # to be compared with that
# Lower than flow matching trains: what it is worth that sampling ends where training did.
LOWER = Sampling(lowest=0.002)
# What a weak model needs.
STRONG = Sampling(guidance=3)
# All others by FEW alone.
SAMPLINGS = {
    "smld": (LANGEVIN, FEW),
    "improved-ddpm": (FEW, LEARNED),
    "flow": (FEW, LOWER, ANCESTRAL),
    "mmd": (FEW, STRONG),
}
# What no recipe has.
FURTHER = {
    "flow-uniform": Diffusion(times="uniform"),
    "mmd": Diffusion(objective="mmd"),
    "denoising+mmd": Diffusion(objective="denoising+mmd"),
}


def trained(cache: Cache, recipe: str, budget: str, out: Path) -> Run:
    _, config = fitting(cache.shape)
    config = config.model_copy(update={"diffusion": {**RECIPES, **FURTHER}[recipe]})
    return safelight.train(cache, config=config, budget=budget, out=out / recipe)


def measure(run: Run, source: DiffusionSource, n: int) -> Row:
    real = run.cache().subset("test")
    train = sibling(real, "train")
    found = evaluate(source, real, pool=train, train=train, metrics=("kid", "accuracy"), n=n)
    return {
        "recipe": run.name,
        "drawn": found.drawn,
        "evaluations": evaluations(source),
        "steps": run.summary.steps,
        "estimates": [estimate.to_json() for estimate in found.estimates],
    }


def table(rows: list[Row]) -> str:
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
    parser.add_argument("--recipes", nargs="+", default=[*RECIPES, *FURTHER])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    kept, n, sources, rows = Rows(options.out / "recipes.json"), options.n, [], []
    with contextlib.redirect_stdout(sys.stderr):  # what the commands say goes beside the JSON
        cache = safelight.prepare(options.data, out=options.out / "cache")
        for recipe in options.recipes:
            run = trained(cache, recipe, options.budget, options.out)
            for source in run.sources(SAMPLINGS.get(recipe, (FEW,))):
                rows.append(kept.get(source, n, partial(measure, run, source, n)))
                sources.append(source)
    times = [{"seconds for 1,000": time} for time in seconds(sources)]
    rows = [{**row, **time} for row, time in zip(rows, times, strict=True)]
    print(json.dumps(rows, indent=2))
    print(table(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
