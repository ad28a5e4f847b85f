"""Time and peak memory of `report CACHE` on few and on many pictures, with which it must not grow.

    python benchmarks/profile_cost.py CACHE [--times 1 4 16]

CACHE is one that `prepare` made, such as of CIFAR-10. Its pictures are repeated so many times in a
cache of their own; of each page the seconds, the peak memory and the size are printed, as JSON. The
first page looks at its pictures with the feature network; the others too, since theirs are others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from kept import peak_megabytes

from safelight.data.cache import Cache
from safelight.data.meta import FILE
from safelight.data.stored import content_hash
from safelight.data.writer import npy_header

CHUNK = 4096  # pictures that are written at once


def repeated(cache: Cache, times: int, out: Path) -> Path:
    """A cache of the same pictures, so many times; what was noted of their files is left out."""
    out.mkdir()
    n, images = cache.count * times, out / "images.npy"
    digest = hashlib.sha256()
    with images.open("wb") as file:
        file.write(npy_header((n, *cache.shape)))
        for _ in range(times):
            for start in range(0, cache.count, CHUNK):
                data = cache.read(np.arange(start, min(start + CHUNK, cache.count))).tobytes()
                digest.update(data)
                file.write(data)
    labels = np.tile(cache.class_labels(), times) if cache.classes else np.zeros(n, np.int64)
    splits = np.tile(cache.split_codes(), times)
    np.save(out / "labels.npy", labels)
    np.save(out / "splits.npy", splits)
    hashes = {
        "images": digest.hexdigest(),
        "labels": content_hash(labels),
        "splits": content_hash(splits),
    }
    counts = {
        name: {split: count * times for split, count in row.items()}
        for name, row in cache.meta.counts.items()
    }
    stamp = images.stat().st_mtime_ns
    changes = {"count": n, "counts": counts, "hashes": hashes, "stamp": stamp, "name": out.name}
    (out / FILE).write_text(cache.meta.model_copy(update=changes).model_dump_json())
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    cache, found = Cache.open(options.cache), []
    for times in options.times:
        with tempfile.TemporaryDirectory(dir=options.cache.parent) as scratch:
            place = repeated(cache, times, Path(scratch) / f"times-{times}")
            page, start = Path(scratch) / "page.html", time.perf_counter()
            peak = peak_megabytes("report", place, "--out", page)
            row = {"pictures": cache.count * times, "peak_mb": peak}
            row["seconds"] = round(time.perf_counter() - start, 1)
            row["page_mb"] = round(page.stat().st_size / 1e6, 2)
            found.append(row)
    more = found[-1]["pictures"] - found[0]["pictures"]
    grown = found[-1]["peak_mb"] - found[0]["peak_mb"]
    result = {"pages": found, "bytes_a_picture": round(1e6 * grown / max(more, 1), 1)}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
