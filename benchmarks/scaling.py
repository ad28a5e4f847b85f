"""Whether the time of what should be linear is: seconds against size, and the exponent.

    python benchmarks/scaling.py ARCHIVE [--parts NAME ...] [--turns 9] [--sizes 6]

ARCHIVE is a zip of pictures, such as flowers5.zip, whose small copies are prepared and learnt. All
parts are measured unless some are named; fewer turns, or only the smallest sizes, are for trying.

prepare: a whole process, from 1,000 to 32,000 small photographs in a folder.
evaluate: n images against n and the floor of as many, by FD. Of features that cost next to
    nothing, since a network's own time, which is linear for sure, would hide the rest. KID is not
    here: it is a sum over all pairs of at most 10,000 images, and so grows with the square.
train-steps, train-batch, train-pixels: the trainer's steps, all of a step counted, by how many
    they are, by images in one, and by pixels of an image, from 16x16 to 128x128.
sample-images, sample-steps, sample-pixels: drawing with an untrained network, without guidance.

The network is that of the preset `small` at any size. It attends to itself at its coarsest
resolution, so a part of its arithmetic grows with the square of the pixels: of what goes by pixels
the exponent of the arithmetic alone is told too. How exponents are fitted, and their intervals:
`growth`. Prints JSON, and each part on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from drawing import source_of
from evaluate_cost import Noise, matrix
from growth import growth, in_turns, measured
from peers import Ours
from prepare import repeat, seconds_of_prepare

from safelight.config import Sampling
from safelight.data.cache import Cache
from safelight.data.prepare import prepare as prepare_cache
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.machine import keep_memory
from safelight.presets import PRESETS
from safelight.training.costs import count_flops
from safelight.training.devices import best_precision
from safelight.training.diffusion import build_denoiser
from safelight.training.learner import Problem
from safelight.training.source import DiffusionSource

PRESET, SIDE, BATCH, STEPS = "small", 32, 16, 10  # where these are not what changes
PHOTOGRAPHS = 64  # pixels a side of those that are prepared
LEARNT = 512  # pictures
DIMENSION = 512  # of the features that are evaluated

Works = dict[int, Callable[[], object]]


class Bench:
    """Where pictures are made of an archive's, and how many sizes are measured."""

    def __init__(self, archive: Path, folder: Path, sizes: int) -> None:
        self.archive, self.folder, self._sizes = archive, folder, sizes

    def sizes(self, *all_of_them: int) -> tuple[int, ...]:
        return all_of_them[: self._sizes]

    def photographs(self, count: int, side: int) -> Path:
        """A folder of so many."""
        place = self.folder / f"{count}-of-{side}"
        if not place.exists():
            repeat(self.archive, place, count, side)
        return place

    def training(self, side: int, batch: int = BATCH) -> Ours:
        """Our trainer on pictures of this size."""
        place = self.folder / f"cache-{side}"
        if not place.exists():
            prepare_cache(str(self.photographs(LEARNT, side)), size=side, out=place)
        usual = PRESETS[PRESET]
        optimiser = usual.optimiser.model_copy(update={"batch": batch})
        config = usual.model_copy(update={"optimiser": optimiser})
        precision = best_precision(torch.device("cpu"))
        return Ours(Cache.open(place), config, torch.get_num_threads(), precision)


def prepare(bench: Bench) -> Works:
    folders = {
        n: bench.photographs(n, PHOTOGRAPHS)
        for n in bench.sizes(1_000, 2_000, 4_000, 8_000, 16_000, 32_000)
    }
    return {n: lambda f=f: seconds_of_prepare(f, PHOTOGRAPHS) for n, f in folders.items()}


def evaluating(bench: Bench) -> Works:
    network = matrix(DIMENSION)
    FEATURES["matrix"] = lambda material: network

    def work(n: int) -> None:
        sides = [Noise(name, n) for name in ("generated", "real", "pool")]
        with tempfile.TemporaryDirectory(dir=bench.folder) as store:
            generated, real, pool = sides
            how: Any = {"features": "matrix", "metrics": ("fd",), "n": n, "store": Path(store)}
            evaluate(generated, real, pool=pool, **how)

    sizes = bench.sizes(1_000, 2_000, 4_000, 8_000, 16_000, 32_000)
    return {n: lambda n=n: work(n) for n in sizes}


def train_steps(bench: Bench) -> Works:
    loop = bench.training(SIDE)
    return {n: lambda n=n: loop.advance(n) for n in bench.sizes(2, 4, 8, 16, 32, 64)}


def train_batch(bench: Bench) -> Works:
    loops = {n: bench.training(SIDE, n) for n in bench.sizes(4, 8, 16, 32, 64, 128)}
    return {n: lambda loop=loop: loop.advance(1) for n, loop in loops.items()}


def train_pixels(bench: Bench) -> Works:
    loops = {side**2: bench.training(side) for side in bench.sizes(16, 32, 64, 128)}
    return {n: lambda loop=loop: loop.advance(1) for n, loop in loops.items()}


def drawing(side: int, steps: int = STEPS) -> DiffusionSource:
    """Images of so many pixels a side, without guidance."""
    return source_of(PRESET, Sampling(sampler="euler", steps=steps, guidance=1), (3, side, side))


def sample_images(bench: Bench) -> Works:
    source = drawing(SIDE)
    source.micro_batch = BATCH
    sizes = bench.sizes(16, 32, 64, 128, 256, 512)
    return {n: lambda n=n: source.images(range(n)) for n in sizes}


def sample_steps(bench: Bench) -> Works:
    sources = {n: drawing(SIDE, n) for n in bench.sizes(4, 8, 16, 32, 64, 128)}
    return {n: lambda source=source: source.images(range(BATCH)) for n, source in sources.items()}


def sample_pixels(bench: Bench) -> Works:
    sources = {side**2: drawing(side) for side in bench.sizes(16, 32, 64, 128)}
    return {n: lambda source=source: source.images(range(BATCH)) for n, source in sources.items()}


PARTS: dict[str, Callable[[Bench], Works]] = {
    "prepare": prepare,
    "evaluate": evaluating,
    "train-steps": train_steps,
    "train-batch": train_batch,
    "train-pixels": train_pixels,
    "sample-images": sample_images,
    "sample-steps": sample_steps,
    "sample-pixels": sample_pixels,
}


def exponent_of_arithmetic(pixels: Sequence[int]) -> float:
    """Of the network's operations forwards."""

    def flops(side: int) -> int:
        net = build_denoiser(PRESETS[PRESET], Problem((3, side, side), 0, 0.5)).net
        return count_flops(net, torch.zeros(1, 3, side, side), torch.zeros(1))

    return round(growth(pixels, [flops(round(n**0.5)) for n in pixels]).exponent, 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument(
        "--sizes", type=int, default=6, help="only so many, the smallest; at least 3"
    )
    options = parser.parse_args()
    keep_memory()  # as commands do
    found: dict[str, Any] = {"preset": PRESET, "turns": options.turns, "cores": os.cpu_count()}
    for name in options.parts:
        with tempfile.TemporaryDirectory() as scratch:
            with contextlib.redirect_stdout(sys.stderr):
                works = PARTS[name](Bench(options.archive, Path(scratch), options.sizes))
                found[name] = measured(in_turns(works, options.turns))
            if name.endswith("pixels"):
                found[name]["exponent of the arithmetic"] = exponent_of_arithmetic(list(works))
            print(json.dumps({name: found[name]}), file=sys.stderr)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
