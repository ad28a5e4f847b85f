"""Quality against evaluations of the network: every sampler on one model, beside 1,000-step DDPM.

    python benchmarks/samplers.py RUN --n 1000 --out OUT

Draws n images of the run with each sampler at each number of evaluations (without guidance),
measures KID against the held-out split, and whether it can be told from the KID of 1,000-step DDPM
of the same model; and the time, as a share of DDPM's. Prints JSON and draws the curve.

What is measured is kept in OUT/samplers.json: the same command again goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from timed import Timed

from safelight import Sampling
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.kernel import kernel_difference
from safelight.evaluation.moments import Features
from safelight.evaluation.plan import plan
from safelight.evaluation.store import features_of
from safelight.samplers.steps import SAMPLERS, make_step
from safelight.sources import sibling
from safelight.training.run import Run

REFERENCE = Sampling(sampler="ddpm", steps=1000, guidance=1)
EVALUATIONS = (5, 10, 20, 35, 50)
TOLERANCES = (0.3, 0.1, 0.03, 0.01)  # of samplers that choose their steps themselves


def samplings(evaluations: Sequence[int]) -> list[Sampling]:
    """Each sampler with as many steps as the evaluations allow; DDPM's thousand first."""
    found = [REFERENCE]
    for sampler in SAMPLERS:
        step = make_step(sampler, {})
        if step.evaluations(1) is None:
            found += [Sampling(sampler=sampler, guidance=1, tolerance=t) for t in TOLERANCES]
            continue
        for most in evaluations:
            steps = max((n for n in range(1, most + 1) if step.evaluations(n) <= most), default=0)
            if steps > 1:
                found.append(Sampling(sampler=sampler, guidance=1, steps=steps))
    return list(dict.fromkeys(found))


def measure(run: Run, sampling: Sampling, n: int, store: Path) -> dict[str, Any]:
    source = Timed(run.source(sampling))
    real = run.cache().subset("test")
    pool = sibling(real, "train")
    found = evaluate(source, real, pool=pool, metrics=("kid",), n=n, store=store)  # type: ignore[arg-type]
    return {
        "sampling": sampling.changes(),
        "drawn": found.drawn,
        "evaluations": source.calls,
        "seconds": round(source.seconds, 1),
        "kid": found.estimates[0].to_json(),
    }


def features(run: Run, sampling: Sampling, n: int, store: Path) -> tuple[Features, Features]:
    """Of n images drawn so, and of as many real ones; kept since `measure`."""
    real = run.cache().subset("test")
    sides = plan(run.source(sampling), real, sibling(real, "train"), n, seed=0)
    network = FEATURES["efficientnet-lite0"](None, store)
    of = [(side.source, side.seeds) for side in (sides.generated, sides.reference)]
    drawn, held_out = (features_of(*side, [network], store, 256)[0] for side in of)
    return drawn, held_out


def judged(run: Run, rows: list[dict[str, Any]], n: int, store: Path) -> list[dict[str, Any]]:
    """Each row beside the first, which is the reference."""
    reference, real = features(run, Sampling(**rows[0]["sampling"]), n, store)
    found = []
    for row in rows:
        kid = Estimate.from_json(row["kid"])
        drawn, _ = features(run, Sampling(**row["sampling"]), n, store)
        apart = kernel_difference(reference, drawn, real)
        found.append(
            {
                "sampler": row["drawn"],
                "evaluations": row["evaluations"],
                "KID": [round(v, 5) for v in (kid.value, kid.low, kid.high)],
                "KID - DDPM's": [round(v, 5) for v in (apart.value, apart.low, apart.high)],
                "told apart": not apart.low <= 0 <= apart.high,
                "time / DDPM's": round(row["seconds"] / rows[0]["seconds"], 4),
            }
        )
    return found


def draw(rows: list[dict[str, Any]], name: str, file: Path) -> None:
    """KID against evaluations, a line for each sampler, the reference and the floor as bands."""
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    reference = Estimate.from_json(rows[0]["kid"])
    axes.axhspan(reference.low, reference.high, color="0.85", lw=0, label="ddpm, 1,000 steps")
    if reference.floor:
        axes.axhline(reference.floor.value, color="0.4", lw=1, ls=":", label="real images")
    by_sampler: dict[str, list[tuple[float, Estimate]]] = {}
    for row in rows[1:]:
        held = by_sampler.setdefault(row["sampling"].get("sampler", Sampling().sampler), [])
        held.append((row["evaluations"], Estimate.from_json(row["kid"])))
    for i, (sampler, points) in enumerate(by_sampler.items()):
        points.sort(key=lambda point: point[0])
        x, kids = [p[0] for p in points], [p[1] for p in points]
        errors = [[k.value - k.low for k in kids], [k.high - k.value for k in kids]]
        values = [k.value for k in kids]
        style = "-" if i < 10 else "--"
        axes.errorbar(
            x, values, errors, label=sampler, lw=1.3, elinewidth=0.8, ls=style, marker="."
        )
    axes.set(xscale="log", yscale="log", xlabel="evaluations of the network", ylabel=reference.name)
    axes.set_title(name, loc="left", fontsize=10)
    axes.set_xticks(EVALUATIONS, [str(tick) for tick in EVALUATIONS])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--n", type=int, default=1_000, help="images of each sampler")
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    run = Run.open(options.run)
    options.out.mkdir(parents=True, exist_ok=True)
    file, store = options.out / "samplers.json", options.out / "features"
    kept = json.loads(file.read_text()) if file.exists() else []
    rows = []
    for sampling in samplings(options.evaluations):
        done = [row for row in kept if row["sampling"] == sampling.changes()]
        rows += done[:1] or [measure(run, sampling, options.n, store)]
        file.write_text(json.dumps([*rows, *(row for row in kept if row not in rows)], indent=1))
        draw(rows, f"{run.name}: {options.n:,} images at each point", options.out / "samplers.png")
    print(json.dumps(judged(run, rows, options.n, store), indent=2))


if __name__ == "__main__":
    main()
