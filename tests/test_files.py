"""Files are whole or absent, and every refusal of the system is one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from safelight import files
from safelight.errors import DamagedFile, UserError

KILLED_WHILE_REPLACING = """
import os, signal, sys
from pathlib import Path
from safelight import files

out, renamed = Path(sys.argv[1]), Path.replace

def replace(self, target):
    if Path(target) == out:  # the new folder takes the old one's place
        os.kill(os.getpid(), signal.SIGKILL)
    return renamed(self, target)

Path.replace = replace
with files.writing_folder(out) as folder:
    (folder / "which").write_text("new")
"""


def folder_with(path: Path, text: str) -> None:
    with files.writing_folder(path) as folder:
        (folder / "which").write_text(text)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    """The old folder, which had stepped aside, is put back by the next process."""
    out = tmp_path / "out"
    folder_with(out, "old")
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_REPLACING, str(out)])
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    files.clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "which").read_text() == "old"


def test_a_refused_rename_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, renamed = tmp_path / "out", Path.replace
    folder_with(out, "old")

    def replace(self: Path, target: Path) -> Path:
        if target == out and "old" not in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return renamed(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(UserError, match="the disk is full"):
        folder_with(out, "new")
    assert (out / "which").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_or_a_file_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    for text in ("one", "two"):
        folder_with(out, text)
        assert (out / "which").read_text() == text
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(UserError, match=r"a folder stands in its place"):
        files.write_text(tmp_path / "folder", "text")
    gone = tmp_path / "gone" / "log"
    with (
        pytest.raises(UserError, match=r"the folder of .*log is not there"),
        files.disk_errors(gone),
    ):
        gone.open("a")
    with pytest.raises(FileNotFoundError), files.disk_errors(tmp_path / "here"):
        (tmp_path / "another file").read_text()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder of the system's own")
@pytest.mark.parametrize("make", [files.writing, files.writing_folder])
def test_a_folder_in_which_nothing_can_be_made_is_one_line(make: Any) -> None:
    """Whoever asks: here the system says that what is to be made is not there."""
    refused = r"(nothing can be made in the folder of|no permission to write) /proc/cache"
    with pytest.raises(UserError, match=refused), make(Path("/proc/cache")):
        pass
    with (
        pytest.raises(UserError, match=refused),
        files.resumable_folder(Path("/proc/cache"), lambda: None),
    ):
        pass


def test_json_that_cannot_be_read_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text('{"a": ')
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.json").mkdir()
    for name, what in (
        ("absent.json", "is missing"),
        ("cut.json", "is damaged"),
        ("bytes.json", "is damaged"),
        ("folder.json", "can't be read .Is a directory."),
    ):
        with pytest.raises(DamagedFile, match=rf"{name} {what}.*; make it again$"):
            files.read_json(tmp_path / name, "make it again")


def test_tensors_come_back_and_a_full_disk_is_known_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, strided = tmp_path / "a.safetensors", torch.arange(6.0).reshape(2, 3).T
    files.save_tensors({"strided": strided.requires_grad_()}, path)
    assert torch.equal(load_file(path)["strided"], strided)

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(UserError, match="the disk is full"), files.writing(path) as temporary:
        files.save_tensors({"a": strided}, temporary)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(("count", "whole"), [(3, False), (files.ONE_BY_ONE + 1, True)])
def test_many_files_are_put_on_the_disk_by_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, whole: bool
) -> None:
    """And few each by itself; either way before the folder takes its place."""
    out, calls = tmp_path / "out", []
    monkeypatch.setattr(os, "sync", lambda: calls.append(("all", out.exists())), raising=False)
    monkeypatch.setattr(files, "flush", lambda path: calls.append((path.name, out.exists())))
    with files.writing_folder(out) as folder:
        for i in range(count):
            (folder / f"{i}.png").touch()
    flushed = [name for name, there in calls if not there]
    assert flushed == ["all"] if whole else sorted(flushed)[1:] == ["0.png", "1.png", "2.png"]
    assert calls[-1] == (tmp_path.name, True)
