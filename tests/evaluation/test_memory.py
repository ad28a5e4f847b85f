from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from benchmarks.evaluate_cost import Noise, matrix

from safelight.evaluation import bench
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES

DIMENSION = 512


def traced(n: int, store: Path) -> int:
    """The most bytes that NumPy's arrays took while n images were judged."""
    generated, real, pool = (Noise(f"{name} {n}", n) for name in ("generated", "real", "pool"))
    tracemalloc.start()
    try:
        evaluate(generated, real, pool=pool, features="matrix", metrics=("fd", "kid"), store=store)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_hold_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C8, B6: an image costs less than its features would on one side, 2 kB; a picture has 3 kB."""
    monkeypatch.setattr(bench, "announce", lambda parts: None)
    monkeypatch.setitem(FEATURES, "matrix", lambda material: matrix(DIMENSION))
    few, many = (traced(n, tmp_path) for n in (2_500, 5_000))
    assert (many - few) / 2_500 < 1_500


@pytest.mark.slow
def test_fifty_thousand_against_fifty_thousand() -> None:
    """C8, B6: under 300 MB beside the feature network, on 2,048 features."""
    command = "benchmarks/evaluate_cost.py memory --n 50000 --dimension 2048 --metrics fd kid"
    ran = subprocess.run(
        [sys.executable, *command.split()], capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    assert max(found[metric]["peak_over_network_mb"] for metric in ("fd", "kid")) < 300
