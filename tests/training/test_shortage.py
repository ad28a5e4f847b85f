"""Training where memory runs out in the middle: real processes with too little of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from safelight.config import Net, Optimiser, Plan, Watch
from safelight.data.cache import Cache
from safelight.errors import OutOfMemory
from safelight.training.checkpoint import checkpoints
from safelight.training.run import Run
from safelight.training.shortage import is_shortage, smaller
from safelight.training.train import start_run, train
from tests.training.conftest import SMALL, plan
from tests.training.stopping import weights_hash

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
# All 128 pictures at once need more than 60 MB, and 32 do not. Steps of plain descent: what Adam
# divides by is the size of the gradient, so that it makes differences of rounding as large as that.
CONFIG = SMALL.model_copy(
    update={
        "net": Net(widths=(64, 64), blocks=2, attention=(4,)),
        "optimiser": Optimiser(name="sgd", lr=0.05, batch=128, warmup=0),
        "watch": Watch(checkpoint_every=2, validate_every=6, preview_every=6, tensorboard=False),
    }
)
WHOLE = plan(steps=6, micro_batch=128, checkpoint_every=2, preview_every=6)

# Its arguments: cache, run, step before which memory gets short, and the bytes that are left then.
STARVED = """
import re, resource, sys
from pathlib import Path
import torch
from safelight.cli import main
from safelight.training.trainer import Trainer

data, out, at, left, starved = sys.argv[1:]
advance = Trainer.advance
taken = []

def used():
    return 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def starve(self):
    if self.step == int(at) and self.batches.rank == int(starved) and not taken:
        before = used()
        while used() == before:  # what earlier steps have left in the process
            taken.append(torch.empty(2**17, dtype=torch.uint8))
        resource.setrlimit(resource.RLIMIT_AS, (used() + int(left),) * 2)
    return advance(self)

Trainer.advance = starve
main(["train", data, "--out", out, "--resume"])
"""


def starved(
    digits: Cache, out: Path, *, at: int, left: int, run: Plan = WHOLE, processes: int = 1
) -> subprocess.CompletedProcess[str]:
    """Train by this plan in processes the last of which gets short of memory before step `at`."""
    if not (out / "config.yaml").exists():
        start_run(digits, CONFIG, run, out)
    python = [sys.executable]
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    script = out.parent / "starved.py"
    script.write_text(STARVED)
    words = [str(digits.path), str(out), str(at), str(left), str(processes - 1)]
    # A limit of address space counts what glibc sets aside for each thread.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    command = [*python, str(script), *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


@pytest.mark.slow
@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("at", [0, 3])
def test_a_step_that_does_not_fit_is_done_again_in_smaller_pieces(
    at: int, digits: Cache, tmp_path: Path
) -> None:
    """X5, X6: to the bits of a run with these pieces, and to rounding those of smaller ones."""
    done = starved(digits, tmp_path / "short", at=at, left=60 * 2**20)
    assert done.returncode == 0, done.stderr
    short = Run.open(tmp_path / "short")
    sizes = [size for _, size in short.plan.smaller]
    assert sizes[0] == 64
    assert {since for since, _ in short.plan.smaller} == {at}
    said = f"memory ran out in step {at + 1}: it is done again, with 64 images at a time"
    assert done.stderr.count(said) == 1
    # Resuming finds it: the same plan without a limit is the same run.
    start_run(digits, CONFIG, short.plan, tmp_path / "again")
    again = train(digits, CONFIG, tmp_path / "again")
    assert weights_hash(again) == weights_hash(short)
    small = WHOLE.model_copy(update={"micro_batch": sizes[-1]})
    start_run(digits, CONFIG, small, tmp_path / "small")
    _require_close(train(digits, CONFIG, tmp_path / "small"), short)


def _require_close(one: Run, other: Run) -> None:
    """Sums of 128 gradients in another order, six times: hardly more than float32's 6e-8."""
    for weights in ("raw", "ema"):
        pairs = zip(
            one.checkpoint().weights(weights).values(),
            other.checkpoint().weights(weights).values(),
            strict=True,
        )
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("cpu")
def test_processes_agree_where_one_of_them_runs_short(digits: Cache, tmp_path: Path) -> None:
    """X5, X16: the second of two has too little; both go on in the same pieces."""
    halves = WHOLE.model_copy(update={"micro_batch": 64, "processes": 2})
    done = starved(digits, tmp_path / "short", at=3, left=30 * 2**20, run=halves, processes=2)
    assert done.returncode == 0, done.stderr
    short = Run.open(tmp_path / "short")
    assert short.plan.smaller[0] == (3, 32)
    assert done.stderr.count("with 32 images at a time from now on") == 1
    start_run(digits, CONFIG, WHOLE, tmp_path / "alone")
    _require_close(train(digits, CONFIG, tmp_path / "alone"), short)


@pytest.mark.slow
@pytest.mark.usefixtures("cpu")
def test_where_a_single_image_does_not_fit_it_is_said_what_to_do(
    digits: Cache, tmp_path: Path
) -> None:
    """X5, X6: exit code 2, and the run goes on from its last checkpoint when memory is free."""
    out = tmp_path / "run"
    done = starved(digits, out, at=3, left=-(2**28))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert (
        "memory ran out in step 4 with a single image; the checkpoints before it are good" in last
    )
    assert "Traceback" not in done.stderr
    assert checkpoints(out / "checkpoints")[-1].step == 2
    assert train(digits, CONFIG, out).summary.finished


def test_what_is_looked_at_together_is_not_split() -> None:
    """C6: in pieces it would be another objective."""
    compared = SMALL.model_copy(update={"net": SMALL.net.model_copy(update={"norm": "batch"})})
    with pytest.raises(OutOfMemory, match="in step 8, whose .* can't be split; .*smaller --opt"):
        smaller(plan(), 7, compared, None)


def test_pieces_are_halved_from_the_step_on() -> None:
    """Those of earlier steps stay: resuming among them gives the same bits."""
    made = smaller(smaller(plan(micro_batch=5), 7, SMALL, None), 7, SMALL, None)
    made = smaller(made, 4, SMALL, None)  # resumed, with less memory than before
    assert [made.micro_batch_at(step) for step in (0, 3, 4, 6, 7, 9)] == [5, 5, 3, 3, 2, 2]


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_what_a_lack_of_memory_is(error: Exception, short: bool) -> None:
    assert is_shortage(error) == short
