"""One `prepare` at a time in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from safelight import console, files
from safelight.locks import Lock, locked


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One `prepare` at a time in a folder; removes what a killed one left there."""
    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        if held.enter_context(locked(folder, wait=False)) is Lock.THEIRS:
            console.inform(f"another safelight command is at work in {folder}; waiting for it")
            held.enter_context(locked(folder))
        files.clear_leftovers(folder)
        yield
