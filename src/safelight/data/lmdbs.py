"""LMDB databases of pictures, as LSUN is published: a key for each, and the bytes of its file.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from safelight.data.libraries import library
from safelight.data.walk import Entry, Found, Read
from safelight.errors import UserError

DATA = "data.mdb"


def is_lmdb(folder: Path) -> bool:
    return (folder / DATA).is_file()


def walk_lmdb(folder: Path) -> Found:
    """All that it holds, in the order of the keys. Raises UserError for a damaged one."""
    entries = []
    lmdb, environment = _opened(str(folder.resolve()))
    try:
        with environment.begin(buffers=True) as reading:
            for key, value in reading.cursor():
                name = bytes(key).decode("latin-1")
                entries.append(Entry(name, (name,), len(value), 0))
    except lmdb.Error as error:
        raise UserError(f"{folder} is damaged ({error}); fetch it again") from error
    return Found(entries)


def read_lmdb(root: str) -> Read:
    _, environment = _opened(str(Path(root).resolve()))

    def read(key: str) -> bytes:
        with environment.begin() as reading:
            return bytes(reading.get(key.encode("latin-1")))

    return read


@functools.cache  # a process may open a database only once; its threads share it
def _opened(folder: str) -> tuple[Any, Any]:
    lmdb = library("lmdb", folder)
    try:
        # Without a lock: others may only read it too, and a medium may be read-only.
        return lmdb, lmdb.open(folder, readonly=True, lock=False, create=False)
    except lmdb.Error as error:
        raise UserError(f"{folder} cannot be read as LMDB ({error}); fetch it again") from error
