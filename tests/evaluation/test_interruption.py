"""Ctrl-C in a real process: what was looked at stays, and the next evaluation goes on there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from tests.evaluation.sources import Model, pixels, stored

ROOT = Path(__file__).parents[2]
EVALUATE = """
import sys
from pathlib import Path
from tests.evaluation.test_interruption import Slow, judged
judged(Slow(), Path(sys.argv[1]))
"""


class Slow(Model):
    def images(self, seeds, labels=None):  # type: ignore[no-untyped-def]
        time.sleep(0.05)
        return super().images(seeds, labels)


def judged(source: Model, store: Path) -> float:
    FEATURES["pixels"] = lambda material: pixels()
    real, pool = stored("real:test", 200, 2), stored("real:train", 200, 1)
    found = evaluate(
        source,
        real,
        pool=pool,
        features="pixels",
        metrics=("kid",),
        n=200,
        batch=4,
        store=store,
    )
    return found.estimates[0].value


def parts(store: Path) -> list[Path]:
    """Features of a pass that is not complete; not what is being written."""
    return list(store.glob("features/*/[0-9]*-*.npy"))


def heed_interrupts() -> None:
    """Where the tests themselves run in the background, a shell has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_evaluation_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: the images whose features are kept are not made again, and the number is the same."""
    monkeypatch.setitem(FEATURES, "pixels", FEATURES["pixels"])  # to be put back
    whole = judged(Model(), tmp_path / "whole")
    store = tmp_path / "stopped"
    process = subprocess.Popen(
        [sys.executable, "-c", EVALUATE, str(store)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )
    deadline = time.monotonic() + 120
    while len(parts(store)) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in said
    kept = min(len(list(each.iterdir())) for each in store.glob("features/*/"))
    assert 0 < kept < 50
    assert not list(store.glob("features/*.npy"))
    model = Model()
    assert judged(model, store) == whole
    assert sorted(set(model.seen)) == list(range(4 * kept, 200))
    assert not list(store.glob("features/*/"))
