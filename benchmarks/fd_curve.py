"""FD against the number of images, and at infinity: CIFAR-10's training split against its test one.

    python benchmarks/fd_curve.py CIFAR10 --out OUT [--networks classifier efficientnet-lite0 ...]

CIFAR10: a cache, or the zip. Real against real, whose distance is nothing, and with one class left
out of the training images, as a model may. Each on several networks, at 500 to 10,000 images; where
there are fewer images than features and one, FD is refused and left out. `pixels-8x8` is the
picture itself, scaled down by averaging to 192 numbers: it needs no weights.

Writes OUT/fd_curve.json and OUT/fd_curve.png, and prints a table. The bar: FD at infinity of 2,000
and of 5,000 images has that of the most images in its interval. Features are kept
($SAFELIGHT_CACHE), so a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from safelight.data.places import user_cache
from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval
from safelight.evaluation.extrapolate import frechet_at_infinity
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.frechet import frechet
from safelight.evaluation.moments import Features
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan, Side, plan
from safelight.evaluation.store import features_of
from safelight.images import dequantise
from safelight.sources import open_source

COUNTS = (500, 1_000, 2_000, 5_000, 10_000)
JUDGED = range(2_000, 5_001)  # counts whose extrapolation is held against that of the most images
WITHOUT = "ship"


def small_pixels(material: Material) -> Network:
    """192 numbers of a picture, in [-1, 1]."""

    def extract(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(dequantise(images), 8).flatten(1)

    return Network("pixels-8x8", 192, "averaged to 8x8", "none", False, extract)


NETWORKS = {**FEATURES, "pixels-8x8": small_pixels}


def looked(side: Side, network: Network, batch: int) -> np.ndarray:
    """(n, d) in an order drawn at random: the first k are k of them at random."""
    (kept,) = features_of(side.source, side.seeds, [network], user_cache(), batch)
    return kept[:][np.random.default_rng(0).permutation(len(kept))]


def labels(side: Side) -> np.ndarray:
    """The classes' names in the order of `looked`."""
    held = side.source.labels(side.seeds)
    assert held is not None
    names = np.array(side.source.classes)[held.numpy()]
    return names[np.random.default_rng(0).permutation(len(names))]


def curve(first: np.ndarray, second: np.ndarray) -> list[dict[str, Any]]:
    """One row for each count that there are images for, and for all of them."""
    most = min(len(first), len(second))
    counts = sorted({*(n for n in COUNTS if n <= most), most})
    rows = [
        {
            "n": n,
            "fd": measured(frechet, first[:n], second[:n]),
            "infinity": measured(frechet_at_infinity, first[:n], second[:n]),
        }
        for n in counts
    ]
    limit = rows[-1]["infinity"]["value"]
    for row in rows:
        if row["n"] in JUDGED and row["infinity"]:
            row["holds"] = row["infinity"]["low"] <= limit <= row["infinity"]["high"]
    return rows


def measured(
    measure: Callable[[Features, Features], Interval], first: np.ndarray, second: np.ndarray
) -> dict[str, Any] | None:
    try:
        return asdict(measure(first, second))
    except TooFewImages:
        return None


def told(value: dict[str, Any] | None) -> str:
    if value is None:
        return "refused"
    return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"


def table(found: dict[str, Any]) -> None:
    print("| network | training images | n | FD | FD at infinity |")
    print("| --- | --- | --- | --- | --- |")
    for name, held in found.items():
        for case, rows in held["curves"].items():
            for row in rows:
                cells = (name, case, f"{row['n']:,}", told(row["fd"]), told(row["infinity"]))
                print(f"| {' | '.join(cells)} |")


def picture(found: dict[str, Any], path: Path) -> None:
    """FD and FD at infinity against n, a column for each network."""
    figure, axes = plt.subplots(
        1, len(found), figsize=(3.4 * len(found), 3.2), layout="constrained", squeeze=False
    )
    for axis, (name, held) in zip(axes[0], found.items(), strict=True):
        for colour, (case, rows) in zip(("C0", "C1"), held["curves"].items(), strict=True):
            for key, line in (("fd", "--"), ("infinity", "-")):
                shown = [(row["n"], row[key]) for row in rows if row[key]]
                ends = [[held[end] for end in ("value", "low", "high")] for _, held in shown]
                value, low, high = np.array(ends).T
                axis.errorbar(
                    [n for n, _ in shown],
                    value,
                    (value - low, high - value),
                    color=colour,
                    linestyle=line,
                    marker="o",
                    markersize=3,
                    capsize=2,
                    linewidth=1.2,
                    label=f"{'FD' if key == 'fd' else 'at infinity'}, {case}",
                )
        axis.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        axis.set(xscale="log", title=f"{name}, {held['dimension']:,} features", xlabel="images")
        axis.set_xticks(COUNTS, [f"{n:,}" for n in COUNTS], fontsize=7)
        axis.minorticks_off()
    axes[0][0].legend(fontsize=7)
    figure.savefig(path, dpi=100)


def judged(name: str, sides: Plan, material: Material, batch: int) -> dict[str, Any]:
    network = NETWORKS[name](material)
    train, test = (looked(side, network, batch) for side in (sides.generated, sides.reference))
    without = train[labels(sides.generated) != WITHOUT]
    return {
        "dimension": network.dimension,
        "weights": network.weights,
        "curves": {"all": curve(train, test), f"without {WITHOUT}": curve(without, test)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cifar10")
    parser.add_argument("--n", type=int, default=max(COUNTS), help="images of each split")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True)
    usual = ("classifier", "efficientnet-lite0", "pixels-8x8")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=usual)
    options = parser.parse_args()
    train, test = (open_source(f"{options.cifar10}:{split}") for split in ("train", "test"))
    sides = plan(train, test, None, options.n, seed=0)
    material = Material(train.shape, train, user_cache())
    found = {name: judged(name, sides, material, options.batch) for name in options.networks}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "fd_curve.json").write_text(json.dumps(found, indent=2) + "\n")
    picture(found, options.out / "fd_curve.png")
    table(found)
    rows = [row for held in found.values() for rows in held["curves"].values() for row in rows]
    holds = [row["holds"] for row in rows if "holds" in row]
    print(f"\n{sum(holds)} of {len(holds)} extrapolations hold that of the most images")


if __name__ == "__main__":
    main()
