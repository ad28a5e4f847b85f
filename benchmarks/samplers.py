"""Quality against evaluations of the network: every sampler on one model, beside one of many steps.

    python benchmarks/samplers.py RUN --n 1000 --out OUT
    python benchmarks/samplers.py RUN --samplers dpm++ --lowest 0.002 --reference none --out OUT
    python benchmarks/samplers.py RUN --samplers dpm++ --reference dpm++:100 --precision bf16 ...

Draws n images of the run with each sampler at each number of evaluations (without guidance),
measures KID against the held-out split, and whether it can be told from the KID of the reference
(1,000-step DDPM) of the same model; and the time, as a share of the reference's. Prints JSON and
draws the curve. Without a reference, whose images take longest, there are KID and seconds alone.

What is drawn and judged is kept in OUT: the same command again goes on. The times are measured at
its end, on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from kept import Row, Rows, evaluations, seconds

from safelight import Sampling
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.kernel import kernel_difference
from safelight.evaluation.moments import Features
from safelight.evaluation.plan import plan
from safelight.evaluation.store import features_of
from safelight.samplers.steps import SAMPLERS, make_step
from safelight.sources import sibling
from safelight.training.run import Run
from safelight.training.source import DiffusionSource

REFERENCE = "ddpm:1000"  # sampler and steps
EVALUATIONS = (5, 10, 20, 50)
TOLERANCES = (0.3, 0.1, 0.03)  # of samplers that choose their steps themselves
LINEAR = 0.02  # KID up to here is drawn to scale, above it by its logarithm: it may be below 0


def samplings(
    samplers: Sequence[str], evaluations: Sequence[int], base: Sampling
) -> list[Sampling]:
    """Each sampler with as many steps as the evaluations allow; else as `base`."""
    found: list[dict[str, Any]] = []
    for sampler in samplers:
        step = make_step(sampler, {})
        if step.evaluations(1) is None:
            found += [{"sampler": sampler, "tolerance": t} for t in TOLERANCES]
            continue
        for most in evaluations:
            steps = max((n for n in range(1, most + 1) if step.evaluations(n) <= most), default=0)
            if steps > 1:
                found.append({"sampler": sampler, "steps": steps})
    return [base.model_copy(update=options) for options in found]


def measure(run: Run, source: DiffusionSource, n: int, store: Path) -> Row:
    real = run.cache().subset("test")
    pool = sibling(real, "train")
    found = evaluate(source, real, pool=pool, metrics=("kid",), n=n, store=store)
    return {
        "sampler": source.sampling.sampler,
        "drawn": found.drawn,
        "evaluations": evaluations(source),
        "kid": found.estimates[0].to_json(),
    }


def features(run: Run, source: DiffusionSource, n: int, store: Path) -> tuple[Features, Features]:
    """Of n images drawn so, and of as many real ones; kept since `measure`."""
    real = run.cache().subset("test")
    sides = plan(source, real, sibling(real, "train"), n, seed=0)
    network = FEATURES["efficientnet-lite0"](Material(real.shape, None, store))
    of = [(side.source, side.seeds) for side in (sides.generated, sides.reference)]
    drawn, held_out = (features_of(*side, [network], store, 256)[0] for side in of)
    return drawn, held_out


def alone(row: Row) -> Row:
    kid = Estimate.from_json(row["kid"])
    return {
        "sampler": row["drawn"],
        "evaluations": row["evaluations"],
        "KID": [round(v, 5) for v in (kid.value, kid.low, kid.high)],
    }


def apart(drawn: Features, reference: Features, real: Features) -> Row:
    """Beside the reference; both were drawn from the same seeds."""
    found = kernel_difference(reference, drawn, real, paired=True)
    return {
        "KID - reference's": [round(v, 5) for v in (found.value, found.low, found.high)],
        "told apart": not found.low <= 0 <= found.high,
    }


def beside(
    run: Run, sources: Sequence[DiffusionSource], reference: DiffusionSource, n: int, store: Path
) -> list[Row]:
    """Each source beside the reference, in KID and in time."""
    theirs, real = features(run, reference, n, store)
    rows = [apart(features(run, source, n, store)[0], theirs, real) for source in sources]
    *times, longest = seconds([*sources, reference])
    shares = [{"time / reference's": round(time / longest, 4)} for time in times]
    return [{**row, **share} for row, share in zip(rows, shares, strict=True)]


def draw(rows: Sequence[Row], reference: Row | None, name: str, file: Path) -> None:
    """KID against evaluations, a line for each sampler, the reference as a band."""
    figure, axes = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    by_sampler: dict[str, list[tuple[float, Estimate]]] = {}
    for row in rows:
        point = (row["evaluations"], Estimate.from_json(row["kid"]))
        by_sampler.setdefault(row["sampler"], []).append(point)
    for i, (sampler, points) in enumerate(by_sampler.items()):
        x, kids = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        values = [kid.value for kid in kids]
        errors = [[k.value - k.low for k in kids], [k.high - k.value for k in kids]]
        look: dict[str, Any] = {"ls": "-" if i < 5 else "--", "marker": "o", "ms": 3.5}
        axes.errorbar(
            x, values, errors, label=sampler, lw=1.3, elinewidth=0.8, color=f"C{i % 5}", **look
        )
    kid = Estimate.from_json((reference or rows[0])["kid"])
    if reference:
        axes.axhspan(kid.low, kid.high, color="0.85", lw=0, label=reference["drawn"], zorder=0)
    if kid.floor:
        axes.axhline(kid.floor.value, color="0.4", lw=1, ls=":", label="real images")
    axes.set(xscale="log", xlabel="evaluations of the network for an image", ylabel=kid.name)
    axes.set_yscale("symlog", linthresh=LINEAR)
    least = min(Estimate.from_json(row["kid"]).low for row in rows)
    axes.set_ylim(bottom=min(0, least) - LINEAR / 20)
    ticks = [0, LINEAR / 4, LINEAR / 2, LINEAR, 0.05, 0.1, 0.2, 0.5]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    asked = sorted({row["evaluations"] for row in rows} & set(EVALUATIONS)) or EVALUATIONS
    axes.set_xticks(asked, [str(tick) for tick in asked])
    axes.minorticks_off()
    axes.set_title(name, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--n", type=int, default=1_000, help="images of each sampler")
    parser.add_argument("--samplers", nargs="+", default=[*SAMPLERS])
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    parser.add_argument("--grid", help="unless given each sampler's usual one")
    parser.add_argument("--lowest", type=float, help="noise level; unless given the training's")
    parser.add_argument("--reference", default=REFERENCE, help="SAMPLER:STEPS, or none")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    run, n, store = Run.open(options.run), options.n, options.out / "features"
    kept, title = Rows(options.out / "samplers.json"), f"{run.name}: {n:,} images at each point"
    picture, rows = options.out / "samplers.png", []
    base = Sampling(
        guidance=1, grid=options.grid, lowest=options.lowest, precision=options.precision
    )
    wanted = REFERENCE if options.reference == "none" else options.reference
    sampler, _, steps = wanted.partition(":")
    if not steps.isdigit():
        parser.error(f"{wanted} is no SAMPLER:STEPS; give one such as {REFERENCE}")
    last = Sampling(sampler=sampler, steps=int(steps), guidance=1, precision=options.precision)
    # The reference takes longer than all the others together: last, when the curve can be seen.
    *sources, reference = run.sources(
        [*samplings(options.samplers, options.evaluations, base), last]
    )
    for source in sources:
        rows.append(kept.get(source, n, partial(measure, run, source, n, store)))
        draw(rows, None, title, picture)
    if options.reference != "none":
        judged = kept.get(reference, n, partial(measure, run, reference, n, store))
        draw(rows, judged, title, picture)
        others = beside(run, sources, reference, n, store)
    else:
        others = [{"seconds for 1,000": time} for time in seconds(sources)]
    found = [{**alone(row), **other} for row, other in zip(rows, others, strict=True)]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
