"""What all tests share."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Benchmarks import one another, as scripts do. Last: one of them is called as a library, coverage.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
# Small tensors: a second thread costs more than it gives, above all beside other processes.
torch.set_num_threads(1)
# An example that a busy machine made wait is no slow one.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """What is there from the start stays: each training looks for garbage, three times."""
    gc.freeze()


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where training gives the same bits again, and libraries the same digits: no GPU is seen.

    A GPU adds up gradients in whichever order comes first, so that the last bits of weights differ
    from one training to the next; a run's equal bits are promised of a CPU alone.
    """
    from accelerate.state import AcceleratorState, PartialState

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # of other processes that the test begins
    for state in (AcceleratorState, PartialState):  # which remember the device of the first run
        monkeypatch.setattr(state, "_shared_state", {})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte; the test is skipped where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)
