"""Quality against training time on CIFAR-10 without classes, beside other libraries.

    python benchmarks/quality.py cifar10.zip --out OUT [--seeds 3] [--minutes 1 3 10] [--only ours]

Ours is `safelight train` as it comes, with `--budget` so many minutes. Each peer trains by its own
loop for ten minutes, as its library comes and with each of the settings in `TUNED`, and draws by
its library's own sampler. All are judged by the KID of `--n` images against the test set on
efficientnet-lite0, each training in a process of its own. Reading files and building networks is
not counted for the peers; all that `train` does is counted for ours.

Trainings, images and rows are kept in OUT: the same command goes on where it was. It wants two
quiet cores, and with three seeds some ten hours. Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kept import Row
from peers import Diffusers, Drawing, Lucidrains

SIDE, MINUTES = 32, 10
AT_ONCE = 50  # images that a peer draws
# `train_unconditional` as it comes.
DIFFUSERS: dict[str, Any] = {
    "layers_per_block": 2,
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
}
SMALL: dict[str, Any] = {
    "layers_per_block": 1,
    "block_out_channels": (64, 128, 128),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
}
SMALLER = {**SMALL, "block_out_channels": (32, 64, 128)}
THREE: dict[str, Any] = {"dim_mults": (1, 2, 4)}
# network, batch, learning rate
Setting = tuple[dict[str, Any], int, float]
AS_IT_COMES: dict[str, Setting] = {
    "diffusers": (DIFFUSERS, 16, 1e-4),
    "lucidrains": ({"dim": 64}, 16, 1e-4),
}
TUNED: dict[str, tuple[Setting, ...]] = {
    "diffusers": (
        (SMALL, 16, 3e-4),
        (SMALL, 16, 1e-3),
        (SMALL, 64, 1e-3),
        (SMALLER, 16, 1e-3),
        (SMALLER, 8, 1e-3),
        (SMALLER, 16, 2e-3),
    ),
    "lucidrains": (
        ({"dim": 32, **THREE}, 16, 3e-4),
        ({"dim": 32, **THREE}, 16, 1e-3),
        ({"dim": 32, **THREE}, 64, 1e-3),
        ({"dim": 24, **THREE}, 16, 1e-3),
        ({"dim": 24, **THREE}, 8, 1e-3),
        ({"dim": 32, **THREE}, 8, 5e-4),
    ),
}


def peer(name: str, setting: Setting, pictures: Path, scratch: Path, steps: int) -> Drawing:
    """steps: over which a rate falls, where the library's does."""
    net, batch, lr = setting
    if name == "diffusers":
        return Diffusers(pictures, SIDE, net, batch, lr, steps)
    return Lucidrains(pictures, SIDE, scratch, net, batch, lr)


def trained_peer(
    name: str, setting: Setting, pictures: Path, minutes: float, n: int, seed: int, out: Path
) -> None:
    """Write n images of a peer that was trained for so long, and what it came to, into `out`."""
    import torch

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        trial = peer(name, setting, pictures, Path(scratch), 10_000)
        trial.advance(2)
        began = time.monotonic()
        trial.advance(4)
        expected = round(minutes * 60 / ((time.monotonic() - began) / 4))
        torch.manual_seed(seed)
        loop = peer(name, setting, pictures, Path(scratch), expected)
        steps, began = 0, time.monotonic()
        while time.monotonic() - began < minutes * 60:
            loop.advance(8)
            steps += 8
        seconds = time.monotonic() - began
        with torch.no_grad():
            drawn = torch.cat([loop.draw(AT_ONCE) for _ in range(0, n, AT_ONCE)])[:n]
    levels = drawn.clamp(0, 1).mul(255).round().to(torch.uint8)
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "images.npz", images=levels.numpy())
    size = sum(p.numel() for p in loop.net.parameters())
    about = {"steps": steps, "images": steps * setting[1], "seconds": round(seconds)}
    about |= {"parameters, M": round(size / 1e6, 2)}
    (out / "about.json").write_text(json.dumps(about))


def command(*words: str | Path) -> None:
    subprocess.run([sys.executable, *map(str, words)], check=True, stdout=sys.stderr)


def safelight(*words: str | Path) -> None:
    command("-m", "safelight", *words)


