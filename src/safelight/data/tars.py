"""Tar archives, read in place: plain ones at any place, packed ones from the front to the back.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Self, cast

from safelight.data.decode import MAX_BYTES
from safelight.data.walk import TOO_LONG, Entry, Found, Read, Rejection, is_hidden
from safelight.data.zips import CLIMBS, climbs, refuse_bomb
from safelight.errors import UserError

CHUNK = 2**20
LARGEST_NAME = 2**20  # bytes of the header that holds a long name: tarfile reads it whole
XZ_MEMORY = 512 * 2**20  # the archive says how much its unpacking takes, and may ask for 4 GB
BROKEN = (
    *(tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError),
    RecursionError,  # a header of a header of a header ...
)
# A member that is no plain file -> why it gives no picture.
KINDS = {
    tarfile.SYMTYPE: "a link; pack the file itself: tar --dereference",
    tarfile.LNKTYPE: "a link to another file of the archive; pack it as a file of its own: "
    "tar --hard-dereference",
    tarfile.CHRTYPE: "a device, not a file",
    tarfile.BLKTYPE: "a device, not a file",
    tarfile.FIFOTYPE: "a pipe, not a file",
}
# What stands beside a picture of the same name, by its ending and its bytes, is handed to this.
Beside = Callable[[str, str, bytes], None]
BESIDE = (".cls", ".json", ".txt")
BESIDE_BYTES = 64 * 2**10


class Header(tarfile.TarInfo):
    """A member's header, which says so where it is damaged: tarfile takes it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if not buf:
            raise EOFError("it is cut short")
        if buf.count(0) == len(buf) == tarfile.BLOCKSIZE:  # the end
            return super().frombuf(buf, encoding, errors)
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise ValueError("it is damaged, or no tar archive") from error
        if member.size < 0 or (member.type in LONG_NAMES and member.size > LARGEST_NAME):
            raise ValueError("it is damaged: a header is longer than any is")
        return member


LONG_NAMES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def walk_tar(path: Path, beside: Beside | None = None) -> Found:
    """All files in the archive; hidden ones are left out, and of two of one name the last is there.

    A key is the place of the bytes and their number. Raises UserError for a damaged archive.
    """
    found, entries = Found(), {}
    try:
        with _opened(path) as archive:
            for member in _members(archive):
                refuse_bomb(path, member.offset_data + member.size)
                if beside is not None and _hands_over(archive, member, beside):
                    continue
                entry = _entry(member, found)
                if entry is not None:
                    entries[entry.parts] = entry
    except BROKEN as error:
        raise UserError(
            f"{path} cannot be read as a tar archive ({error}); make or fetch it again"
        ) from error
    found.entries = list(entries.values())
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    with contextlib.ExitStack() as stack:
        if packed(path):
            file = stack.enter_context(unpacked(path))
            yield stack.enter_context(tarfile.open(fileobj=file, mode="r|", tarinfo=Header))
        else:
            yield stack.enter_context(tarfile.open(path, "r:", tarinfo=Header))


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """One after another. A header that leads back would be come upon for ever (CVE-2025-8194)."""
    reached = -1
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # they are all kept
        if member.size < 0 or archive.offset <= reached:
            raise ValueError("it is damaged: a header leads back to what is before it")
        reached = archive.offset
        yield member


def _entry(member: tarfile.TarInfo, to: Found) -> Entry | None:
    """The member if it is a picture that can be read; what it is otherwise, `to` notes."""
    parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
    if not parts or member.isdir() or any(is_hidden(part) for part in parts if part != ".."):
        return None
    name = "/".join(parts)
    if not to.notes_picture(name):
        return None
    reason = KINDS.get(member.type)
    if climbs(member.name):
        name, reason = member.name, CLIMBS
    elif member.issparse():
        reason = "stored with holes; pack the archive again without --sparse"
    elif reason is None and member.size > MAX_BYTES:
        reason = TOO_LONG
    if reason is not None:
        to.rejected.append(Rejection(name, reason))
        return None
    return Entry(f"{member.offset_data} {member.size}", parts, member.size, int(member.mtime))


def _hands_over(archive: tarfile.TarFile, member: tarfile.TarInfo, beside: Beside) -> bool:
    """Whether it may stand beside a picture, and was handed over."""
    stem, ending = key_of(member.name)
    if ending not in BESIDE or not member.isreg() or member.size > BESIDE_BYTES:
        return False
    file = archive.extractfile(member)
    assert file is not None  # it is a plain one
    beside(stem, ending, file.read())
    return True


def key_of(name: str) -> tuple[str, str]:
    """WebDataset's key, up to the first dot of the file's name, and the last ending of it."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, _ = file.partition(".")
    return f"{folder}{slash}{stem}", Path(file).suffix.lower()


def read_tar(root: str) -> Read:
    file = open(root, "rb", buffering=0)  # noqa: PTH123, SIM115 (open as long as its reader)

    def read(key: str) -> bytes:
        offset, size = map(int, key.split())
        file.seek(offset)
        return _whole(file.read(size), size)

    return read


def stream_tar(root: str, keys: Iterable[str]) -> Iterator[bytes]:
    """The bytes of these members, in the order in which they lie in a packed archive.

    Raises UserError where it was damaged after it was walked through.
    """
    at = 0
    try:
        with unpacked(Path(root)) as file:
            for offset, size in (map(int, key.split()) for key in keys):
                _skip(file, offset - at)
                yield _whole(file.read(size), size)
                at = offset + size
    except BROKEN as error:
        raise UserError(f"{root} was changed or damaged ({error}); run it again") from error


def _skip(file: IO[bytes], size: int) -> None:
    while size:
        size -= len(_whole(file.read(min(size, CHUNK)), min(size, CHUNK)))


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise EOFError("the archive was cut short")
    return data


def packed(path: Path) -> bool:
    """Whether it can be read only from the front to the back."""
    with path.open("rb") as file:
        return file.read(6).startswith(tuple(UNPACKERS))


def unpacked(path: Path) -> IO[bytes]:
    """The bytes that are packed in the file, in constant memory."""
    with path.open("rb") as file:
        start = file.read(6)
    return next(make(path) for magic, make in UNPACKERS.items() if start.startswith(magic))


class Unpacked(io.RawIOBase):
    """What one bz2 or xz stream after another holds."""

    def __init__(
        self, path: Path, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> None:
        self._file, self._make, self._unpacker = path.open("rb"), make, make()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data:
            more = self._more()
            if more is None:
                return 0
            data = self._unpacker.decompress(more, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _more(self) -> bytes | None:
        """What to unpack next: nothing as long as there is some left; None at the end."""
        if self._unpacker.eof:
            rest = self._unpacker.unused_data or self._file.read(CHUNK)
            if not rest.strip(b"\0"):  # xz pads with zeros
                return None
            self._unpacker = self._make()
            return rest.lstrip(b"\0")
        if not self._unpacker.needs_input:
            return b""
        more = self._file.read(CHUNK)
        if not more:
            raise EOFError("it is cut short")
        return more


def _gzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path))


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=XZ_MEMORY)


UNPACKERS: dict[bytes, Callable[[Path], IO[bytes]]] = {  # by the bytes that a file begins with
    b"\x1f\x8b": _gzip,
    b"BZh": lambda path: io.BufferedReader(Unpacked(path, bz2.BZ2Decompressor), CHUNK),
    b"\xfd7zXZ\0": lambda path: io.BufferedReader(Unpacked(path, _xz), CHUNK),
}
