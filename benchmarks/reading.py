"""How fast training reads its pictures: batches of 128, varied, from a warm cache on one core.

    python benchmarks/reading.py [--counts 1000 100000 1000000] [--seconds 2]

Makes caches by repeating 1,000 pictures (the largest takes 4 GB while it is measured). Of each, in
processes of their own: seconds from opening it to the first batch, images a second, and the peak of
memory; and the rate of one process for each core at once. Then what reading is of a training step
of the usual preset. "with noise" has the streams of random numbers that a learner draws from too.
Rates are by the clock; those "by processor time" leave out what other processes had of the core.
Prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BATCH, BASE = 128, 1_000
WAYS = {
    "as they are": {},
    "flip and crop": {"flip": True, "crop": True},
    "flip and shift": {"flip": True, "shift": 4},
    "flip, crop and augment": {"flip": True, "crop": True, "augment": 0.12},
}
SIDES = {36: 32, 72: 64}  # of pictures, and of their crops
BARS = {"images/s": 100_000, "first batch s": 0.5, "share of a step": 0.02}
# In a process of its own: what is loaded before a cache is opened is not a cost of the cache.


def measured(place: Path, seconds: float) -> dict[str, Any]:
    """Of the cache at `place`, in this process."""
    import torch

    from safelight.config import Data
    from safelight.data.cache import Cache
    from safelight.training.batches import Batches, Pictures

    torch.set_num_threads(1)
    before = peak()
    began = time.perf_counter()
    cache = Cache.open(place).subset("train")
    part = str(SIDES[cache.shape[1]])

    def pictures(how: dict[str, Any]) -> Pictures:
        given = {**how, "crop": part} if "crop" in how else how
        return Pictures(cache, Data(**given), torch.device("cpu"))

    next(Batches(pictures(WAYS["flip and crop"]), size=BATCH, seed=0).at(0, BATCH))
    first = time.perf_counter() - began
    rates = {name: rate(pictures(how), seconds) for name, how in WAYS.items()}
    grown = round((peak() - before) / 1e6, 1)
    about = {"first batch s": round(first, 4), "peak MB above that of torch": grown}
    return {**about, **rates, "of which reading, ms": reading_alone(cache)}


def reading_alone(cache: Any) -> dict[str, float]:
    """Processor time of a batch as it lies in the file: as training reads it, and from a map of it
    all of whose pages are there."""
    mapped, rng = np.load(cache.path / "images.npy", mmap_mode="r"), np.random.default_rng(0)
    drawn = [rng.integers(0, cache.count, BATCH) for _ in range(200)]
    found = {}
    for name, read in (("pread", cache.read), ("a map", lambda positions: mapped[positions])):
        for positions in drawn:
            read(positions)
        began = time.process_time()
        for positions in drawn:
            read(positions)
        found[name] = round(1e3 * (time.process_time() - began) / len(drawn), 3)
    return found


def rate(examples: Any, seconds: float) -> dict[str, int]:
    """Images a second: the medians of tenths of the time, of what `Batches` does for one batch."""
    from safelight.seeding import Draws, ImageNoise
    from safelight.training.order import visited

    places = np.arange(BATCH)

    def batches(noise: bool) -> Iterator[None]:
        step = 0
        while True:
            draws = Draws(0, step, places)
            if noise:
                ImageNoise(draws.seeds())
            examples.read(visited(step * BATCH + places, examples.count, 0), draws, None)
            step += 1
            yield

    found = {}
    for name, noise in (("images/s", False), ("with noise", True)):
        work = batches(noise)
        for _ in range(50):
            next(work)
        tenths = [timed(work, seconds / 10) for _ in range(10)]
        wall, own = (round(statistics.median(rates)) for rates in zip(*tenths, strict=True))
        found |= {name: wall, f"{name} by processor time": own}
    return found


def timed(work: Iterator[None], seconds: float) -> tuple[float, float]:
    """Images a second of wall time, and of processor time."""
    began, own, done = time.perf_counter(), time.process_time(), 0
    while (passed := time.perf_counter() - began) < seconds:
        next(work)
        done += BATCH
    return done / passed, done / (time.process_time() - own)


def peak() -> int:
    """Bytes that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def apart(place: Path, seconds: float, processes: int) -> list[dict[str, Any]]:
    """`measured` in so many processes at once."""
    command = [sys.executable, __file__, "--of", str(place), "--seconds", str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes)]
    return [json.loads(process.communicate()[0]) for process in running]


def small(folder: Path, side: int) -> Any:
    """A cache of BASE pictures of noise."""
    from safelight import prepare

    pictures = folder / f"pictures-{side}"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for i in range(BASE):
        drawn = rng.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(drawn).save(pictures / f"{i:04}.png", compress_level=1)
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for the JSON
        return prepare(pictures, split="100/0/0", out=folder / f"cache-{side}")


def repeated(cache: Any, count: int, place: Path) -> Path:
    """A cache of the same pictures over and over."""
    from safelight.data.stored import content_hash
    from safelight.data.writer import npy_header

    place.mkdir()
    block, digest = cache.read(np.arange(BASE)).tobytes(), hashlib.sha256()
    with (place / "images.npy").open("wb") as file:
        file.write(npy_header((count, *cache.shape)))
        for _ in range(count // BASE):
            file.write(block)
            digest.update(block)
    arrays = {"labels": np.zeros(count, np.int64), "splits": np.zeros(count, np.uint8)}
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", array)
    hashes = {"images": digest.hexdigest()} | {n: content_hash(a) for n, a in arrays.items()}
    stamp = (place / "images.npy").stat().st_mtime_ns
    meta = cache.meta.model_copy(update={"count": count, "hashes": hashes, "stamp": stamp})
    (place / "meta.json").write_text(meta.model_dump_json())
    return place


def share(side: int, reading: int) -> dict[str, Any]:
    """What reading is of a step of the usual preset: forwards and backwards, on all cores."""
    import torch

    from safelight.presets import fitting
    from safelight.training.costs import Trial

    torch.set_num_threads(os.cpu_count() or 1)
    name, config = fitting((3, side, side))
    speed = Trial(config, (3, side, side), torch.device("cpu")).speed()
    assert speed is not None
    return {
        "preset": name,
        "training images/s": round(speed.high),
        "processors that others had, %": round(speed.others),
        "reading images/s": reading,
        "share of a step": round(speed.high / reading, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring each rate")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        print(json.dumps(measured(options.of, options.seconds)))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    cores, result = os.cpu_count() or 1, {"batch": BATCH, "bars": BARS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = small(folder, 36)
        for count in options.counts:
            place = repeated(base, count, folder / str(count))
            (alone,) = apart(place, options.seconds, 1)
            together = apart(place, options.seconds, cores)
            rates = [each["flip and crop"]["images/s"] for each in together]
            alone[f"{cores} processes, images/s of each"] = rates
            result[f"{count} pictures of 36x36"] = alone
            for file in place.iterdir():
                file.unlink()
        (large,) = apart(small(folder, 72).path, options.seconds, 1)
    for side, found in ((32, alone), (64, large)):
        result[f"{side}x{side}"] = share(side, found["flip and crop"]["with noise"])
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
