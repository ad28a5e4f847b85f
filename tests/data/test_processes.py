"""Processes that prepare and that decode: killed, interrupted and stopped, they leave no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from safelight.data import workers
from safelight.data.look import Look
from safelight.data.options import Options
from safelight.data.origins import find
from safelight.data.prepare import prepare
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise
from tests.data.test_interruptions import lines_of, posix

PREPARE = (
    "import sys; from pathlib import Path; import safelight.data.parts as i; i.FEW_FILES = 1; "
    "from safelight.data.prepare import prepare; "
    "prepare(sys.argv[1], size=64, out=Path(sys.argv[2]), workers=2)"
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """800 pictures that take a second or two, by links to a few."""
    root = tmp_path_factory.mktemp("photographs")
    for k in range(4):
        (root / f"class {k}").mkdir()
        noise(k, (300, 300)).save(root / f"class {k}" / "0.png")
        for i in range(1, 200):
            os.link(root / f"class {k}" / "0.png", root / f"class {k}" / f"{i}.png")
    return root


def start(source: Path, out: Path) -> subprocess.Popen[bytes]:
    # With less priority than the test, which has to see it begin before it ends.
    command = ["nice", sys.executable, "-c", PREPARE, str(source), str(out)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts
    )


def heed_interrupts() -> None:
    """Where the tests themselves run in the background, a shell has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def begun(process: subprocess.Popen[bytes], folder: Path, lines: int = 0) -> list[psutil.Process]:
    """Wait until there is more than `lines` batches in the journal; the decoding processes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if lines_of(folder) > lines:
            return psutil.Process(process.pid).children()
        time.sleep(0.005)
    pytest.fail("prepare ended before it could be stopped")


@posix
def test_a_killed_prepare_goes_on_to_the_same_cache(photographs: Path, tmp_path: Path) -> None:
    """Nothing that looks like a cache is there before it is whole, and no work is done twice."""
    whole = prepare(photographs, size=64, out=tmp_path / "whole").fingerprint
    out = tmp_path / "killed" / "out"
    kept = 0
    for _ in range(3):
        process = start(photographs, out)
        children = begun(process, out.parent, kept)
        process.kill()
        process.wait()
        assert not out.exists()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive  # the decoding processes end with the one that they work for
        assert len(list(out.parent.iterdir())) == 1
        before, kept = kept, lines_of(out.parent)
        assert kept >= before > 0 or before == 0
    assert prepare(photographs, size=64, out=out).fingerprint == whole
    assert [file.name for file in out.parent.iterdir()] == ["out"]


@posix
def test_ctrl_c_keeps_what_is_done(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped" / "out"
    process = start(photographs, out)
    children = begun(process, out.parent)
    process.send_signal(signal.SIGINT)
    _, noise_on_the_screen = process.communicate(timeout=30)
    assert process.returncode != 0
    assert lines_of(out.parent) > 0
    assert noise_on_the_screen.count(b"Traceback") == 1  # which the command line turns into a line
    assert b"kept for a week, and the same command goes on from there" in noise_on_the_screen
    assert not psutil.wait_procs(children, timeout=10)[1]


@posix
def test_a_killed_decoding_process_is_one_clear_line(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "lost" / "out"
    process = start(photographs, out)
    begun(process, out.parent)[0].kill()
    _, said = process.communicate(timeout=30)
    assert b"was killed (signal 9), usually for lack of memory" in said.splitlines()[-1]
    assert b"--workers 1" in said
    assert lines_of(out.parent) > 0  # "run it again", and it goes on


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's memory")
def test_a_decoding_process_with_too_little_memory_is_one_clear_line(tmp_path: Path) -> None:
    """The picture is not told of as damaged: it may be good."""
    noise(0).save(tmp_path / "small.png")
    Image.new("1", (9000, 9000)).save(tmp_path / "large.png")
    worker = workers.Worker(workers.Job("folder", str(tmp_path), Look((64, 64))))
    try:
        assert worker.decode(workers.Packet(["small.png"])).found == [(16, 16)]
        process = psutil.Process(worker._process.pid)
        most = process.memory_info().vms + 2**25
        process.rlimit(psutil.RLIMIT_AS, (most, most))
        with pytest.raises(UserError, match="too little memory to decode a picture; close other"):
            worker.decode(workers.Packet(["large.png"]))
    finally:
        worker.stop()


@posix
def test_ctrl_c_while_the_processes_start(tmp_path: Path) -> None:
    """They leave it to the one that they work for, as early as they import anything."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "workers.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(0.3)\n"
        "def serve():\n    print('serving')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", workers.START, str(tmp_path), *sys.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"serving\n", b"")


def test_a_fault_in_a_decoding_process_is_ours() -> None:
    worker = workers.Worker(workers.Job("tape", "", Look((64, 64))))
    try:
        with pytest.raises(RuntimeError, match="ended with status 1"):
            worker.decode(workers.Packet(["0.png"]))
    finally:
        worker.stop()


def test_stopping_early_stops_the_processes(photographs: Path) -> None:
    found = find(photographs).listing(Options())
    running = found.batches(np.arange(800), Look((64, 64)), 2)
    assert len(next(running).pixels) > 0
    children = psutil.Process().children()
    running.close()  # type: ignore[attr-defined]
    assert not psutil.wait_procs(children, timeout=10)[1]


@posix
def test_a_cache_that_is_up_to_date_waits_for_nobody(
    make_folder: MakeFolder, photographs: Path, tmp_path: Path
) -> None:
    """Nor does another cache beside that one."""
    few, here = make_folder(a=30), tmp_path / "here"
    prepare(few, size=64, out=here / "ready")
    process = start(photographs, here / "slow")
    begun(process, here)
    process.send_signal(signal.SIGSTOP)
    try:
        for name in ("ready", "other"):
            start(few, here / name).communicate(timeout=30)
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    assert sorted(file.name for file in here.iterdir()) == ["other", "ready", "slow"]
