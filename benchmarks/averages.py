"""KID against the width of the average that draws, and how near the averages are that are made.

    python benchmarks/averages.py RUN [--widths 0.02 0.03 0.05 0.07 0.1 0.15 0.2 0.25] [--n 2000]
        [--features efficientnet-lite0] [--against validation] [--budget 2000steps]

RUN: a trained run. Each width, and the raw weights, by the same seeds against the same real images,
a split of the run's data, with intervals. Then its configuration is trained anew, for the steps of
--budget, with an average of each width kept beside: the distance of what is made from that, as a
share of that one's distance from the last weights. "none" leaves this out. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from safelight.console import results
from safelight.errors import UserError
from safelight.evaluation.evaluate import evaluate
from safelight.training.ema import PowerAverage
from safelight.training.run import Run
from safelight.training.train import train
from safelight.training.trainer import Trainer

WIDTHS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25)
Weights = Mapping[str, Tensor]


def curve(run: Run, words: Sequence[str], features: str, against: str, n: int) -> list[Any]:
    real = run.cache().subset(against)
    rows = []
    for word in words:
        source = run.source(weights=word)
        (kid,) = evaluate(
            source, real, pool=None, features=features, metrics=("kid",), n=n
        ).estimates
        rows.append({"weights": word, "kid": kid.value, "low": kid.low, "high": kid.high})
    return rows


def apart(one: Weights, other: Weights) -> float:
    parts = [(one[name].double() - other[name].double()).norm() for name in one]
    return float(torch.stack(parts).norm())


def errors(run: Run, widths: Sequence[float], out: Path) -> list[Any]:
    """Trains `run`'s configuration anew, into `out`."""
    held: dict[float, PowerAverage] = {}
    advance = Trainer.advance

    def keeping(self: Trainer) -> dict[str, float]:
        if self.step == 0:
            held.update({width: PowerAverage(self.learner.model, width) for width in widths})
        losses = advance(self)
        for average in held.values():
            average.update(self.learner.model, self.step)
        return losses

    Trainer.advance = keeping  # type: ignore[method-assign]
    again = train(run.cache(), run.config, out)
    last, rows = again.checkpoint().weights("raw"), []
    for width, average in held.items():
        try:
            made = again.model(again.checkpoint(), f"{width:g}")[0].state_dict()
        except UserError as error:
            rows.append({"width": width, "refused": str(error)})
            continue
        error, distance = apart(made, average.weights), apart(average.weights, last)
        rows.append({"width": width, "error": error / distance, "distance": distance})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--widths", type=float, nargs="+", default=WIDTHS)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--features", default="efficientnet-lite0")
    parser.add_argument("--against", default="validation")
    parser.add_argument("--budget", default="2000steps")
    options = parser.parse_args()
    results.quiet = True  # of what `train` says: JSON alone is printed
    run = Run.open(options.run)
    words = [*(f"{width:g}" for width in options.widths), "raw"]
    found: dict[str, Any] = {"run": run.name, "steps": run.summary.steps, "n": options.n}
    found["kid"] = curve(run, words, options.features, options.against, options.n)
    if options.budget != "none":
        watch = run.config.watch.model_copy(update={"evaluate_every": 0, "tensorboard": False})
        config = run.config.model_copy(update={"budget": options.budget, "watch": watch})
        shorter = Run(run.path, run.file.model_copy(update={"config": config}))
        with tempfile.TemporaryDirectory() as scratch:
            found["made"] = errors(shorter, options.widths, Path(scratch) / "run")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
