"""Files that can only be read one after the other, as in a packed archive."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from safelight import console
from safelight.data.decode import Batch, readable_size
from safelight.data.look import Look, Size
from safelight.data.parts import Positions, few
from safelight.data.places import user_cache
from safelight.data.workers import BATCH_FILES, decoded_files

# The bytes of each file of these keys, or the reason why it can't be had.
ReadAll = Callable[[Sequence[str]], Iterator[bytes | str]]


@dataclass(frozen=True)
class Stream:
    """Files that `read` reads where their keys come in the order of `places`.

    where: what is read, as it is told. handed: the files are made here, to be handed over, and
    their format is nothing of the user's.
    """

    read: ReadAll
    where: str
    keys: Sequence[str]
    sizes: Sequence[int]
    places: NDArray[np.int64]
    handed: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    def taken(self, positions: Positions) -> Stream:
        where = positions.tolist()
        keys, sizes = [self.keys[i] for i in where], [self.sizes[i] for i in where]
        return replace(self, keys=keys, sizes=sizes, places=self.places[positions])

    def first(self) -> tuple[int, Size] | None:
        """The first that comes."""
        order = np.argsort(self.places, kind="stable").tolist()
        files = self.read([self.keys[i] for i in order])
        for i, file in zip(order, files, strict=True):
            size = None if isinstance(file, str) else _size_of(file)
            if size is not None:
                return i, size
        return None

    def batches(self, wanted: Positions, look: Look, workers: int) -> Iterator[Batch]:
        order = np.argsort(self.places[wanted], kind="stable")
        keys = [self.keys[i] for i in wanted[order].tolist()]
        workers = 1 if few([self.sizes[i] for i in wanted.tolist()]) else workers
        batches = decoded_files(self.read(keys), look, workers)
        if self.handed:
            batches = map(_without_format, batches)
        if (order == np.arange(len(order))).all():
            yield from batches
        else:
            console.inform(
                f"{self.where} is read from its front to its back, and its pictures are put in "
                "order then"
            )
            yield from in_turn(batches, order, look.size)


def _without_format(batch: Batch) -> Batch:
    return replace(
        batch, made=[made[made.find(",") :] if "," in made else "" for made in batch.made]
    )


def _size_of(file: bytes) -> Size | None:
    return readable_size(lambda _: file, "")


def in_turn(batches: Iterator[Batch], order: Positions, size: Size) -> Iterator[Batch]:
    """The same pictures, the i-th that comes as the order[i]-th; they wait in a temporary file."""
    place = user_cache()
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=place) as file:
        waiting = Waiting(file, size)
        turns = iter(order.tolist())
        for batch in batches:
            rows = zip(batch.pixels, batch.made, strict=True)
            for own in batch.found:
                waiting.put(next(turns), own, None if isinstance(own, str) else next(rows))
            while waiting.ready >= BATCH_FILES:
                yield waiting.next()
        while waiting.ready:
            yield waiting.next()


class Row(NamedTuple):
    """What became of a file, and where its pixels wait; it has no channels if it was rejected."""

    own: Size | str
    made: str
    place: int
    channels: int


class Waiting:
    """Pictures whose turn has not come, in `file`."""

    def __init__(self, file: IO[bytes], size: Size) -> None:
        self._file, self._size = file, size
        self._there: dict[int, Row] = {}  # by their turn
        self._first = 0  # the next turn
        self.ready = 0  # how many turns from there on are there

    def put(self, turn: int, own: Size | str, row: tuple[NDArray[np.uint8], str] | None) -> None:
        """row: pixels (c, h, w), and what `Batch.made` says; None where `own` is a reason."""
        place = self._file.seek(0, 2)
        pixels, made = row or (np.empty((0, 0, 0), np.uint8), "")
        self._file.write(pixels.tobytes())
        self._there[turn] = Row(own, made, place, len(pixels))
        while self._first + self.ready in self._there:
            self.ready += 1

    def next(self) -> Batch:
        """As many as may go together."""
        turns = range(self._first, self._first + min(self.ready, BATCH_FILES))
        rows = [self._there.pop(turn) for turn in turns]
        self._first, self.ready = turns.stop, self.ready - len(turns)
        pictures = [row for row in rows if row.channels]
        c = max((row.channels for row in pictures), default=1)
        pixels = [self._read(row).repeat(c // row.channels, axis=0) for row in pictures]
        flat = np.concatenate([np.empty(0, np.uint8), *map(np.ravel, pixels)])
        shape = (len(pixels), c, self._size[1], self._size[0])
        made = [row.made for row in pictures]
        return Batch(flat.reshape(shape), [row.own for row in rows], made)

    def _read(self, row: Row) -> NDArray[np.uint8]:
        self._file.seek(row.place)
        width, height = self._size
        data = self._file.read(row.channels * height * width)
        return np.frombuffer(data, np.uint8).reshape(row.channels, height, width)
