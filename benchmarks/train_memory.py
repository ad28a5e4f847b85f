"""Peak memory of `train` on many images against few: it must not grow with the data.

    python benchmarks/train_memory.py SOURCE [--few 5000] [--size 32]

SOURCE is a folder or zip of at least ten times as many pictures (CIFAR-10 as JPEGs, say), or a
named set. Both runs train a small network on 25,600 images. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from kept import peak_megabytes

OPTIONS = (
    "--preset small --budget 200steps --optimiser.batch 128 --net.widths 8 16 --net.blocks 1 "
    "--watch.no-tensorboard"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--few", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=32)
    options = parser.parse_args()
    from safelight import prepare

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        many = prepare(options.source, size=options.size, out=folder / "many")
        per_class = options.few * many.count // many.subset("train").count // len(many.classes)
        few = prepare(options.source, size=options.size, out=folder / "few", per_class=per_class)
        result = {
            name: {
                "training_images": cache.subset("train").count,
                "peak_mb": peak_megabytes(
                    "train", cache.path, "--out", folder / f"run-{name}", *OPTIONS
                ),
            }
            for name, cache in (("many", many), ("few", few))
        }
    result["difference_mb"] = round(result["many"]["peak_mb"] - result["few"]["peak_mb"], 1)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
