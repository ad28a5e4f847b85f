"""What has been decoded so far, so that a `prepare` that was killed goes on where it was.

Beside images.npy lie `asked.json`, what was asked for, and `journal.jsonl`, a line for each batch
whose pixels are in images.npy: what became of its files, and the digest of all pixels so far.
"""

from __future__ import annotations

import json
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
        return self.writer.goes_on(line.count, line.channels, line.digest)

    def add(self, batch: Batch) -> None:
        """The pixels first: a line says that they are there."""
        self.writer.append(batch.pixels)
        line = Line(batch.found, batch.made, self.channels, self.digest)
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


def _written(line: Line) -> str:
    # Not by `asdict`, which copies every size: a tenth of the time that all takes.
    values = [line.found, line.made, line.channels, line.digest]
    return json.dumps(values) + "\n"


def _read(text: str) -> Line:
    found, made, channels, digest = json.loads(text)
    found = [x if isinstance(x, str) else (x[0], x[1]) for x in found]
    return Line(found, made, channels, digest)
