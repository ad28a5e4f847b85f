"""How images are drawn best: how many at once, guided by how many calls, with memory kept or not.

    python benchmarks/drawing.py batches [--presets tiny small ...] [--sizes 4 8 16 ...]
    python benchmarks/drawing.py guidance [--presets ...] [--sizes 4 16 64]
    python benchmarks/drawing.py faults [--presets ...] [--features CIFAR10]

Each prints JSON. The networks are those of the presets with the pictures that they were made for,
untrained, since that makes no difference to the time.

batches: images a second of a call of the network for each number of images at once, in turns, and
  each over the best, medians over the turns. The bar for a fixed number: within 10 % of the best.
guidance: a guess with guidance by two calls, as it is done, and by one of twice the images: the
  second's time over the first's. Below 1 the one call would be the faster.
faults: pages that a process touches anew in drawing 64 images in 10 steps, with and without
  `machine.keep_memory`, and the seconds of each, in processes of their own; with --features of
  looking at 256 pictures by efficientnet-lite0 too.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from growth import in_turns
from torch import Tensor

from safelight.config import Sampling
from safelight.machine import keep_memory
from safelight.presets import PRESETS, natural_shape
from safelight.training.diffusion import build_denoiser
from safelight.training.learner import Problem
from safelight.training.source import DiffusionSource, Model

CLASSES = 10
USUAL = ("tiny", "small", "medium", "transformer", "ddpm")
IMAGES, STEPS, LOOKED = 64, 10, 256  # of `faults`


def source_of(
    preset: str,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    shape: tuple[int, int, int] | None = None,
) -> DiffusionSource:
    """Images from an untrained network, which take as long. shape: as the preset has it, or so."""
    shape = shape or natural_shape(preset)
    denoiser = build_denoiser(PRESETS[preset], Problem(shape, CLASSES, 0.5))
    classes = tuple(map(str, range(CLASSES)))
    return DiffusionSource(
        Model(denoiser, preset), name=preset, shape=shape, classes=classes, sampling=sampling
    )


def guess_of(source: DiffusionSource, n: int, guided: str = "no") -> Callable[[], object]:
    """A guess for n images, and how it is guided: not, by "two" calls, or by "one"."""
    x, t, y = torch.randn(n, *source.shape), torch.full((n,), 0.5), torch.arange(n) % CLASSES
    denoiser = source._denoiser
    none = torch.full_like(y, CLASSES)  # what a network takes for no class among others with one

    def both() -> Tensor:
        strong, weak = denoiser(x.repeat(2, 1, 1, 1), t.repeat(2), torch.cat([y, none])).chunk(2)
        return torch.lerp(weak, strong, 1.5)

    ways: dict[str, Callable[[], object]] = {
        "no": lambda: denoiser(x, t, y),
        "two": lambda: torch.lerp(denoiser(x, t, None), denoiser(x, t, y), 1.5),
        "one": both,
    }
    return ways[guided]


def batches(options: argparse.Namespace) -> dict[str, Any]:
    keep_memory()
    found = {}
    for preset in options.presets:
        source = source_of(preset)
        works = {n: guess_of(source, n) for n in options.sizes}
        with torch.inference_mode():
            seconds = in_turns(works, options.turns)
        rates = {n: statistics.median(n / s for s in seconds[n]) for n in works}
        found[preset] = {
            "images/s": {n: round(rate, 1) for n, rate in rates.items()},
            "over the best": {n: round(rate / max(rates.values()), 3) for n, rate in rates.items()},
        }
    return found


def guidance(options: argparse.Namespace) -> dict[str, Any]:
    keep_memory()
    found: dict[str, Any] = {}
    for preset in options.presets:
        source = source_of(preset)
        found[preset] = {}
        for n in options.sizes:
            works = {how: guess_of(source, n, how) for how in ("two", "one")}
            with torch.inference_mode():
                seconds = in_turns(works, options.turns)
            ratios = [one / two for two, one in zip(seconds["two"], seconds["one"], strict=True)]
            found[preset][n] = {
                "one call over two": round(statistics.median(ratios), 3),
                "extremes": [round(min(ratios), 3), round(max(ratios), 3)],
            }
    return found


def work(preset: str, features: str | None) -> Callable[[], object]:
    """What `faults` counts the pages of."""
    if features is None:
        source = source_of(preset, Sampling(steps=STEPS))
        return lambda: source.images(range(IMAGES))
    from safelight.evaluation.pretrained import efficientnet
    from safelight.evaluation.store import extract
    from safelight.sources import open_source

    pictures, network = open_source(features), efficientnet()
    return lambda: extract(network, pictures.images(range(LOOKED)), pictures)


def touched(preset: str, features: str | None, keep: bool) -> None:
    """Print pages and seconds of the second time; the first sets libraries up."""
    if keep:
        keep_memory()
    doing = work(preset, features)
    doing()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    doing()
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"pages": after.ru_minflt - before.ru_minflt, "seconds": seconds}))


def faults(options: argparse.Namespace) -> dict[str, Any]:
    tasks: dict[str, list[str]] = {f"drawing, {p}": ["--presets", p] for p in options.presets}
    if options.features:
        tasks["looking"] = ["--features", options.features]
    return {name: _kept_or_not(words, options.turns) for name, words in tasks.items()}


def _kept_or_not(words: Sequence[str], turns: int) -> dict[str, Any]:
    counted: dict[str, list[dict[str, float]]] = {"usual": [], "kept": []}
    for _ in range(turns):
        for how, found in counted.items():
            command = [sys.executable, __file__, "touched", how, *words]
            found.append(json.loads(subprocess.check_output(command).splitlines()[-1]))
    pairs = zip(counted["usual"], counted["kept"], strict=True)
    ratios = [usual["seconds"] / kept["seconds"] for usual, kept in pairs]
    pages = {how: int(statistics.median(each["pages"] for each in f)) for how, f in counted.items()}
    return {"pages": pages, "times as fast": [round(ratio, 3) for ratio in ratios]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("batches", "guidance", "faults", "touched"))
    parser.add_argument("how", nargs="?", choices=("usual", "kept"), help=argparse.SUPPRESS)
    parser.add_argument("--presets", nargs="+", default=USUAL)
    parser.add_argument("--sizes", nargs="+", type=int, default=(4, 8, 16, 32, 64, 128))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--features", help="pictures to look at: a cache, a folder or a zip")
    options = parser.parse_args()
    if options.what == "touched":
        touched(options.presets[0], options.features, options.how == "kept")
        return
    asked = {"batches": batches, "guidance": guidance, "faults": faults}[options.what]
    print(json.dumps(asked(options), indent=1))


if __name__ == "__main__":
    main()
