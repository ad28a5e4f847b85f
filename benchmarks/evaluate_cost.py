"""What `evaluate` costs: its memory, its rate beside its network's, and what bf16 would change.

    python benchmarks/evaluate_cost.py memory [--n 50000] [--dimension 2048] [--metrics fd kid]
    python benchmarks/evaluate_cost.py rate CIFAR10 [--n 1500] [--rounds 3]
    python benchmarks/evaluate_cost.py bf16 CIFAR10 [--n 5000]

Each prints JSON.

memory: n images against n, and n more for the floor, on a network of one random matrix, since it is
  not the network's memory that is asked. The peak of each metric over what the process holds once
  the network has looked at a first batch (Linux). The bar: under 300 MB for fd and kid.
rate: images a second of a whole `evaluate --metrics kid` on efficientnet-lite0, and of its network
  alone on the same images, alternately in one process. The bar: at least 0.9 times.
bf16: FD of n training images against n test ones on efficientnet-lite0 by float32 and by bf16, and
  the time of each, alternately. The bar for bf16 to be the default: FD unchanged within 1 %.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.frechet import frechet
from safelight.evaluation.network import MICRO_BATCH, Network
from safelight.evaluation.plan import plan
from safelight.evaluation.pretrained import efficientnet, efficientnet_bf16
from safelight.evaluation.store import extract
from safelight.images import ImageSource, dequantise, pieces
from safelight.seeding import derive
from safelight.sources import open_source

METRICS = ("fd", "kid", "fd-infinity")


@dataclass(frozen=True)
class Noise:
    """Pictures of noise, made when they are asked for."""

    name: str
    count: int
    shape: tuple[int, int, int] = (3, 32, 32)
    classes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        drawn = np.random.default_rng(derive(seeds[0], self.name))
        return torch.from_numpy(drawn.integers(0, 256, (len(seeds), *self.shape), np.uint8))

    def labels(self, seeds: Sequence[int]) -> None:
        return None


def matrix(dimension: int) -> Network:
    """The pictures by a random matrix, rectified: correlated features at little cost."""
    weight = torch.randn(3 * 32 * 32, dimension, generator=torch.Generator().manual_seed(0)) / 55

    def look(images: Tensor) -> Tensor:
        return (dequantise(images).flatten(1) @ weight + 0.3).relu()

    return Network("matrix", dimension, "none", "seed 0", False, look)


def megabytes(of: str) -> int:
    """VmHWM, the peak, or VmRSS, what is held now."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{of}:\s+(\d+) kB", status)[1]) // 1024


def memory(options: argparse.Namespace) -> dict[str, Any]:
    network = matrix(options.dimension)
    FEATURES["matrix"] = lambda material: network
    generated, real, pool = (Noise(name, options.n) for name in ("generated", "real", "pool"))
    extract(network, generated.images(range(64)), generated)
    found: dict[str, Any] = {"n": options.n, "dimension": options.dimension}
    with tempfile.TemporaryDirectory() as folder:
        for metric in options.metrics:
            held, began = megabytes("VmRSS"), time.perf_counter()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            evaluate(
                generated,
                real,
                pool=pool,
                features="matrix",
                metrics=(metric,),
                store=Path(folder),
            )
            found[metric] = {
                "peak_over_network_mb": megabytes("VmHWM") - held,
                "seconds": round(time.perf_counter() - began, 1),
            }
    return found


def splits(cifar10: str) -> tuple[ImageSource, ImageSource]:
    train, test = (open_source(f"{cifar10}:{split}") for split in ("train", "test"))
    return train, test


def look(network: Network, source: ImageSource, seeds: Sequence[int]) -> Tensor:
    """The network alone, on images that are read as `evaluate` reads them."""
    with torch.inference_mode():
        return torch.cat(
            [
                network.extract(source.images(seeds[part]))
                for part in pieces(len(seeds), MICRO_BATCH)
            ]
        )


def rate(options: argparse.Namespace) -> dict[str, Any]:
    train, test = splits(options.cifar10)
    network = efficientnet()
    ratios, rates = [], []
    for seed in range(options.rounds):
        sides = plan(train, test, None, options.n, seed)
        looked = [sides.generated, sides.reference, *([sides.stand_in] if sides.stand_in else [])]
        look(network, train, range(64))
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            evaluate(
                train,
                test,
                pool=None,
                metrics=("kid",),
                n=options.n,
                seed=seed,
                store=Path(folder),
            )
            ours = time.perf_counter() - began
        began = time.perf_counter()
        for side in looked:
            look(network, side.source, side.seeds)
        bare = time.perf_counter() - began
        ratios.append(bare / ours)
        rates.append(sum(map(len, looked)) / bare)
    return {
        "images": options.n,
        "threads": torch.get_num_threads(),
        "bare_images_per_second": round(median(rates), 1),
        "share_of_the_bare_rate": [round(ratio, 3) for ratio in ratios],
        "median_share": round(median(ratios), 3),
    }


def bf16(options: argparse.Namespace) -> dict[str, Any]:
    train, test = splits(options.cifar10)
    sides = plan(train, test, None, options.n, seed=0)
    networks = {"float32": efficientnet(), "bf16": efficientnet_bf16()}
    features: dict[str, list[list[Tensor]]] = {name: [[], []] for name in networks}
    seconds = dict.fromkeys(networks, 0.0)
    for place, side in enumerate((sides.generated, sides.reference)):
        for part in pieces(len(side), 10 * MICRO_BATCH):
            for name, network in networks.items():
                began = time.perf_counter()
                features[name][place].append(look(network, side.source, side.seeds[part]))
                seconds[name] += time.perf_counter() - began
    joined = {name: [torch.cat(part).numpy() for part in f] for name, f in features.items()}
    values = {name: frechet(*both).value for name, both in joined.items()}
    across = frechet(joined["bf16"][0], joined["float32"][1]).value
    return {
        "images": options.n,
        "fd": {name: round(value, 4) for name, value in values.items()},
        "fd_change": values["bf16"] / values["float32"] - 1,
        "fd_change_if_only_one_side_is_bf16": across / values["float32"] - 1,
        "bf16_times_faster": round(seconds["float32"] / seconds["bf16"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    for measure, n in ((memory, 50_000), (rate, 1_500), (bf16, 5_000)):
        verb = verbs.add_parser(measure.__name__)
        verb.set_defaults(measure=measure)
        if measure is not memory:
            verb.add_argument("cifar10", help="a cache, or the zip")
        verb.add_argument("--n", type=int, default=n, help="images a side")
        if measure is memory:
            verb.add_argument("--dimension", type=int, default=2_048)
            verb.add_argument("--metrics", nargs="+", choices=METRICS, default=METRICS)
        if measure is rate:
            verb.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(options.measure(options), indent=2))


if __name__ == "__main__":
    main()
