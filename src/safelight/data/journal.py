"""What has been decoded so far, so that a `prepare` that was killed goes on where it was.

Beside images.npy lie `asked.json`, what was asked for, and `journal.jsonl`, a line for each batch
whose pixels are in images.npy: what became of its files, and a checksum of its pixels.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
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

ASKED, JOURNAL, TRUSTED = "asked.json", "journal.jsonl", "journal.trusted"
Found = Sequence[Size | str]


@dataclass(frozen=True)
class Line:
    """One batch: what became of its files, the channels it had, and the CRC-32 of its pixels.

    `made` is as in `Batch`.
    """

    found: Found
    made: Sequence[str]
    channels: int
    checksum: int

    @property
    def count(self) -> int:
        """How many pictures it has."""
        return sum(not isinstance(found, str) for found in self.found)

    def matches(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether these are its pictures; grey ones may have been repeated into more channels."""
        own = pixels[:, : self.channels]
        widened = pixels.shape[1] == self.channels or bool((pixels == own).all())
        return widened and _checksum(own) == self.checksum


class Journal:
    """Takes batches into images.npy, and tells of those that were there before."""

    def __init__(self, folder: Path, size: Size, asked: dict[str, Any]) -> None:
        """Goes on only with what was asked for alike; anything else in the folder is removed."""
        lines = _lines(folder, asked)
        self.writer = ImageWriter(folder / IMAGES, size)
        self.before: Sequence[Line] = list(takewhile(self._is_there, lines))
        if len(self.before) < len(lines):  # the computer lost power: all after it is made again
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
        return self.writer.goes_on(line.count, line.matches)

    def add(self, batch: Batch) -> None:
        """The pixels first: a line says that they are there."""
        self.writer.append(batch.pixels)
        channels = batch.pixels.shape[1]
        line = Line(batch.found, batch.made, channels, _checksum(batch.pixels))
        self._file.write(_written(line))
        self._file.flush()


def close(folder: Path) -> None:
    """Remove what only a `prepare` that goes on needs."""
    for name in (ASKED, JOURNAL, TRUSTED):
        (folder / name).unlink(missing_ok=True)


def _lines(folder: Path, asked: dict[str, Any]) -> list[Line]:
    """What an earlier call for the same left; without the last line if that is not whole."""
    try:
        if json.loads((folder / ASKED).read_text()) == json.loads(json.dumps(asked)):
            lines = (folder / JOURNAL).read_text().splitlines(keepends=True)
            return [_read(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError, TypeError):  # nothing there, or cut short
        pass
    for file in folder.iterdir():
        file.unlink()
    return []


def _checksum(pixels: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)


def _written(line: Line) -> str:
    # Not by `asdict`, which copies every size: a tenth of the time that all takes.
    values = [line.found, line.made, line.channels, line.checksum]
    return json.dumps(values) + "\n"


def _read(text: str) -> Line:
    found, made, channels, checksum = json.loads(text)
    found = [x if isinstance(x, str) else (x[0], x[1]) for x in found]
    return Line(found, made, channels, checksum)
