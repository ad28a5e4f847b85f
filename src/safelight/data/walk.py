"""The files below a folder or in a zip archive, and how their bytes are read.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from safelight.data.decode import SUFFIXES
from safelight.errors import UserError

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Rejection:
    """A file that gives no picture, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. `key` is how it is read; `parts` are its folders and its name."""

    key: str
    parts: tuple[str, ...]
    size: int
    stamp: int  # modification time in a folder, checksum in a zip


@dataclass
class Found:
    """All that a walk saw."""

    entries: list[Entry] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)


def walk_folder(root: Path) -> Found:
    """All files under `root`; hidden ones and loops of links are left out."""
    found = Found()
    _walk(str(root), (), frozenset(), found)
    return found


def _walk(
    folder: str, parts: tuple[str, ...], above: frozenset[tuple[int, int]], to: Found
) -> None:
    try:
        status = os.stat(folder)  # noqa: PTH116 (a Path for each of 100,000 files is slow)
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link to a folder that we are in
            return
        with os.scandir(folder) as listed:
            items = sorted(listed, key=lambda item: item.name)
    except PermissionError:
        to.rejected.append(Rejection("/".join(parts), "no permission to read this folder"))
        return
    except OSError as error:  # a link to itself, a folder that has just gone
        to.rejected.append(Rejection("/".join(parts), f"cannot be read: {error.strerror}"))
        return
    for item in items:
        if item.name.startswith(".") or item.name == "__MACOSX":
            continue
        if _is_folder(item):
            _walk(item.path, (*parts, item.name), above | {here}, to)
        else:
            _add_file(item, parts, to)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _add_file(item: os.DirEntry[str], parts: tuple[str, ...], to: Found) -> None:
    key = "/".join((*parts, item.name))
    if _suffix(item.name) not in SUFFIXES:
        to.ignored[_suffix(item.name)] += 1
        return
    try:
        status = item.stat()
        if not item.is_file():
            to.rejected.append(Rejection(key, "not a file"))
            return
    except OSError as error:
        to.rejected.append(Rejection(key, f"a broken link or lost file: {error.strerror}"))
        return
    to.entries.append(Entry(key, (*parts, item.name), status.st_size, status.st_mtime_ns))


def walk_zip(path: Path) -> Found:
    """All files in the archive; hidden ones are left out. Raises UserError for a damaged one."""
    found = Found()
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(
            f"{path} cannot be read as a zip archive ({error}); make or fetch it again"
        ) from error
    for name, member in members.items():
        parts = tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if member.is_dir() or hidden or not parts:
            continue
        if _suffix(parts[-1]) in SUFFIXES:
            found.entries.append(Entry(name, parts, member.file_size, member.CRC))
        else:
            found.ignored[_suffix(parts[-1])] += 1
    return found


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def signature(found: Found) -> str:
    """Equal as long as no picture is added, removed or changed."""
    digest = hashlib.sha256()
    for entry in sorted(found.entries, key=lambda entry: entry.key):
        line = f"{entry.key}\0{entry.size}\0{entry.stamp}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _folder(root: str) -> Read:
    def read(name: str) -> bytes:
        with open(f"{root}/{name}", "rb") as file:  # noqa: PTH123 (a Path costs more than it)
            return file.read()

    return read


def _zip(root: str) -> Read:
    return zipfile.ZipFile(root).read


READERS: dict[str, Callable[[str], Read]] = {"folder": _folder, "zip": _zip}
