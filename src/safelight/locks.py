"""Which process is at work where: locks that the system takes back when their process ends.

A lock is that of a file or a folder itself, so that none is left lying about. Only Safelight heeds
them. Windows has none of this kind, nor have some network disks: there, nobody can tell.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path


class Lock(Enum):
    OURS = auto()
    THEIRS = auto()  # another process (or thread) has it
    NONE = auto()  # there is no such lock here, or nothing that could have one


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[Lock]:
    """Hold the lock of the file or folder at `path`, if it can be had, for as long as the block.

    wait: until it can. What has taken the place of `path` meanwhile is locked in its stead.
    """
    while True:
        with _opened(path) as handle:
            lock = _taken(handle, wait)
            if lock is not Lock.OURS or _is_at(path, handle):
                yield lock
                return


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    """A handle; None where there are no locks, and on Windows what is open can't be renamed."""
    try:
        import fcntl  # noqa: F401

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _taken(handle: int | None, wait: bool) -> Lock:
    if handle is None:
        return Lock.NONE
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Lock.THEIRS
    except OSError:  # some network disks
        return Lock.NONE
    return Lock.OURS


def _is_at(path: Path, handle: int | None) -> bool:
    """Whether what was opened is still what lies there."""
    assert handle is not None
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
