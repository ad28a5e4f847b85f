"""Stopping a training in its middle, and telling whether two came to the same."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from safelight.config import Config
from safelight.data.cache import Cache
from safelight.training.checkpoint import checkpoints
from safelight.training.loop import Profiled
from safelight.training.run import Run
from safelight.training.train import train
from safelight.training.trainer import Trainer
from safelight.training.watching import Judge


def weights_hash(run: Run) -> str:
    newest = run.checkpoint()
    parts = [(newest.path / name).read_bytes() for name in sorted(newest.state().files)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def snapshots_hash(run: Run) -> str:
    """Of the names and the bits of all that is kept for averages of other widths."""
    files = sorted(run.averages_folder.iterdir())
    parts = [part for file in files for part in (file.name.encode(), file.read_bytes())]
    assert parts
    return hashlib.sha256(b"".join(parts)).hexdigest()


def train_and_stop_at_seven(
    cache: Cache,
    config: Config,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    judge: Judge | None = None,
    profiled: Profiled | None = None,
) -> None:
    """Ctrl-C, once, in the seventh of twelve steps."""
    advance = Trainer.advance

    def stop_at_seven(self: Trainer) -> float:
        if self.step == 6 and self.plan.steps == 12 and not checkpoints_in(out, 7):
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(Trainer, "advance", stop_at_seven)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 7 of 12"):
        train(cache, config, out, judge, profiled)


def checkpoints_in(out: Path, step: int) -> bool:
    return any(saved.step == step for saved in checkpoints(out / "checkpoints"))
