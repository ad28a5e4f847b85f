"""Latent diffusion beside diffusion of the pictures, and the memory that it needs.

    python benchmarks/latent.py quality flowers5.zip --size 64 --budget 20m --out OUT
    python benchmarks/latent.py memory flowers5.zip --size 128 --out OUT

quality: a model of the pictures has the whole budget; the autoencoder half of it, and the model in
its latents the other half. KID of each with interval and floor; of the autoencoder the PSNR of what
comes back of held-out pictures, and their KID, the best that its latents allow. What is trained and
judged is kept in OUT: the same command again goes on. A budget of time wants a quiet machine;
`--budgets pixel=656steps coder=3200steps latent-small=5000steps` are those of one training, in the
place of a time.

memory: the peak of a process (Linux) that trains an autoencoder, and of one that encodes, trains in
its latents and draws its previews.

Prints JSON, and the table for the documentation on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from kept import Row, Rows, pairs, peak_megabytes

import safelight
from safelight.config import Data
from safelight.data.cache import Cache
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.presets import fitting, in_latents, preset
from safelight.sources import sibling
from safelight.training.budget import Budget
from safelight.training.run import Run

CODER, PIXEL = "coder", "pixel"
MOST = "4GB"


def trained(cache: Cache, budgets: Mapping[str, str], presets: list[str], out: Path) -> list[Run]:
    configs = {CODER: preset("autoencoder"), PIXEL: fitting(cache.shape)[1]}
    configs |= {f"latent-{name}": in_latents(preset(name), str(out / CODER)) for name in presets}
    data = Data(flip=False)  # as the figures were measured
    return [
        safelight.train(
            cache,
            config=config.model_copy(update={"data": data}),
            budget=budgets[name],
            out=out / name,
        )
        for name, config in configs.items()
    ]


def measure(run: Run, n: int) -> Row:
    source, real = run.source(), run.cache().subset("test")
    metrics = ("kid", "psnr") if run.name == CODER else ("kid",)
    found = evaluate(
        source,
        real,
        pool=sibling(real, "train"),
        metrics=metrics,
        n=None if run.name == CODER else n,
    )
    return {
        "run": run.name,
        "parameters": run.summary.parameters,
        "steps": run.summary.steps,
        "images": run.summary.images_seen,
        "seconds": round(run.summary.seconds),
        "estimates": {e.protocol.metric: e.to_json() for e in found.estimates},
    }


def table(rows: list[Row]) -> str:
    heads = ["run", "parameters", "steps", "images seen", "KID [95 %]", "PSNR [95 %]"]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for row in rows:
        shown = []
        for metric in ("kid", "psnr"):
            found = row["estimates"].get(metric)
            shown.append(said(Estimate.from_json(found)) if found else "")
        figures = [f"{row[name]:,}" for name in ("parameters", "steps", "images")]
        lines.append(f"| {' | '.join((row['run'], *figures, *shown))} |")
    return "\n".join(lines)


def said(estimate: Estimate) -> str:
    value, low, high = map(estimate.show, (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def quality(cache: Cache, options: argparse.Namespace) -> list[Row]:
    whole = Budget.parse(options.budget)
    if whole.unit != "seconds":
        raise SystemExit("--budget is a time, such as 20m; give steps by --budgets RUN=STEPS")
    half = f"{whole.amount / 2:g}s"
    budgets = {PIXEL: options.budget, CODER: half}
    budgets |= {f"latent-{name}": half for name in options.presets}
    budgets |= pairs(options.budgets)
    kept = Rows(options.out / "latent.json")
    runs = trained(cache, budgets, options.presets, options.out)
    rows = [kept.get(run.source(), options.n, partial(measure, run, options.n)) for run in runs]
    print(table(rows), file=sys.stderr)
    return rows


def memory(cache: Cache, options: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory(dir=options.out) as scratch:  # a finished run needs nothing
        return _memory(cache, Path(scratch))


def _memory(cache: Cache, out: Path) -> list[Row]:
    coder, latent = out / CODER, out / "latent"
    common = ("--budget", "60steps", "--memory", MOST, "--watch.preview-every", "30")
    commands = {
        coder: ("--preset", "autoencoder-8"),
        latent: ("--diffusion.autoencoder", coder),
    }
    return [
        {
            "run": run.name,
            "memory": MOST,
            "peak_mb": peak_megabytes("train", cache.path, "--out", run, *words, *common),
        }
        for run, words in commands.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["quality", "memory"])
    parser.add_argument("source")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--budgets", nargs="*", default=[], metavar="RUN=BUDGET")
    parser.add_argument("--presets", nargs="+", default=["small"], help="of the latents' model")
    parser.add_argument("--n", type=int, default=1_000, help="images of each model")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # what the commands say goes beside the JSON
        cache = safelight.prepare(
            options.source, size=options.size, split="80/10/10", out=options.out / "cache"
        )
        rows = {"quality": quality, "memory": memory}[options.what](cache, options)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