def kid(images: Path, cache: Path, n: int, file: Path, *more: str) -> list[float]:
    """KID with its interval against the test set."""
    against = ["--against", f"{cache}:test", *more]
    safelight("evaluate", images, *against, "--metrics", "kid", "-n", str(n), "--json", file)
    found = json.loads(file.read_text())
    estimate = next(e for e in found["estimates"] if e["name"].upper() == "KID")
    return [round(estimate[key], 4) for key in ("value", "low", "high")]


def ours(minutes: float, seed: int, cache: Path, n: int, out: Path) -> Row:
    run = out / f"ours-{minutes:g}m-{seed}"
    budget = f"{minutes * 60:g}s"
    safelight(
        "train", cache, "--data.no-conditional", "--budget", budget, "--seed", seed, "--out", run
    )
    from safelight.training.run import Run

    summary = Run.open(run).summary
    about = {"steps": summary.steps, "images": summary.images_seen}
    return {**about, "KID": kid(run, cache, n, out / f"{run.name}.json")}


def theirs(name: str, which: int, seed: int, cache: Path, n: int, out: Path) -> Row:
    """which: a setting in TUNED, or -1 as it comes."""
    folder = out / f"{name}-{'as-it-comes' if which < 0 else which}-{seed}"
    if not (folder / "about.json").exists():
        command(__file__, out, "--peer", name, which, "--n", n, "--first", seed)
    images = folder / "images.npz"
    return {
        "setting": str(setting_of(name, which)),
        **json.loads((folder / "about.json").read_text()),
        "KID": kid(images, cache, n, out / f"{folder.name}.json"),
    }


def setting_of(name: str, which: int) -> Setting:
    return AS_IT_COMES[name] if which < 0 else TUNED[name][which]


class Table:
    """Rows by name, in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.rows: dict[str, Row] = json.loads(file.read_text()) if file.exists() else {}

    def add(self, name: str, row: Row) -> None:
        self.rows[name] = row
        self._file.write_text(json.dumps(self.rows, indent=1))


def summed_up(table: Table) -> dict[str, Any]:
    """Mean and extremes over the seeds."""
    groups: dict[str, list[float]] = {}
    for name, row in table.rows.items():
        groups.setdefault(name.rpartition("-")[0], []).append(row["KID"][0])
    return {
        name: {"mean": round(statistics.mean(values), 4), "all": values}
        for name, values in groups.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="CIFAR-10 as a zip, or its name")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 3, 10])
    parser.add_argument("--n", type=int, default=2_000)
    parser.add_argument("--only", nargs="+", default=["ours", *AS_IT_COMES])
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peer:
        name, which = options.peer[0], int(options.peer[1])
        out = Path(options.source)
        folder = out / f"{name}-{'as-it-comes' if which < 0 else which}-{options.first}"
        setting = setting_of(name, which)
        trained_peer(name, setting, out / "pictures", MINUTES, options.n, options.first, folder)
        return
    out, seeds = options.out, range(options.first, options.first + options.seeds)
    out.mkdir(parents=True, exist_ok=True)
    table, cache = Table(out / "quality.json"), out / "cache"
    with contextlib.redirect_stdout(sys.stderr):
        safelight("prepare", options.source, "--out", cache)
        pictures = out / "pictures"
        if not pictures.exists() and set(options.only) & AS_IT_COMES.keys():
            safelight("export-images", f"{cache}:train", "--out", pictures, "-n", 45_000)
        for seed in seeds:
            for minutes in options.minutes if "ours" in options.only else ():
                if (name := f"ours-{minutes:g}m-{seed}") not in table.rows:
                    table.add(name, ours(minutes, seed, cache, options.n, out))
            for library in AS_IT_COMES.keys() & {*options.only}:
                # Each setting once; three trainings of what comes as it is.
                tuned = range(len(TUNED[library])) if seed == options.first else ()
                for which in (-1, *tuned):
                    name = f"{library}-{'as-it-comes' if which < 0 else which}-{seed}"
                    if name not in table.rows:
                        table.add(name, theirs(library, which, seed, cache, options.n, out))
    print(json.dumps({"trainings": table.rows, "KID": summed_up(table)}, indent=1))


if __name__ == "__main__":
    main()
