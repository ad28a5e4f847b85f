"""Streaming moments of 50,000 x 2,048 features: memory of a fresh process, exactness, merging.

    python benchmarks/moments.py [--rows 50000] [--dimension 2048] [--shards 7]

Prints JSON. The bars: peak memory under 500 MB, relative errors under 1e-9.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from safelight.evaluation.moments import FeatureFile, Moments, moments

CHUNK = 2_000


def write_features(path: Path, rows: int, dimension: int) -> None:
    """Correlated features with means far from zero, as networks give them."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((dimension, dimension)).astype(np.float32) / dimension**0.5
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dimension))
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        drawn = rng.standard_normal((count, dimension), dtype=np.float32)
        file[start : start + count] = np.maximum(drawn @ mixing + 0.4, 0)
    file.flush()


def stream(path: Path) -> dict[str, float]:
    """The measured process: it must hold neither the features nor a second copy of them."""
    began = time.perf_counter()
    held = moments(FeatureFile(path))
    seconds = time.perf_counter() - began
    np.savez(path.with_suffix(".npz"), mean=held.mean, covariance=held.covariance)
    return {"peak_mb": peak_megabytes(), "seconds": round(seconds, 2), "rows": held.count}


def peak_megabytes() -> int:
    """Of this process alone (Linux); getrusage would count its parent's memory before exec."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024


def compare(path: Path, shards: int) -> dict[str, float]:
    """Against numpy's own mean and covariance in float64, and against shards that were merged."""
    features = np.load(path)
    ours = np.load(path.with_suffix(".npz"))
    exact = features.astype(np.float64)
    mean, covariance = exact.mean(axis=0), np.cov(exact, rowvar=False)
    merged = Moments(features.shape[1])
    for shard in np.array_split(features, shards):
        merged = merged.merge(moments(shard))
    return {
        "mean_error": _relative(ours["mean"], mean),
        "covariance_error": _relative(ours["covariance"], covariance),
        "merged_mean_error": _relative(merged.mean, ours["mean"]),
        "merged_covariance_error": _relative(merged.covariance, ours["covariance"]),
    }


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimension", type=int, default=2_048)
    parser.add_argument("--shards", type=int, default=7)
    parser.add_argument("--stream", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stream:
        print(json.dumps(stream(chosen.stream)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        write_features(path, chosen.rows, chosen.dimension)
        command = [sys.executable, __file__, "--stream", str(path)]
        measured = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(json.dumps({**measured, **compare(path, chosen.shards)}, indent=2))


if __name__ == "__main__":
    main()
