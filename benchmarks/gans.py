"""GANs beside diffusion on one data set with classes, each trained for the same time.

    python benchmarks/gans.py CIFAR10.zip --classes cat frog --budget 10m --out OUT

For each preset, and each seed of the recommended one: KID of all classes together and of each by
itself, with intervals and floors; the diversity and distance that training ended with, and whether
it warned. What is trained and judged is kept in OUT: the same command again goes on. A budget of
time wants a quiet machine; `--budgets gan=5200steps dcgan=3000steps` are those of a preset, in the
place of a time. Prints JSON, and the table for the documentation on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from functools import partial
from pathlib import Path

from kept import Row, Rows, pairs

import safelight
from safelight.config import Data
from safelight.data.cache import Cache
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.presets import fitting, preset
from safelight.sources import sibling
from safelight.training.run import Run

RECOMMENDED, SEEDS = "gan", (0, 1, 2)
GANS = ("dcgan", "dcgan-smoothed", "dcgan-noised", "dcgan-wide")
DIFFUSION, UNTOLD = "diffusion", "-untold"  # without classes


def trained(cache: Cache, name: str, seed: int, budget: str, out: Path) -> Run:
    called = name.removesuffix(UNTOLD)
    config = fitting(cache.shape)[1] if name == DIFFUSION else preset(called)
    told = Data(conditional=called == name, flip=False)  # as the figures were measured
    config = config.model_copy(update={"seed": seed, "data": told})
    return safelight.train(cache, config=config, budget=budget, out=out / f"{name}-{seed}")


def measure(run: Run, n: int) -> Row:
    source, real = run.source(), run.cache().subset("test")
    found = evaluate(
        source,
        real,
        pool=sibling(real, "train"),
        metrics=("kid",),
        per_class=bool(source.classes),
        n=n,
    )
    kids = {each.of_class or "all": each.to_json() for each in found.estimates}
    watched = [r for r in run.records("validation") if r["weights"] == "ema"][-1]
    return {
        "run": run.name,
        "parameters": run.summary.parameters,
        "steps": run.summary.steps,
        "images": run.summary.images_seen,
        "kid": kids,
        "watched": {name: watched[name] for name in ("diversity", "distance") if name in watched},
        "warning": run.warning(),
    }


def table(rows: list[Row]) -> str:
    kinds = list(rows[0]["kid"])
    heads = ["run", "steps", *(f"KID [95 %], {kind}" for kind in kinds), "diversity", "distance"]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for row in rows:
        shown = []
        for kind in kinds:
            if kind not in row["kid"]:
                shown.append("")
                continue
            estimate = Estimate.from_json(row["kid"][kind])
            value, low, high = map(estimate.show, (estimate.value, estimate.low, estimate.high))
            shown.append(f"{value} [{low}, {high}]")
        watched = [row["watched"].get(name, "") for name in ("diversity", "distance")]
        cells = (row["run"], f"{row['steps']:,}", *shown, *watched)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--classes", nargs="+", required=True)
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--budgets", nargs="*", default=[], metavar="PRESET=BUDGET")
    parser.add_argument("--n", type=int, default=1_000, help="images of each class")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    kept, rows = Rows(options.out / "gans.json"), []
    n = options.n * len(options.classes)
    wanted = [(RECOMMENDED, seed) for seed in SEEDS]
    wanted += [(name, 0) for name in (*GANS, f"dcgan{UNTOLD}", DIFFUSION)]
    with contextlib.redirect_stdout(sys.stderr):  # what the commands say goes beside the JSON
        cache = safelight.prepare(
            options.source, classes=tuple(options.classes), out=options.out / "cache"
        )
        for name, seed in wanted:
            budget = pairs(options.budgets).get(name, options.budget)
            run = trained(cache, name, seed, budget, options.out)
            rows.append(kept.get(run.source(), n, partial(measure, run, n)))
    print(json.dumps(rows, indent=2))
    print(table(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
