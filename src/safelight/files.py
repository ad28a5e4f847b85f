"""Writing files so that a kill or a full disk never leaves a half-written one behind.

Everything is written under a temporary name beside its destination, flushed to the disk, and
renamed when it is complete. A temporary name starts with `.tmp-`, so that what a killed process
left can be told apart and removed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safelight.errors import DamagedFile, UserError

TEMPORARY = ".tmp-"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"the disk is full while writing {path}; free some space and run the same "
                "command again (what was complete before is kept)"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"no permission to write {path}; choose another place with --out"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"cannot create {path}: a file stands where a folder is needed; "
                "choose another place with --out"
            ) from error
        raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; rename it to `path` when the block ends well."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        # mkstemp makes private files; results are as readable as any other file of the user's.
        temporary.chmod(0o666 & ~_umask())
        try:
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes `path`'s place when the block ends well.

    An existing folder at `path` is replaced.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
        temporary.chmod(0o777 & ~_umask())
        try:
            yield temporary
            for file in temporary.rglob("*"):
                flush(file)
            flush(temporary)
            _exchange(temporary, path)
            flush(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _exchange(new: Path, path: Path) -> None:
    if path.exists():
        # A folder can't be renamed over a full one: the old one steps aside first.
        old = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
        path.replace(old / path.name)
        new.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.replace(path)


def write_text(path: Path, text: str) -> None:
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    with writing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """The JSON at `path`; raises DamagedFile, with the remedy, where it is missing or cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedFile(f"{path} is missing; {remedy}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path} is damaged; {remedy}") from error


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written directly in `folder`."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Ask the operating system to put `path` on the disk (a rename alone survives a kill only)."""
    if os.name == "nt":  # Windows cannot open a folder, and flushes on close
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
