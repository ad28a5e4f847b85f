"""LMDB databases of pictures, as LSUN is published: a key for each, and the bytes of its file.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

from safelight.data.libraries import library
from safelight.data.walk import Entry, Found, Read
from safelight.errors import UserError

DATA = "data.mdb"
# Reads the end of every value, of a database that is mapped into memory.
READ_ALL = """
import sys, lmdb
with lmdb.open(sys.argv[1], readonly=True, lock=False, create=False) as environment:
    with environment.begin(buffers=True) as reading:
        for _, value in reading.cursor():
            bytes(value[-1:])
"""


def is_lmdb(folder: Path) -> bool:
    return (folder / DATA).is_file()


def walk_lmdb(folder: Path) -> Found:
    """All that it holds, in the order of the keys. Raises UserError for a damaged one."""
    entries = []
    lmdb, environment = _opened(str(folder.resolve()))
    _require_whole(folder, environment)
    try:
        with environment.begin(buffers=True) as reading:
            for key, value in reading.cursor():
                name = bytes(key).decode("latin-1")
                entries.append(Entry(name, (name,), len(value), 0))
    except lmdb.Error as error:
        raise UserError(f"{folder} is damaged ({error}); fetch it again") from error
    return Found(entries)


def _require_whole(folder: Path, environment: Any) -> None:
    """Raise UserError for a database that is cut short.

    The system ends a process that reads behind the end of the file, so another one tries it. The
    last pages may also be missing because nothing is in them, where much was deleted.
    """
    there = (folder / DATA).stat().st_size
    if there >= (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]:
        return
    done = subprocess.run([sys.executable, "-c", READ_ALL, str(folder)], capture_output=True)
    if done.returncode:
        raise UserError(f"{folder} is damaged ({DATA} is cut short); fetch it again")


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
