"""Kills, interrupts and full disks leave nothing half-written, and the next run succeeds."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from safelight.data.decode import Batch
from safelight.data.journal import Journal
from safelight.data.prepare import prepare
from safelight.data.stored import CONTENT
from safelight.data.writer import ImageWriter
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def lines_of(folder: Path) -> int:
    """How many batches are in the journal there."""
    return sum(file.read_text().count("\n") for file in folder.glob(".tmp-*/journal.jsonl"))


class Killed(BaseException):
    """As if the process were gone: nothing that cleans up is to see it."""


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """The next `prepare` is killed when so many batches are written."""
    written, add = [0], Journal.add

    def adding(self: Journal, batch: Batch) -> None:
        if written[0] == batches:
            raise Killed
        written[0] += 1
        add(self, batch)

    monkeypatch.setattr(Journal, "add", adding)


def killed(
    folder: Path, out: Path, batches: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Path:
    """What a `prepare` leaves that is killed after so many batches."""
    with monkeypatch.context() as patched:
        stop_after(patched, batches)
        with pytest.raises(Killed):
            prepare(folder, out=out, **options)
    return next(out.parent.glob(".tmp-safelight-part-*"))


@pytest.fixture
def mixed(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Grey pictures first, then colour, some broken, in batches of 7."""
    monkeypatch.setattr("safelight.data.workers.BATCH_FILES", 7)
    folder = make_folder(mode="L", a=30)
    make_folder(b=30)
    for broken in (3, 4, 20):
        (folder / "b" / f"img{broken}.png").write_bytes(b"no picture")
    return folder


