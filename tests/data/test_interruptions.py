"""Kills, interrupts and full disks leave nothing half-written, and the next run succeeds."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from safelight.data import workers
from safelight.data.look import Look
from safelight.data.options import Options
from safelight.data.origins import find
from safelight.data.prepare import prepare
from safelight.data.writer import ImageWriter
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise

PREPARE = (
    "import sys; from pathlib import Path; import safelight.data.parts as i; i.FEW_FILES = 1; "
    "from safelight.data.prepare import prepare; "
    "prepare(sys.argv[1], size=64, out=Path(sys.argv[2]), workers=2)"
)
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


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


def begun(process: subprocess.Popen[bytes], folder: Path) -> list[psutil.Process]:
    """Wait until pictures are being written; the decoding processes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if any(file.stat().st_size > 10_000 for file in folder.glob(".tmp-*/images.npy")):
            return psutil.Process(process.pid).children()
        time.sleep(0.005)
    pytest.fail("prepare ended before it could be stopped")


@posix
def test_sigkill_leaves_nothing_and_the_next_run_succeeds(
    photographs: Path, tmp_path: Path
) -> None:
    whole = prepare(photographs, size=64, out=tmp_path / "whole").fingerprint
    out = tmp_path / "killed" / "out"
    for _ in range(3):
        process = start(photographs, out)
        children = begun(process, out.parent)
        process.kill()
        process.wait()
        assert not out.exists()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive  # the decoding processes end with the one that they work for
        assert len(list(out.parent.iterdir())) == 1
    assert prepare(photographs, size=64, out=out).fingerprint == whole
    assert [file.name for file in out.parent.iterdir()] == ["out"]


@posix
def test_ctrl_c_leaves_nothing_at_all(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped" / "out"
    process = start(photographs, out)
    children = begun(process, out.parent)
    process.send_signal(signal.SIGINT)
    _, noise_on_the_screen = process.communicate(timeout=30)
    assert process.returncode != 0
    assert list(out.parent.iterdir()) == []
    assert noise_on_the_screen.count(b"Traceback") == 1  # which the command line turns into a line
    assert not psutil.wait_procs(children, timeout=10)[1]


@posix
def test_a_killed_decoding_process_is_one_clear_line(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "lost" / "out"
    process = start(photographs, out)
    begun(process, out.parent)[0].kill()
    _, said = process.communicate(timeout=30)
    assert b"was killed (signal 9), usually for lack of memory" in said.splitlines()[-1]
    assert b"--workers 1" in said
    assert list(out.parent.iterdir()) == []


def test_a_fault_in_a_decoding_process_is_ours() -> None:
    worker = workers.Worker(workers.Job("tape", "", Look((64, 64))))
    try:
        with pytest.raises(RuntimeError, match="ended with status 1"):
            worker.decode(["0.png"])
    finally:
        worker.stop()


def test_stopping_early_stops_the_processes(photographs: Path) -> None:
    found = find(photographs).listing(Options())
    running = found.batches(np.arange(800), Look((64, 64)), 2)
    assert len(next(running).pixels) > 0
    children = psutil.Process().children()
    running.close()  # type: ignore[attr-defined]
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_full_disk(small_disk: Path, make_folder: MakeFolder) -> None:
    folder = make_folder(a=40)
    with pytest.raises(UserError, match="the disk is full while writing .*; free some space"):
        prepare(folder, size=128, out=small_disk / "out")  # 0.7 MB in grey, 2 MB in colour
    assert list(small_disk.iterdir()) == []
    with pytest.raises(UserError, match=r"too full .* needs 2.6 MB or more and 1.0 MB are free"):
        prepare(folder, size=256, out=small_disk / "out")
    assert list(small_disk.iterdir()) == []
    assert prepare(folder, size=64, out=small_disk / "out").count == 40


def test_a_disk_that_fills_up(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ImageWriter, pixels: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ImageWriter, "_write", full)
    with pytest.raises(UserError, match="the disk is full"):
        prepare(make_folder(a=40), out=tmp_path / "here" / "out")
    assert list((tmp_path / "here").iterdir()) == []


def test_two_at_once_make_it_once(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, prints = make_folder(a=40), []

    def run() -> None:
        prints.append(prepare(folder, out=tmp_path / "here" / "out").fingerprint)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(prints) == 4
    assert len(set(prints)) == 1
    shown = capsys.readouterr()
    assert shown.out.count("40 pictures of 16x16") == 1
    assert shown.err.count("nothing to prepare") == 3
