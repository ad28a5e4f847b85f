"""Does the test for copies tell copying from learning, and hold its level?

    python benchmarks/memorisation.py level
    python benchmarks/memorisation.py learn --budget 900steps --out OUT

`level`: normal features, of which a share of the generated ones are training ones with a little
noise; 400 draws each of images, training and held-out pictures. What the interval covers and how
often it lies above one half, beside the interval of independent images.
`learn`: the same network trained for as long on about 60 and on 1,257 of scikit-learn's digits,
and judged at every checkpoint; the same command again goes on. Prints JSON, and the table for the
documentation on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import safelight
from safelight.data.cache import Cache
from safelight.evaluation.accuracy import wilson
from safelight.evaluation.estimate import Evaluation, Interval
from safelight.evaluation.memorisation import beside, share_copied, share_nearer
from safelight.presets import preset
from safelight.training.run import Run

DRAWS = 400
# images, pictures a side, dimension, share of copies, spread of the other images
CASES = (
    (500, 500, 64, 0.0, 1.0),
    (500, 500, 1280, 0.0, 1.0),
    (500, 60, 8, 0.0, 1.0),
    (2000, 500, 64, 0.0, 1.0),
    (500, 500, 64, 0.0, 0.7),
    (500, 500, 64, 0.05, 1.0),
    (500, 500, 64, 0.1, 1.0),
    (500, 500, 64, 0.2, 1.0),
    (500, 500, 8, 0.1, 1.0),
)
CHECKPOINTS = 3
NOISE = 0.05  # of a copy's values, whose spread is 1
SPLITS = {"60 pictures": "3.4/0/96.6", "1,257 pictures": "70/5/25"}


def simulated(
    rng: np.random.Generator, n: int, m: int, d: int, copies: float, spread: float
) -> tuple[Interval, Interval, Interval]:
    """Nearer to training, the same as of independent images, and near copies."""
    images, training, held_out = (rng.standard_normal((k, d)) for k in (n, m, m))
    images *= spread
    which = rng.random(n) < copies
    noise = NOISE * rng.standard_normal((which.sum(), d))
    images[which] = training[rng.integers(0, m, which.sum())] + noise
    found = beside(*(x.astype(np.float32) for x in (images, training, held_out)))
    return share_nearer(found), wilson(float(found.nearer.sum()), n), share_copied(found)


def level(case: tuple[int, int, int, float, float], draws: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found = [simulated(rng, *case) for _ in range(draws)]
    copies = case[3]
    truth = 0.5 + copies / 2  # a copy is nearer to training, of the others half are

    def covered(which: int, value: float) -> float:
        return float(np.mean([each[which].low <= value <= each[which].high for each in found]))

    names = ("images", "pictures", "dimension", "copies", "spread")
    return dict(zip(names, case, strict=True)) | {
        "covered": covered(0, truth),
        "covered as independent": covered(1, truth),
        "above one half": float(np.mean([each[0].low > 0.5 for each in found])),
        "copies above none": float(np.mean([each[2].low > 0 for each in found])),
        "copies covered": covered(2, copies),
    }


def trained(name: str, split: str, budget: str, out: Path) -> Run:
    """On the training pictures of this split, with CHECKPOINTS on the way."""
    cache = safelight.prepare("digits", split=split, out=out / f"digits-{split.replace('/', '-')}")
    config = preset("tiny")
    net = config.net.model_copy(update={"widths": (24, 48), "blocks": 1})
    every = int(budget.removesuffix("steps")) // CHECKPOINTS
    optimiser = config.optimiser.model_copy(update={"batch": 32})
    watch = config.watch.model_copy(
        update={"checkpoint_every": every, "keep": CHECKPOINTS, "tensorboard": False}
    )
    changes = {"budget": budget, "watch": watch, "net": net, "optimiser": optimiser}
    config = config.model_copy(update={**changes, "precision": "float32"})
    return safelight.train(cache, config=config, out=out / name.split()[0].replace(",", ""))


def judged(run: Run, n: int) -> list[Evaluation]:
    """At every checkpoint, oldest first; what was kept is taken."""
    test = Cache.open(Path(run.file.cache), "test")
    steps = [str(step) for step in run.steps("all")]
    kept = [Evaluation.from_json(each) for each in run.evaluations()]
    have = {each.trained["checkpoint"]: each for each in kept}
    for step in steps:
        if step not in have:
            found = safelight.evaluate(
                run.path,
                against=f"{test.path}:test",
                metrics=("memorisation", "kid"),
                features="pixels",
                n=n,
                checkpoint=step,
            )
            have[step] = found
    return [have[step] for step in steps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("level", "learn"))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--budget", default="900steps")
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/memorisation"))
    asked = parser.parse_args()
    if asked.what == "level":
        rows = []
        for case in CASES:
            rows.append(level(case, asked.draws))
            print(" | ".join(str(value) for value in rows[-1].values()), file=sys.stderr)
        print(json.dumps(rows, indent=2))
        return
    found: dict[str, list[dict[str, Any]]] = {}
    for name, split in SPLITS.items():
        with contextlib.redirect_stdout(sys.stderr):
            every = judged(trained(name, split, asked.budget, asked.out), asked.n)
        found[name] = [each.to_json() for each in every]
        for each in every:
            numbers = [
                f"{e.show(e.value)} [{e.show(e.low)}, {e.show(e.high)}]" for e in each.estimates
            ]
            print(
                f"| {name} | {each.trained['checkpoint']} | {' | '.join(numbers)} |",
                file=sys.stderr,
            )
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
