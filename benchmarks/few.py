"""From how many pictures on does KID say something? The width of its interval, by their number.

    python benchmarks/few.py SOURCE [--features efficientnet-lite0] [--pictures 2000] [--draws 100]

SOURCE: CIFAR-10 or another source of pictures of one size. As many others of its own as there are
in the reference, blurred by means of 3x3 pixels, are held against them. For each number n of
pictures a side: how wide half of the 95 % interval is on average, over KID of all of them; how
often the interval lies above zero; and how often it does so of pictures that were left as they are.
A width of 1 is a number that may as well be zero or twice as large. Prints JSON.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from safelight.console import progress
from safelight.data.cache import open_data
from safelight.data.places import user_cache
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.moments import Floats
from safelight.evaluation.network import MICRO_BATCH, Network

COUNTS = (4, 10, 20, 50, 100, 200, 500)


def blurred(images: Tensor) -> Tensor:
    return F.avg_pool2d(images.float(), 3, 1, 1, count_include_pad=False).round().byte()


@torch.inference_mode()
def seen(network: Network, images: Tensor) -> Floats:
    with progress(f"looking by {network.name}", len(images)) as advance:
        parts = []
        for part in images.split(MICRO_BATCH):
            parts.append(network.extract(part).numpy())
            advance(len(part))
    return np.concatenate(parts)


def width(reference: Floats, same: Floats, worse: Floats, n: int, draws: int) -> dict[str, float]:
    """Over draws of n of each side."""
    rng, whole = np.random.default_rng(n), kernel_distance(worse, reference).value
    halves, told, wrong = [], 0, 0
    for _ in range(draws):
        a, b = (rng.choice(len(reference), n, replace=False) for _ in range(2))
        found, alike = (
            kernel_distance(worse[a], reference[b]),
            kernel_distance(same[a], reference[b]),
        )
        halves.append((found.high - found.low) / 2)
        told, wrong = told + (found.low > 0), wrong + (alike.low > 0)
    return {
        "pictures": n,
        "half_width_over_value": round(float(np.mean(halves)) / whole, 2),
        "told_worse": told / draws,
        "told_worse_wrongly": wrong / draws,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--features", default="efficientnet-lite0")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    cache = open_data(options.source)
    rng = np.random.default_rng(0)
    images = cache.images(rng.permutation(cache.count)[: options.pictures].tolist())
    network = FEATURES[options.features](Material(cache.shape, None, user_cache()))
    plain, worse = seen(network, images), seen(network, blurred(images))
    half = len(images) // 2
    rows = [
        width(plain[:half], plain[half:], worse[half:], n, options.draws)
        for n in COUNTS
        if n <= half
    ]
    print(json.dumps({"features": network.name, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
