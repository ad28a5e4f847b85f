"""One `prepare` at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safelight import console, files
from safelight.data.stored import IMAGES


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One `prepare` at a time in a folder; removes what a killed one left there."""
    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as locked:
        if locked:
            files.restore(folder)
            for leftover in folder.glob(f"{files.TEMPORARY}*/{IMAGES}"):
                shutil.rmtree(leftover.parent, ignore_errors=True)
        yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock; False where the system or the disk has no such locks."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.inform(f"waiting for another `safelight prepare` in {folder}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some network disks
            yield False
            return
        yield True
    finally:
        os.close(handle)
