"""Time and peak memory of `report CACHE` on few and on many pictures, with which it must not grow.

    python benchmarks/profile_cost.py SOURCE [--times 1 4 16]

SOURCE is a cache, or what `prepare` makes one of, such as CIFAR-10. Its pictures are repeated so
many times in a cache of their own, with all that is noted of them: names, sizes, and which are
there twice among those of one repetition. Of each page the seconds, the peak memory and the size
are printed, as JSON. The first page looks at its pictures with the feature network; the others
too, since theirs are others.
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

from safelight.data.cache import Cache, open_data
from safelight.data.meta import FILE
from safelight.data.stored import content_hash
from safelight.data.writer import npy_header

CHUNK = 4096  # pictures that are written at once


def repeated(cache: Cache, times: int, out: Path) -> Path:
    """A cache of the same pictures, so many times."""
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
    hashes = {"images": digest.hexdigest(), **noted(cache, times, out)}
    counts = {
        name: {split: count * times for split, count in row.items()}
        for name, row in cache.meta.counts.items()
    }
    stamp = images.stat().st_mtime_ns
    changes = {"count": n, "counts": counts, "hashes": hashes, "stamp": stamp, "name": out.name}
    (out / FILE).write_text(cache.meta.model_copy(update=changes).model_dump_json())
    return out


def noted(cache: Cache, times: int, out: Path) -> dict[str, str]:
    """Write all but the pixels, so many times; gives the hashes."""
    n = cache.count
    labels = cache.class_labels()
    held = {
        "labels": np.tile(np.zeros(n, np.int64) if labels is None else labels, times),
        "splits": np.tile(cache.split_codes(), times),
    }
    sizes, duplicates, names = cache.own_sizes(), cache.duplicates(), cache.file_names()
    if sizes is not None:
        held["sizes"] = np.tile(sizes, (times, 1))
    if duplicates is not None:
        further = np.array([n, n, 0])  # places of a picture and its first one; a flag
        held["duplicates"] = np.concatenate([duplicates + t * further for t in range(times)])
    for name, array in held.items():
        np.save(out / f"{name}.npy", array)
    hashes = {name: content_hash(array) for name, array in held.items()}
    if names is not None:
        lines = "".join(f"{t:04}/{name}\n" for t in range(times) for name in names).encode()
        (out / "names.txt").write_bytes(lines)
        hashes["names"] = hashlib.sha256(lines).hexdigest()
    return hashes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    cache, found = open_data(options.source), []
    for times in options.times:
        with tempfile.TemporaryDirectory(dir=cache.path.parent) as scratch:
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