def test_any_number_of_stops_gives_the_same_cache(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what was grey has become colour, and where a class is filled up again."""
    for options in ({}, {"per_class": 20, "split": "80/10/10"}):
        whole = prepare(mixed, out=tmp_path / f"whole{len(options)}", **options)
        for batches in range(1, 7):
            out = tmp_path / "here" / f"{len(options)}-{batches}"
            for _ in range(3):
                try:
                    part = killed(mixed, out, batches, monkeypatch, **options)
                except pytest.fail.Exception:
                    break  # it came to its end
                assert (part / "journal.jsonl").read_text().count("\n") >= batches
            again = prepare(mixed, out=out, **options)
            assert again.fingerprint == whole.fingerprint
            assert again.meta.rejected == whole.meta.rejected
            assert again.file_names() == whole.file_names()


def cut(file: Path, by: int) -> None:
    os.truncate(file, file.stat().st_size - by)


def spoil(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.npy", lambda file: cut(file, 5)),
        ("images.npy", lambda file: cut(file, file.stat().st_size)),
        ("images.npy", lambda file: spoil(file, 0)),
        ("images.npy", lambda file: spoil(file, 5000)),
        ("images.npy", lambda file: file.unlink()),
        ("journal.jsonl", lambda file: cut(file, 5)),
        ("journal.jsonl", lambda file: spoil(file, 0)),
        ("journal.jsonl", lambda file: file.unlink()),
        ("asked.json", lambda file: cut(file, 5)),
        ("asked.json", lambda file: file.unlink()),
    ],
)
def test_what_a_power_cut_spoils_is_made_again(
    name: str,
    damage: Callable[[Path], None],
    mixed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = prepare(mixed, out=tmp_path / "whole").fingerprint
    part = killed(mixed, tmp_path / "here" / "out", 6, monkeypatch)
    damage(part / name)
    assert prepare(mixed, out=tmp_path / "here" / "out").fingerprint == whole


def test_what_was_asked_otherwise_is_not_gone_on_with(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "here" / "out"
    part = killed(mixed, out, 4, monkeypatch)
    noise(77).save(mixed / "a" / "another.png")
    assert prepare(mixed, out=out).count == 58
    assert not part.exists()
    whole = prepare(mixed, size=12, out=tmp_path / "whole").fingerprint
    out = tmp_path / "here" / "other"
    killed(mixed, out, 4, monkeypatch, size=13)
    assert prepare(mixed, size=12, out=out).fingerprint == whole


def test_what_nobody_goes_on_with_is_removed(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = killed(mixed, tmp_path / "here" / "out", 4, monkeypatch)
    prepare(mixed, out=tmp_path / "here" / "other")
    assert part.exists()
    long_ago = time.time() - 8 * 24 * 3600
    for file in (*part.iterdir(), part):
        os.utime(file, (long_ago, long_ago))
    prepare(mixed, out=tmp_path / "here" / "other")
    assert not part.exists()


def test_a_full_disk(small_disk: Path, make_folder: MakeFolder) -> None:
    folder = make_folder(a=40)
    with pytest.raises(UserError, match="the disk is full while writing .*; free some space"):
        prepare(folder, size=128, out=small_disk / "out")  # 0.7 MB in grey, 2 MB in colour
    assert not (small_disk / "out").exists()
    with pytest.raises(UserError, match=r"too full .* needs 2.6 MB or more and 1.0 MB are free"):
        prepare(folder, size=256, out=small_disk / "out")
    assert list(small_disk.iterdir()) == []
    assert prepare(folder, size=64, out=small_disk / "out").count == 40


@pytest.mark.parametrize("after", [0, 3])
def test_a_disk_that_fills_up(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """What was complete before is kept, as its message says; nothing if there was nothing."""
    whole, written = prepare(mixed, out=tmp_path / "whole").fingerprint, [0]
    out, write = tmp_path / "here" / "out", ImageWriter._write

    def full(self: ImageWriter, pixels: NDArray[np.uint8]) -> None:
        written[0] += 1
        if written[0] > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, pixels)

    with monkeypatch.context() as patched:
        patched.setattr(ImageWriter, "_write", full)
        with pytest.raises(UserError, match=r"the disk is full .* complete before is kept"):
            prepare(mixed, out=out)
    assert lines_of(out.parent) == after
    if not after:
        assert list(out.parent.iterdir()) == []
    assert decoded_again(monkeypatch, mixed, out) == (whole, 9 - after)


def decoded_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path, out: Path, **options: Any
) -> tuple[str, int]:
    """The fingerprint of what `prepare` makes now, and how many batches it decodes for it."""
    batches, add = [0], Journal.add

    def adding(self: Journal, batch: Batch) -> None:
        batches[0] += 1
        add(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", adding)
        return prepare(folder, out=out, **options).fingerprint, batches[0]


def test_pictures_that_will_not_do_leave_nothing(make_folder: MakeFolder, tmp_path: Path) -> None:
    """However often one tries, it would be the same."""
    folder = make_folder(a=40)
    noise(77, (9, 9)).save(folder / "a" / "smaller.png")
    with pytest.raises(UserError, match="have different sizes"):
        prepare(folder, out=tmp_path / "here" / "out")
    assert list((tmp_path / "here").iterdir()) == []


KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
from safelight import files
from safelight.data.prepare import prepare

flush = files.flush

def flushing(path):
    if path.suffix == ".json":  # the record is whole, and not renamed yet
        os.kill(os.getpid(), signal.SIGKILL)
    flush(path)

files.flush = flushing
prepare(sys.argv[1], out=Path(sys.argv[2]))
"""


@posix
def test_a_kill_while_the_record_is_written(mixed: Path, tmp_path: Path) -> None:
    """What it leaves does not get into the cache, which is found up to date ever after."""
    out = tmp_path / "here" / "out"
    command = [sys.executable, "-c", KILLED_AT_THE_END, str(mixed), str(out)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    part = next(out.parent.iterdir())
    assert list(part.glob(".tmp-safelight-*.json"))
    made = prepare(mixed, out=out)
    assert {file.name for file in out.iterdir()} == {*CONTENT, "meta.json"}
    assert prepare(mixed, out=out).fingerprint == made.fingerprint


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", ".tmp-safelight-left.json"])
def test_what_systems_scatter_in_a_cache_is_not_held_against_it(
    mixed: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).touch()
    prepare(mixed, out=tmp_path / "out")
    (tmp_path / "out" / name).touch()
    prepare(mixed, out=tmp_path / "out")
    assert "nothing to prepare" in capsys.readouterr().err
    (tmp_path / "out" / "thesis.txt").touch()
    with pytest.raises(UserError, match="holds something else"):
        prepare(mixed, out=tmp_path / "out")


def test_ctrl_c_while_all_is_put_onto_the_disk(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that what is prepared is kept, so nothing is decoded again."""
    whole = prepare(mixed, out=tmp_path / "whole").fingerprint
    out = tmp_path / "here" / "out"

    def stopped(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("safelight.files._flush_within", stopped)
        with pytest.raises(KeyboardInterrupt, match="what is prepared is kept"):
            prepare(mixed, out=out)
    assert decoded_again(monkeypatch, mixed, out) == (whole, 0)


def test_a_line_that_a_kill_cut_is_cut_off_the_journal(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next line would be written onto it, and be lost with all others at the next stop."""
    whole, out = prepare(mixed, out=tmp_path / "whole").fingerprint, tmp_path / "here" / "out"
    part = killed(mixed, out, 5, monkeypatch)
    cut(part / "journal.jsonl", 20)
    killed(mixed, out, 2, monkeypatch)
    assert (part / "journal.jsonl").read_text().count("\n") == 6
    assert decoded_again(monkeypatch, mixed, out) == (whole, 3)


def test_pixels_of_an_earlier_call_are_not_kept_beside_files(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "here" / "out"
    killed(mixed, out, 4, monkeypatch)
    prepare(mixed, out=out, store="files")
    assert not (out / "images.npy").exists()
    assert not (out / "journal.jsonl").exists()
    assert [file.name for file in out.parent.iterdir()] == ["out"]


def test_a_link_as_out_stays_a_link(mixed: Path, tmp_path: Path) -> None:
    """Its folder may lie on another, larger disk."""
    large, link = tmp_path / "large", tmp_path / "here" / "link"
    large.mkdir()
    link.parent.mkdir()
    link.symlink_to(large / "cache", target_is_directory=True)
    for size in (8, 8):
        prepare(mixed, out=link, size=size)
        assert link.is_symlink()
        assert (large / "cache" / "images.npy").exists()
        assert [file.name for file in large.iterdir()] == ["cache"]
        noise(77).save(mixed / "a" / "another.png")  # it is replaced


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
