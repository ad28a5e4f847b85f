"""Two commands at once: neither takes what the other is writing for a leftover."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight import files
from safelight.locks import Lock, locked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no such locks")

# Fills OUT, a folder or a file, and ends when it is told to.
FILLING = """
import sys
from pathlib import Path
from safelight import files

out = Path(sys.argv[1])
with (files.writing if out.suffix else files.writing_folder)(out) as temporary:
    (temporary if out.suffix else temporary / "which").write_text("whole")
    print("filling", flush=True)
    sys.stdin.readline()
"""
# Stays between the two renames by which OUT is replaced, until it is told to go on.
REPLACING = """
import sys
from pathlib import Path
from safelight import files

out, renamed = Path(sys.argv[1]), Path.replace

def replace(self, target):
    if Path(target) == out:
        print("replacing", flush=True)
        sys.stdin.readline()
    return renamed(self, target)

Path.replace = replace
with files.writing_folder(out) as folder:
    (folder / "which").write_text("new")
"""


@contextlib.contextmanager
def other(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs `script`, when it has said its first word."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["out", "out.txt"])
def test_what_another_process_fills_is_left_and_what_a_killed_one_left_is_not(
    name: str, tmp_path: Path
) -> None:
    with other(FILLING, tmp_path / name) as process:
        files.clear_leftovers(tmp_path)
        assert process.communicate("end\n")[0] == ""
        assert process.returncode == 0
    whole = tmp_path / name / "which" if name == "out" else tmp_path / name
    assert whole.read_text() == "whole"
    with other(FILLING, tmp_path / name) as process:
        process.kill()
        process.wait()
    assert len(list(tmp_path.iterdir())) == 2
    files.clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_that_is_being_replaced_is_not_put_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with files.writing_folder(out) as folder:
        (folder / "which").write_text("old")
    with other(REPLACING, out) as process:
        files.clear_leftovers(tmp_path)
        assert not out.exists()
        process.communicate("go on\n")
        assert process.returncode == 0
    assert (out / "which").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_not_ours_is_left(tmp_path: Path) -> None:
    (tmp_path / ".tmp-thesis").mkdir()
    (tmp_path / ".tmp-thesis" / "chapter").write_text("years of work")
    (tmp_path / ".tmp-notes").write_text("more of it")
    files.clear_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".tmp-notes", ".tmp-thesis", "chapter"]


def test_a_lock_is_waited_for_and_what_replaced_the_file_is_locked(tmp_path: Path) -> None:
    """Also between threads; and None has it where there is nothing."""
    path, order = tmp_path / "file", []
    path.write_text("one")

    def second() -> None:
        with locked(path) as lock:
            order.append(lock)
            with locked(path, wait=False) as lock:
                order.append(lock)

    thread = threading.Thread(target=second)
    with locked(path) as lock, locked(path, wait=False) as again:
        assert (lock, again) == (Lock.OURS, Lock.THEIRS)
        thread.start()
        time.sleep(0.05)
        files.write_text(path, "two")
        assert order == []
    thread.join()
    assert order == [Lock.OURS, Lock.THEIRS]
    with locked(tmp_path / "nothing") as lock:
        assert lock is Lock.NONE


def test_without_locks_everything_works_and_nothing_is_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    for text in ("one", "two"):
        with files.writing_folder(tmp_path / "out") as folder:
            files.write_text(folder / "which", text)
            files.clear_leftovers(tmp_path)
        assert (tmp_path / "out" / "which").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
