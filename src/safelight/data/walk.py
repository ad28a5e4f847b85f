"""The files below a folder or in a zip archive, and how their bytes are read.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from safelight.data.decode import SUFFIXES
from safelight.errors import UserError

Read = Callable[[str], bytes]
NAMED = 100  # as many of the files that are ignored for their ending are named in the record
OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Rejection:
    """A file that gives no picture, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. `key` is what its reader takes; `parts` are its folders and its name."""

    key: str
    parts: tuple[str, ...]
    size: int
    stamp: int  # modification time in a folder, checksum in a zip

    @property
    def name(self) -> str:
        return "/".join(self.parts)


@dataclass
class Found:
    """All that a walk saw."""

    entries: list[Entry] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    left_aside: list[str] = field(default_factory=list)  # the first of those ignored
    rejected: list[Rejection] = field(default_factory=list)

    def ignore(self, name: str) -> None:
        """Leave a file aside for what its ending says."""
        self.ignored[_suffix(name)] += 1
        if len(self.left_aside) < NAMED:
            self.left_aside.append(name)


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
        if _is_hidden(item.name):
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
        to.ignore(key)
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
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except (zipfile.BadZipFile, OSError) as error:
        if _suffix(path.name) in SUFFIXES:
            raise UserError(f"{path} is a picture; give the folder that it lies in") from error
        raise UserError(
            f"{path} cannot be read as a zip archive ({error}); make or fetch it again"
        ) from error
    found = Found()
    for member in members.values():
        _add_member(member, found)
    return found


def _add_member(member: zipfile.ZipInfo, to: Found) -> None:
    # Some Windows programs write backslashes.
    path = member.filename.replace("\\", "/")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts or member.is_dir() or any(_is_hidden(part) for part in parts):
        return
    if _suffix(parts[-1]) not in SUFFIXES:
        to.ignore("/".join(parts))
    elif member.flag_bits & ENCRYPTED or member.compress_type not in UNPACK:
        reason = "encrypted" if member.flag_bits & ENCRYPTED else "packed in an unusual way"
        to.rejected.append(Rejection("/".join(parts), f"{reason}; pack it again as a plain zip"))
    else:
        place = f"{member.header_offset} {member.compress_size} {member.compress_type}"
        key = f"{place} {member.file_size} {member.CRC}"
        to.entries.append(Entry(key, parts, member.file_size, member.CRC))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in OF_SYSTEMS


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path costs more than it)


def shown(name: str) -> str:
    """A file's name as text: disks may hold bytes that are none."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def signature(found: Found) -> str:
    """Equal as long as no picture is added, removed or changed."""
    digest = hashlib.sha256()
    for entry in sorted(found.entries, key=lambda entry: entry.name):
        line = f"{entry.name}\0{entry.size}\0{entry.stamp}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _folder(root: str) -> Read:
    def read(key: str) -> bytes:
        with open(f"{root}/{key}", "rb") as file:  # noqa: PTH123 (a Path costs more than it)
            return file.read()

    return read


def _zip(root: str) -> Read:
    """Reads a member at its place, so that no process but the first reads the whole directory."""
    file = open(root, "rb", buffering=0)  # noqa: PTH123, SIM115 (open as long as its reader)

    def read(key: str) -> bytes:
        offset, packed_size, method, size, checksum = map(int, key.split())
        file.seek(offset)
        head = file.read(LOCAL_HEADER.size)
        signed, name_length, extra_length = LOCAL_HEADER.unpack(head)
        if signed != LOCAL_SIGNATURE:
            raise zipfile.BadZipFile("the archive was changed or damaged")
        file.seek(name_length + extra_length, os.SEEK_CUR)
        data = UNPACK[method](file.read(packed_size), size)
        if len(data) != size or zlib.crc32(data) != checksum:
            raise zipfile.BadZipFile("its checksum is wrong")
        return data

    return read


def _inflate(data: bytes, size: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)  # never more than announced


ENCRYPTED = 1
LOCAL_SIGNATURE = b"PK\3\4"
LOCAL_HEADER = struct.Struct("<4s22xHH")
UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: lambda data, size: data,
    zipfile.ZIP_DEFLATED: _inflate,
}
WALKS: dict[str, Callable[[Path], Found]] = {"folder": walk_folder, "zip": walk_zip}
READERS: dict[str, Callable[[str], Read]] = {"folder": _folder, "zip": _zip}
