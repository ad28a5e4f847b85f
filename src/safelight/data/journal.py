"""What has been decoded so far, so that a `prepare` that was killed goes on where it was.

Beside images.npy lie `asked.json`, what was asked for, and `journal.jsonl`, a line for each batch
whose pixels are in images.npy: what became of its files, and the digest of all pixels so far.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from safelight.data.decode import Batch
from safelight.data.look import Size
from safelight.data.prints import Prints
from safelight.data.stored import IMAGES
from safelight.data.writer import ImageWriter
from safelight.errors import UserError

ASKED, JOURNAL, TRUSTED = "asked.json", "journal.jsonl", "journal.trusted"
OWN = (ASKED, JOURNAL, TRUSTED)  # only a `prepare` that goes on needs them
Found = Sequence[Size | str]


class UnfitPictures(UserError):
    """What was asked for can't be made of these pictures, however often one tries."""


@dataclass(frozen=True)
class Line:
    """One batch: what became of its files, and images.npy after it: its channels, and its digest.

    `made` is as in `Batch`.
    """

    found: Found
    made: Sequence[str]
    channels: int
    digest: str

    @property
    def count(self) -> int:
        """How many pictures it has."""
        return sum(not isinstance(found, str) for found in self.found)


class Journal:
    """Takes batches into images.npy, and tells of those that were there before."""

    def __init__(self, folder: Path, size: Size, asked: dict[str, Any]) -> None:
        """Goes on only with what was asked for alike; anything else in the folder is removed."""
        text = _kept(folder, asked)
        self.writer = ImageWriter(folder / IMAGES, size)
        self.before: Sequence[Line] = list(takewhile(self._is_there, _lines(text)))
        self._folder, self._done = folder, len(self.before)
        # A kill cut its last line, or the computer lost power: all after it is made again.
        if self._done < len(text.splitlines()):
            (folder / TRUSTED).write_text("".join(map(_written, self.before)))
            (folder / TRUSTED).replace(folder / JOURNAL)
        self._file = (folder / JOURNAL).open("a")
        (folder / ASKED).write_text(json.dumps(asked))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self.writer.__exit__(kind, error, trace)
        if isinstance(error, UnfitPictures) or (error is not None and not self._done):
            emptied(self._folder)  # nobody could go on with it

    @property
    def channels(self) -> int:
        return self.writer.channels

    @property
    def digest(self) -> str:
        return self.writer.digest

    @property
    def prints(self) -> Prints:
        return self.writer.prints

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.writer.read(positions)

    def keep_only(self, kept: NDArray[np.bool_]) -> None:
        self.writer.keep_only(kept)

    def _is_there(self, line: Line) -> bool:
        return self.writer.goes_on(line.count, line.channels, line.digest)

    def add(self, batch: Batch) -> None:
        """The pixels first: a line says that they are there."""
        self.writer.append(batch.pixels)
        line = Line(batch.found, batch.made, self.channels, self.digest)
        self._file.write(_written(line))
        self._file.flush()
        self._done += 1


def emptied(folder: Path, but: Container[str] = ()) -> None:
    """Remove all files there but those of these names."""
    for file in folder.iterdir():
        if file.name not in but:
            file.unlink()


def _kept(folder: Path, asked: dict[str, Any]) -> str:
    """The journal of an earlier call for the same, of which nothing else than this is kept."""
    text = ""
    with contextlib.suppress(OSError, ValueError):  # nothing there, or cut short
        if json.loads((folder / ASKED).read_text()) == json.loads(json.dumps(asked)):
            text = (folder / JOURNAL).read_text()
    # What a kill at the end left among the files of a cache would make it look like another's.
    emptied(folder, but=(IMAGES, ASKED, JOURNAL) if text else ())
    return text


def _lines(text: str) -> Iterator[Line]:
    """Up to the first that is not whole."""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            return
        try:
            yield _read(line)
        except (ValueError, TypeError, LookupError):
            return


def _written(line: Line) -> str:
    # Not by `asdict`, which copies every size: a tenth of the time that all takes.
    values = [line.found, line.made, line.channels, line.digest]
    return json.dumps(values) + "\n"


def _read(text: str) -> Line:
    found, made, channels, digest = json.loads(text)
    found = [x if isinstance(x, str) else (x[0], x[1]) for x in found]
    return Line(found, made, channels, digest)
