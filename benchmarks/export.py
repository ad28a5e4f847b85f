"""What `export-images` costs: beside plain saving with Pillow, by way of packing, and in memory.

    python benchmarks/export.py speed CACHE[:SPLIT] [--repeats 5]
    python benchmarks/export.py png CACHE[:SPLIT] [--repeats 5]
    python benchmarks/export.py memory CACHE[:SPLIT] [--pictures 10000 200000]

`speed` writes the pictures in turn by `Image.save` into a folder for each class, and by
`safelight.export_images` into a folder and into a zip, both flushed to the disk; its ratios are
medians over the rounds. `png` packs them with each of Pillow's settings, without writing. `memory`
exports so many pictures, the cache's over and over, to a zip and measures how the process grows.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from torch import Tensor

from safelight import exporting
from safelight.data.cache import Cache, open_data
from safelight.filing import BATCH, Selection
from safelight.images import PNG, pieces, to_pil

PICTURES = 2_000  # of which `png` takes the time
SETTINGS: dict[str, dict[str, Any]] = {
    "Pillow's usual": {},
    **{f"level {level}": {"compress_level": level} for level in (1, 3, 6, 9)},
    "level 1, Huffman": {"compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY},
    "level 1, run lengths": {"compress_level": 1, "compress_type": zlib.Z_RLE},
}


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plainly(cache: Cache, out: Path) -> None:
    """As one would write it: 000003.png in the folder of its class."""
    labels = cache.labels(range(cache.count))
    for part in pieces(cache.count, BATCH):
        for i, image in enumerate(cache.images(range(part.start, part.stop)), part.start):
            folder = out / (cache.classes[int(labels[i])] if labels is not None else "")
            folder.mkdir(parents=True, exist_ok=True)
            to_pil(image).save(folder / f"{i:06d}.png")


def speed(cache: Cache, repeats: int) -> dict[str, object]:
    export = exporting.of_pictures(cache, None, ())
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as place:
        outs = {name: Path(place) / name for name in ("plain", "folder", "pictures.zip")}
        ways: dict[str, Callable[[], object]] = {
            "plain": lambda: plainly(cache, outs["plain"]),
            "folder": lambda: exporting.write(export, outs["folder"]),
            "pictures.zip": lambda: exporting.write(export, outs["pictures.zip"]),
        }
        for _ in range(repeats):
            found = {name: seconds(way) for name, way in ways.items()}
            sizes = {name: _bytes(out) for name, out in outs.items()}
            rounds.append(found)
            for out in (outs["plain"], outs["folder"]):
                shutil.rmtree(out)
            outs["pictures.zip"].unlink()
    return {
        "pictures": len(export),
        "shape": cache.shape,
        "seconds": {name: [round(r[name], 3) for r in rounds] for name in outs},
        "ratio to plain": {
            name: round(statistics.median(r[name] / r["plain"] for r in rounds), 3) for name in outs
        },
        "bytes": sizes,
    }


def _bytes(out: Path) -> int:
    files = [out] if out.is_file() else [file for file in out.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def png(cache: Cache, repeats: int) -> dict[str, object]:
    pictures = [to_pil(image) for image in cache.read(np.arange(min(PICTURES, cache.count)))]
    rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
    sizes: dict[str, float] = {}

    def packed(settings: dict[str, Any]) -> int:
        size = 0
        for picture in pictures:
            data = io.BytesIO()
            picture.save(data, format="PNG", **settings)
            size += len(data.getvalue())
        return size

    for _ in range(repeats):
        for name, settings in SETTINGS.items():
            rates[name].append(seconds(lambda chosen=settings: packed(chosen)))  # type: ignore[misc]
            sizes[name] = packed(settings) / len(pictures)
    usual = rates["Pillow's usual"]
    rows = {
        name: {
            "microseconds": round(1e6 * statistics.median(found) / len(pictures), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(found, usual, strict=True)), 3),
            "bytes": round(sizes[name]),
        }
        for name, found in rates.items()
    }
    return {"shape": cache.shape, "chosen": {k: str(v) for k, v in PNG.items()}, "rows": rows}


class OverAndOver:
    """The cache's pictures, as often as one asks. Fulfils `images.ImageSource`.

    most: bytes of the process at the most.
    """

    def __init__(self, cache: Cache, count: int) -> None:
        self.most = 0
        self.cache, self.count = cache, count
        self.name, self.fingerprint = cache.name, f"{cache.fingerprint} {count}"
        self.shape, self.classes = cache.shape, cache.classes

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        self.most = max(self.most, psutil.Process().memory_info().rss)
        return self.cache.images([seed % self.cache.count for seed in seeds])

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return self.cache.labels([seed % self.cache.count for seed in seeds])


def memory(cache: Cache, counts: Sequence[int]) -> dict[str, object]:
    grown = {}
    with tempfile.TemporaryDirectory() as place:
        for count in (100, *counts):  # the first loads what is loaded once
            source, out = OverAndOver(cache, count), Path(place) / f"{count}.zip"
            before = psutil.Process().memory_info().rss
            selected = exporting.Export([Selection(source, range(count))], cache.classes)
            exporting.write(selected, out)
            grown[count] = round((source.most - before) / 1e6, 1)
            out.unlink()
    return {"shape": cache.shape, "megabytes more for so many pictures": grown}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=("speed", "png", "memory"))
    options.add_argument("cache")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--pictures", type=int, nargs="+", default=[10_000, 200_000])
    asked = options.parse_args()
    cache = open_data(asked.cache)
    if asked.what == "memory":
        found = memory(cache, asked.pictures)
    else:
        found = {"speed": speed, "png": png}[asked.what](cache, asked.repeats)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
