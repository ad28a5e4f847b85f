"""Which pictures can be told from their mirror images, and so are not mirrored unless asked.

    python benchmarks/mirror.py SOURCE ... [--seeds 4]

Of each source what `train` decides, of its training pictures; and what a set of fewer of them would
have been found to be, for several random choices. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from safelight.data import mirror
from safelight.data.cache import Cache, open_data
from safelight.seeding import generator

FEWER = (100, 200, 400, 1_000)


def found(cache: Cache, seeds: int) -> dict[str, object]:
    train = cache.subset("train")
    began = time.perf_counter()
    symmetry = mirror.symmetry(train)
    seconds = time.perf_counter() - began
    return {
        "pictures": symmetry.pictures,
        "told": symmetry.told and round(symmetry.told, 3),
        "mirrored": symmetry.mirrored,
        "seconds": round(seconds, 2),
        "told of fewer": {
            str(n): [round(told_of(train, n, seed), 3) for seed in range(seeds)]
            for n in FEWER
            if n <= train.count
        },
    }


def told_of(train: Cache, n: int, seed: int) -> float:
    """As `symmetry` finds it, of n pictures."""
    rng = generator(seed, "benchmark")
    positions = torch.randperm(train.count, generator=rng)[:n].sort().values
    seen, fold = (
        mirror.difference(train.images(positions.tolist())),
        torch.randperm(n, generator=rng) % 2,
    )
    labels = train.labels(positions.tolist())
    by_class = 0.0 if labels is None else mirror.told_by_class(seen, labels, fold)
    return max(mirror.told(seen, fold), by_class)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    result = {
        Path(source).name: found(open_data(source), options.seeds) for source in options.sources
    }
    print(json.dumps({"limit": mirror.LIMIT, "fewest": mirror.FEWEST, **result}, indent=1))


if __name__ == "__main__":
    main()
