"""Runs that are stopped, killed or out of space go on to the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from safelight.config import Data, Watch
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.locks import locked
from safelight.training.checkpoint import checkpoints
from safelight.training.train import train
from tests.training.conftest import SMALL
from tests.training.stopping import snapshots_hash, train_and_stop_at_seven, weights_hash

OFTEN = Watch(checkpoint_every=4, validate_every=40, preview_every=40, tensorboard=False)
LONGER = SMALL.model_copy(update={"budget": "80steps", "watch": OFTEN})


@pytest.mark.usefixtures("cpu")
def test_stopping_and_resuming_gives_the_same_bits(
    digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6, L9: Ctrl-C in the middle, then the same command again; with all that varies pictures."""
    varied = Data(shift=1, crop="6x8", jitter=0.1, cutout=2, augment=0.5)
    config = SMALL.model_copy(update={"data": varied})
    straight = train(digits, config, tmp_path / "straight")
    out = tmp_path / "stopped"
    train_and_stop_at_seven(digits, config, out, monkeypatch)
    assert checkpoints(out / "checkpoints")[-1].step == 7
    run = train(digits, config, out)
    assert weights_hash(run) == weights_hash(straight)
    assert [r["step"] for r in run.records("train")] == list(range(1, 13))
    assert run.records("validation")[-1]["loss"] == straight.records("validation")[-1]["loss"]


@pytest.mark.usefixtures("cpu")
def test_a_run_of_an_earlier_version_goes_on_and_is_told_so(
    digits: Cache, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """X6: it had the pictures in another order, so that its weights can't be the same bits."""
    train_and_stop_at_seven(digits, SMALL, out, monkeypatch)
    assert "earlier version" not in capsys.readouterr().err
    file = out / "config.yaml"
    file.write_text(file.read_text().replace("format: 2", "format: 1"))
    assert train(digits, SMALL, out).summary.finished
    assert "was begun by an earlier version, which had the pictures in" in capsys.readouterr().err
    train(digits, SMALL, out)
    assert "earlier version" not in capsys.readouterr().err  # there is nothing left to do


@pytest.mark.usefixtures("cpu")
def test_a_full_disk_loses_nothing(digits: Cache, small_disk: Path, tmp_path: Path) -> None:
    """X6: the run says so and stops; with room made, the same command ends with the same bits."""
    wide = SMALL.net.model_copy(update={"widths": (16, 32)})
    config = SMALL.model_copy(update={"net": wide})
    straight = train(digits, config, tmp_path / "straight")
    out = small_disk / "run"
    with pytest.raises(UserError, match="the disk is full while writing .*step-0000.*free some"):
        train(digits, config, out)
    assert not list(out.rglob(".tmp-*"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert weights_hash(train(digits, config, out)) == weights_hash(straight)


def test_a_cut_log_line_is_dropped(digits: Cache, out: Path) -> None:
    run = train(digits, SMALL, out)
    with (out / "log.jsonl").open("a") as log:
        log.write('{"kind": "train", "st')
    assert len(run.records("train")) == 12


KILLED = """
import sys
from pathlib import Path
from safelight.data.cache import Cache
from safelight.training.train import train
from tests.training.test_stopping import LONGER
longer = LONGER.model_copy(update={"budget": sys.argv[3]})
train(Cache.open(Path(sys.argv[1])), longer, Path(sys.argv[2]))
"""


def training(digits: Cache, out: Path, budget: str) -> subprocess.Popen[bytes]:
    """Another process that trains into `out`."""
    command = [sys.executable, "-c", KILLED, str(digits.path), str(out), budget]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.usefixtures("cpu")
def test_a_killed_run_resumes_to_the_same_bits(digits: Cache, tmp_path: Path) -> None:
    """X6, X7: SIGKILL, wherever it strikes; benchmarks/kills.py does it twenty times at random."""
    straight = train(digits, LONGER, tmp_path / "straight")
    out = tmp_path / "killed"
    kills = 0
    for wanted in (10, 40):
        process = training(digits, out, "80steps")
        while process.poll() is None and not _reached(out, wanted):
            time.sleep(0.005)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills == 2
    run = train(digits, LONGER, out)
    assert weights_hash(run) == weights_hash(straight)
    assert snapshots_hash(run) == snapshots_hash(straight)
    assert not list(out.rglob(".tmp-*"))


def test_two_trainings_in_one_folder_are_refused(digits: Cache, out: Path) -> None:
    """While the first still plans, and while it trains; its end frees the folder, a kill too."""
    busy = "another safelight train is at work in .*run; wait for it to end, or choose another"
    out.mkdir()
    with locked(out), pytest.raises(UserError, match=busy):
        train(digits, SMALL, out)
    assert list(out.iterdir()) == []
    process = training(digits, out, "20000steps")
    try:
        while process.poll() is None and not _reached(out, 4):
            time.sleep(0.005)
        with pytest.raises(UserError, match=busy):
            train(digits, SMALL.model_copy(update={"budget": "20000steps"}), out)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    with pytest.raises(UserError, match="holds another run"):
        train(digits, SMALL, out)


def _reached(out: Path, step: int) -> bool:
    saved = checkpoints(out / "checkpoints")
    return bool(saved) and saved[-1].step >= step
