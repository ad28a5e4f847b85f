"""A cache whose pixels were not stored: it knows where each picture lies, and decodes it each time.

For sets that are larger than the disk. A checksum of each picture's pixels tells whether its file
is still the one that was prepared.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from safelight.data.blocks import at_once
from safelight.data.decode import Batch, decode_batch
from safelight.data.lines import Lines
from safelight.data.parts import Files, Positions
from safelight.data.prints import Prints
from safelight.data.readers import READERS
from safelight.data.stored import content_hash, damaged, read_names
from safelight.data.walk import Read, shown
from safelight.data.workers import available
from safelight.errors import DamagedFile, UserError

if TYPE_CHECKING:
    from safelight.data.journal import Line
    from safelight.data.listing import Listing
    from safelight.data.meta import Meta

PLACES, CHECKS = "places.txt", "checks.npy"
CHUNK, CHUNK_BYTES = 256, 4 * 2**20  # pictures at a time where all are gone through
FEWEST = 8  # pictures that a thread takes at a time

Checksums = NDArray[np.uint64]
Place = tuple[str, str]  # a row of READERS, and its root


def checksums(pixels: NDArray[np.uint8]) -> Checksums:
    """(n,): 64 bits of the pixels of each of (n, c, h, w)."""
    digests = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in pixels]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


class Checks:
    """Takes batches, and keeps a checksum of each picture in place of its pixels."""

    def __init__(self, read: Callable[[Positions], NDArray[np.uint8]]) -> None:
        """read: decodes some of the pictures so far anew."""
        self.read = read
        self.before: Sequence[Line] = ()  # nothing is there to go on with
        self.channels, self.prints = 0, Prints()
        self._found: list[Checksums] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def found(self) -> Checksums:
        """Of all pictures so far, (n,)."""
        return np.concatenate([np.empty(0, np.uint64), *self._found])

    @property
    def digest(self) -> str:
        """Equal for the same pictures in the same order."""
        return content_hash(self.found)

    def add(self, batch: Batch) -> None:
        if len(batch.pixels):
            self.channels = batch.pixels.shape[1]
            self.prints.add(batch.pixels)
            self._found.append(checksums(batch.pixels))

    def keep_only(self, kept: NDArray[np.bool_]) -> None:
        self.prints.keep_only(kept)
        self._found = [self.found[kept]]


def files_of(pictures: Listing) -> list[Files]:
    """Its parts; raises UserError where some pictures lie in no file of their own."""
    parts = [part for part in pictures.parts if isinstance(part, Files)]
    if len(parts) < len(pictures.parts):
        raise UserError(
            "--store files is for pictures in files that can be read one by one again, as in a "
            "folder, zip or plain tar; leave it out"
        )
    for part in parts:
        if shown(part.root) != part.root:
            raise UserError(
                f"--store files can't write down the place {shown(part.root)}, whose name is no "
                "text; give it another name, or leave --store files out"
            )
    return parts


def write_places(folder: Path, parts: Sequence[Files], taken: Sequence[int]) -> tuple[Place, ...]:
    """A line for each of `taken`: the number of a place, and the key of a file there."""
    ends = np.cumsum([len(part) for part in parts])
    with (folder / PLACES).open("w") as file:
        for position in taken:
            k = int(np.searchsorted(ends, position, side="right"))
            key = parts[k].keys[position - int(ends[k])]  # from the end on, which is below 0
            file.write(f"{k} {json.dumps(key)}\n")
    return tuple((part.kind, part.root) for part in parts)


class EncodedFiles:
    """The pictures of such a cache. They are decoded by one thread for each core."""

    def __init__(self, path: Path, meta: Meta) -> None:
        self.path, self.meta = path, meta
        self._checks = self._read_checks()
        self._places = self._read_places()
        self._threads = ThreadPoolExecutor(available())
        self._own = threading.local()  # each thread has files of its own open
        self._look = meta.options.look(meta.size)

    def verify(self) -> None:
        """Decode all of them; raises DamagedFile where one is not as it was."""
        length = at_once(CHUNK, math.prod(self.meta.shape[1:]), CHUNK_BYTES)
        for start in range(0, self.meta.count, length):
            self.read(np.arange(start, min(start + length, self.meta.count)))

    def read(self, positions: Positions) -> NDArray[np.uint8]:
        """(b, c, h, w). Raises DamagedFile where a file is gone or was changed."""
        if not len(positions):
            return np.empty((0, *self.meta.shape[1:]), np.uint8)
        parts = np.array_split(positions, min(available(), -(-len(positions) // FEWEST)))
        return np.concatenate(list(self._threads.map(self._decoded, parts)))

    def _decoded(self, positions: Positions) -> NDArray[np.uint8]:
        places = [self._places[position] for position in positions.tolist()]
        batch = decode_batch(self._bytes, places, self._look)
        for position, found in zip(positions.tolist(), batch.found, strict=True):
            if isinstance(found, str):
                raise self._changed(position, found)
        wrong = np.flatnonzero(checksums(batch.pixels) != self._checks[positions])
        if len(wrong):
            raise self._changed(int(positions[wrong[0]]), "it is another picture now")
        return batch.pixels

    def _bytes(self, place: str) -> bytes:
        """The file at a place, which is a line of PLACES."""
        k, key = place.split(" ", 1)
        if not hasattr(self._own, "readers"):
            self._own.readers = {}
        readers: dict[str, Read] = self._own.readers
        if k not in readers:
            kind, root = self.meta.places[int(k)]
            readers[k] = READERS[kind](root)
        return readers[k](json.loads(key))

    def _changed(self, position: int, what: str) -> DamagedFile:
        k, key = self._places[position].split(" ", 1)
        names = read_names(self.path, self.meta)
        name = names[position] if names else json.loads(key)
        place = self.meta.places[int(k)][1]
        return damaged(self.path / PLACES, f"names the picture {name} in {place}: {what}")

    def _read_checks(self) -> Checksums:
        path = self.path / CHECKS
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise damaged(path, "is missing or damaged") from error
        if content_hash(found) != self.meta.hashes["images"]:
            raise damaged(path, "was changed after it was made")
        return np.asarray(found)

    def _read_places(self) -> Lines:
        path = self.path / PLACES
        try:
            lines = Lines(path)
        except (OSError, ValueError) as error:
            raise damaged(path, "is missing or damaged") from error
        if len(lines) != self.meta.count:
            raise damaged(path, "was changed after it was made")
        return lines
