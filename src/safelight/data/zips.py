"""Zip archives, read in place: what lies in one, and the bytes of each member.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import bz2
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from safelight.data.decode import MAX_BYTES, SUFFIXES
from safelight.data.walk import TOO_LONG, Entry, Found, Read, Rejection, is_hidden, suffix_of
from safelight.errors import UserError

# Pictures are packed already. Zeros are packed a thousandfold, and fill a disk or an afternoon.
BOMB_RATIO, BOMB_BYTES = 1000, 2**30
CLIMBS = "its path leads out of the archive; pack it again with plain paths"
DRIVE = re.compile(r"[A-Za-z]:")


def walk_zip(path: Path) -> Found:
    """All files in the archive; hidden ones are left out. Raises UserError for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
    # Damaged directories raise nearly every exception there is.
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        if suffix_of(path.name) in SUFFIXES:
            raise UserError(f"{path} is a picture; give the folder that it lies in") from error
        raise UserError(
            f"{path} cannot be read as a zip archive ({_damage(path) or error}); make or fetch it "
            "again"
        ) from error
    _refuse_overlaps(path, list(members.values()))
    refuse_bomb(path, sum(member.file_size for member in members.values()))
    found = Found()
    for member in members.values():
        _add_member(member, found)
    return found


def _damage(path: Path) -> str:
    """What is wrong with a file that ends without an archive's directory, if that can be told."""
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "it is empty"
    return "it is cut short" if start == b"PK\3\4" and not zipfile.is_zipfile(path) else ""


def refuse_bomb(path: Path, size: int) -> None:
    """Raise UserError for an archive that is to become `size` bytes, as no pictures do."""
    if size > max(BOMB_BYTES, BOMB_RATIO * path.stat().st_size):
        raise UserError(
            f"{path} unpacks to more than {BOMB_RATIO:,} times its size ({size / 1e9:,.1f} GB), "
            "which pictures never do; it is left alone"
        )


def _refuse_overlaps(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Members that share bytes make millions of files of a few."""
    if sum(member.compress_size + LOCAL_HEADER.size for member in members) > path.stat().st_size:
        raise UserError(
            f"the files in {path} take more room than it has, as in a zip bomb; it is left alone"
        )


def _add_member(member: zipfile.ZipInfo, to: Found) -> None:
    # Some Windows programs write backslashes.
    path = member.filename.replace("\\", "/")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if not parts or member.is_dir() or any(is_hidden(part) for part in parts if part != ".."):
        return
    name = "/".join(parts)
    if not to.notes_picture(name):
        return
    reason = _unreadable(member, path)
    if reason is not None:
        to.rejected.append(Rejection(path, reason))
        return
    place = f"{member.header_offset} {member.compress_size} {member.compress_type}"
    key = f"{place} {member.file_size} {member.CRC}"
    to.entries.append(Entry(key, parts, member.file_size, member.CRC))


def _unreadable(member: zipfile.ZipInfo, path: str) -> str | None:
    if climbs(path) or DRIVE.match(path):
        return CLIMBS
    if member.flag_bits & ENCRYPTED:
        return "it needs a password; unpack the archive, or pack it without one"
    if member.compress_type not in UNPACK:
        return "packed in an unusual way; pack it again as a plain zip"
    if max(member.compress_size, member.file_size) > MAX_BYTES:
        return TOO_LONG
    return None


def climbs(path: str) -> bool:
    """Whether a member would be written outside the folder that the archive is unpacked in."""
    return path.startswith("/") or ".." in path.split("/")


def read_zip(root: str) -> Read:
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


# Each gives no more bytes than are announced, but one, where 0 would mean any number.


def _inflate(data: bytes, size: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(size, 1))


def _bunzip(data: bytes, size: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, max(size, 1))


def _unlzma(data: bytes, size: int) -> bytes:
    """Section 5.8.8 of the zip specification: a version, the length of the properties, and these.

    A dictionary that is larger than what is unpacked would only take memory.
    """
    length, packed, dictionary = LZMA_HEADER.unpack_from(data)
    literal = {"lc": packed % 9, "lp": packed // 9 % 5, "pb": packed // 45}
    kept = {"dict_size": max(4096, min(dictionary, size))}
    method = [{"id": lzma.FILTER_LZMA1} | literal | kept]
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=method)
    return unpacker.decompress(data[4 + length :], max(size, 1))


ENCRYPTED = 1
LOCAL_SIGNATURE = b"PK\3\4"
LOCAL_HEADER = struct.Struct("<4s22xHH")
LZMA_HEADER = struct.Struct("<2xHBI")
UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    zipfile.ZIP_STORED: lambda data, size: data,
    zipfile.ZIP_DEFLATED: _inflate,
    zipfile.ZIP_BZIP2: _bunzip,
    zipfile.ZIP_LZMA: _unlzma,
}
