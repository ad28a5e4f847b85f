"""The files below a folder, and what is told of the files of any source.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from safelight.data.decode import MAX_BYTES, SUFFIXES
from safelight.naming import SCATTERED

Read = Callable[[str], bytes]
Above = frozenset[tuple[int, int]]  # device and number of each folder
Item = tuple["os.DirEntry[str]", tuple[str, ...], Above]
NAMED = 100  # as many of the files that are ignored for their ending are named in the record
OF_SYSTEMS = frozenset({*SCATTERED, ".ds_store"})
# Endings of what holds files of its own, which is looked into only where it is given by itself.
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
NOT_READ = (".7z", ".rar", ".tar.zst", ".tzst", ".tar.lz4")
ARCHIVES = (".zip", *TARS, *NOT_READ)
TOO_LONG = f"longer than {MAX_BYTES // 2**20} MB"
NO_ENTRY = "no permission to read this folder"
OF_A_CACHE = ("meta.json", "splits.npy")  # a folder with both is passed over: its pictures are read
INSIDE = "an archive inside; unpack it, or give it by itself"


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
    stamp: int  # modification time in a folder or tar, checksum in a zip

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

    def notes_picture(self, name: str) -> bool:
        """Whether a file is a picture by its ending; what is none is noted."""
        suffix = suffix_of(name)
        if name.lower().endswith(ARCHIVES):
            self.rejected.append(Rejection(name, INSIDE))
        elif suffix not in SUFFIXES:
            self.ignored[suffix] += 1
            if len(self.left_aside) < NAMED:
                self.left_aside.append(name)
        return suffix in SUFFIXES


def walk_folder(root: Path) -> Found:
    """All files under `root`; hidden ones and loops of links are left out."""
    found = Found()
    for item, parts in _walk(root, found):
        _add_file(item, parts, found)
    return found


def files_below(root: Path) -> Iterator[str]:
    """The paths of all that `walk_folder` looks at, one after the other."""
    return (item.path for item, _ in _walk(root, Found()))


def _walk(root: Path, to: Found) -> Iterator[tuple[os.DirEntry[str], tuple[str, ...]]]:
    """Each file, and the folders above it; `to` takes the folders that can't be read.

    Not by recursion, which ends at a thousand folders in one another.
    """
    left = _listed(str(root), (), frozenset(), to)
    while left:
        item, parts, above = left.pop()
        if _is_folder(item):
            left += _listed(item.path, (*parts, item.name), above, to)
        else:
            yield item, parts


def _listed(folder: str, parts: tuple[str, ...], above: Above, to: Found) -> list[Item]:
    """What is seen in a folder, the last first; above: the folders that it lies in."""
    try:
        status = os.stat(folder)  # noqa: PTH116 (a Path for each of 100,000 files is slow)
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link to a folder that we are in
            return []
        with os.scandir(folder) as listed:
            items = sorted(listed, key=lambda item: item.name, reverse=True)
    except PermissionError:
        to.rejected.append(Rejection("/".join(parts), NO_ENTRY))
        return []
    except OSError as error:  # a link to itself, a folder that has just gone, too long a path
        to.rejected.append(Rejection("/".join(parts), f"cannot be read: {error.strerror}"))
        return []
    if parts and {item.name for item in items}.issuperset(OF_A_CACHE):
        return []
    within = above | {here}
    return [(item, parts, within) for item in items if not is_hidden(item.name)]


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _add_file(item: os.DirEntry[str], parts: tuple[str, ...], to: Found) -> None:
    key = "/".join((*parts, item.name))
    if not to.notes_picture(key):
        return
    try:
        status = item.stat()
        if not item.is_file():
            to.rejected.append(Rejection(key, "not a file"))
            return
    except OSError as error:
        to.rejected.append(Rejection(key, f"a broken link or lost file: {error.strerror}"))
        return
    if status.st_size > MAX_BYTES:
        to.rejected.append(Rejection(key, TOO_LONG))
        return
    to.entries.append(Entry(key, (*parts, item.name), status.st_size, status.st_mtime_ns))


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in OF_SYSTEMS


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path costs more than it)


def shown(name: str) -> str:
    """A file's name as text: disks may hold bytes that are none, and tables what no disk holds."""
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode()


def signature(found: Found) -> str:
    """Equal as long as no picture is added, removed or changed."""
    digest = hashlib.sha256()
    for entry in sorted(found.entries, key=lambda entry: entry.name):
        line = f"{entry.name}\0{entry.size}\0{entry.stamp}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def stamped(*paths: Path) -> str:
    """The same of files that are read as a whole, which are known by their length and time."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        line = f"{path.parent.name}/{path.name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def read_folder(root: str) -> Read:
    """The keys are paths below it, or absolute ones."""

    def read(key: str) -> bytes:
        with open(os.path.join(root, key), "rb") as file:  # noqa: PTH118, PTH123 (Paths cost more)
            return file.read()

    return read
