"""A table of paths and labels as a source of pictures."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safelight import console
from safelight.data import tables
from safelight.data.classes import natural, no_classes, numbered
from safelight.data.decode import MAX_BYTES
from safelight.data.layout import SPLIT_FOLDERS
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.parts import Files
from safelight.data.splits import SPLITS
from safelight.data.tables import Table, said, usual
from safelight.data.walk import TOO_LONG, Entry, Found, Rejection, signature
from safelight.errors import UserError

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class Row(NamedTuple):
    """What a table says of one picture; an empty text where a cell is empty."""

    place: str
    label: str
    split: str


class Wanted(NamedTuple):
    """The rows of a table, and whether classes and splits are taken from them."""

    rows: Sequence[Row]
    labelled: bool
    divided: bool


@dataclass(frozen=True)
class Listed:
    """Files that a table names. folder: what their paths are relative to."""

    name: str
    where: str
    folder: Path
    load: Callable[[], Table]
    divided: bool = False
    takes: tuple[str, ...] = ("label_by",)

    @cached_property
    def _table(self) -> Table:
        return self.load()

    @cached_property
    def _names(self) -> list[str]:
        return list(self._table.columns)

    def signature(self) -> str:
        """Of the cells, and of the files as long as they are there."""
        cells = [(name, *map(said, values)) for name, values in self._table.columns.items()]
        there = [entry for entry in self._files.values() if isinstance(entry, Entry)]
        whole = repr(cells) + signature(Found(there))
        return hashlib.sha256(whole.encode("utf-8", "backslashreplace")).hexdigest()

    def listing(self, options: Options) -> Listing:
        wanted = self._wanted(options)
        pictures, rejected = self._sorted_out(wanted)
        if not pictures:
            raise UserError(self._nothing_there(rejected))
        pictures.sort(key=lambda pair: (natural(pair[1].parts), pair[1].parts))
        rows, entries = [row for row, _ in pictures], [entry for _, entry in pictures]
        keys, sizes = [entry.key for entry in entries], [entry.size for entry in entries]
        labels, classes = no_classes(len(rows))
        if wanted.labelled:
            labels, classes = numbered([row.label for row in rows])
        return Listing(
            names=[row.place for row in rows],
            labels=labels,
            splits=np.array([SPLITS.index(row.split) for row in rows], np.uint8)
            if wanted.divided
            else None,
            classes=classes,
            parts=(Files("folder", str(self.folder), keys, sizes),),
            rejected=tuple(rejected),
        )

    def _nothing_there(self, rejected: Sequence[Rejection]) -> str:
        first = rejected[0]
        return (
            f"none of the {len(rejected)} files that {self.where} names can be had, such as "
            f"{first.file}: {first.reason}; its paths are relative to {self.folder}"
        )

    @cached_property
    def _places(self) -> list[str]:
        name = usual(self._names, tables.PATHS)
        if name is None:
            raise UserError(
                f"{self.where} has no column of paths; call one of its columns "
                f"({', '.join(self._names)}) path"
            )
        return [said(value) for value in self._table.columns[name]]

    @cached_property
    def _files(self) -> Mapping[str, Entry | str]:
        """By the path as it stands in the table: the file, or why it gives no picture."""
        return {place: self._file(place) for place in dict.fromkeys(self._places)}

    def _file(self, place: str) -> Entry | str:
        if ADDRESS.match(place):
            return "an address and no file; fetch it first"
        reason = "its row names no file"
        for path in (place, place.replace("\\", "/")) if place else ():  # as Windows writes
            try:
                status = (self.folder / path).stat()
            except (OSError, ValueError) as error:
                reason = f"it cannot be found: {getattr(error, 'strerror', None) or error}"
                continue
            if not stat.S_ISREG(status.st_mode):
                return "not a file"  # a pipe would be waited for
            parts = Path(os.path.normpath(path)).parts
            entry = Entry(self._key(path), parts, status.st_size, status.st_mtime_ns)
            return entry if status.st_size <= MAX_BYTES else TOO_LONG
        return reason

    def _key(self, path: str) -> str:
        """The same for a file that is named by several paths."""
        folder, name = os.path.split(os.path.join(self.folder, path))  # noqa: PTH118
        real = os.path.join(_real(folder), name)  # noqa: PTH118 (a Path costs more)
        return real.removeprefix(f"{self.folder}{os.sep}")

    def _wanted(self, options: Options) -> Wanted:
        labels = self._labels(options) if options.labelled else None
        name = usual(self._names, tables.SPLITS) if options.split is None else None
        splits = None if name is None else splits_of(self._table.columns[name], name, self.where)
        nothing = [""] * self._table.rows
        rows = [
            Row(*cells)
            for cells in zip(self._places, labels or nothing, splits or nothing, strict=True)
        ]
        return Wanted(rows, labels is not None, splits is not None)

    def _labels(self, options: Options) -> list[str] | None:
        """The class of each row; None where no column is one of classes, which is told."""
        names = options.label_by or tuple(filter(None, [usual(self._names, tables.LABELS)]))
        if not names:
            tell_of_columns(self._names, self.where)
            return None
        found = [tables.found(self._names, name, self.where) for name in names]
        columns = [list(map(said, self._table.columns[name])) for name in found]
        return tables.combined(names, columns)

    def _sorted_out(self, wanted: Wanted) -> tuple[list[tuple[Row, Entry]], list[Rejection]]:
        """Each file with its first row, and what gives no picture."""
        taken: dict[str, tuple[Row, Entry]] = {}
        rejected: list[Rejection] = []
        contradicted: dict[str, None] = {}
        for row in wanted.rows:
            entry, reason = self._files[row.place], _lacking(row, wanted)
            if isinstance(entry, str) or reason:
                rejected.append(Rejection(row.place, reason or str(entry)))
            elif entry.key not in taken:
                taken[entry.key] = (row, entry)
            elif taken[entry.key][0][1:] == row[1:]:
                rejected.append(Rejection(row.place, "named again by a later row"))
            else:
                contradicted[entry.key] = None
                rejected.append(Rejection(row.place, CONTRADICTED))
        rejected += [Rejection(taken.pop(key)[0].place, CONTRADICTED) for key in contradicted]
        return list(taken.values()), rejected


@functools.lru_cache(maxsize=4096)  # folders repeat
def _real(folder: str) -> str:
    return os.path.realpath(folder)


CONTRADICTED = "its rows give it different classes or splits"


def _lacking(row: Row, wanted: Wanted) -> str:
    if wanted.labelled and not row.label:
        return "its row has no class"
    return "its row has no split" if wanted.divided and not row.split else ""


def tell_of_columns(names: Sequence[str], where: str) -> None:
    """That none is known to be one of classes, where there are some to choose from."""
    known = {usual(names, tables.PATHS), usual(names, tables.SPLITS)}
    others = [name for name in names if name not in known]
    if others:
        console.inform(
            f"{where} has no column called label or class, so its pictures are of no class; choose "
            f"a column by --label-by ({', '.join(others)})"
        )


def splits_of(values: Iterable[object], name: str, where: str) -> list[str]:
    """The split of each row, or an empty text where the cell is empty."""
    cells = [said(value).lower() for value in values]
    unknown = sorted(set(cells) - set(SPLIT_FOLDERS) - {""})
    if unknown:
        raise UserError(
            f"the column {name} of {where} holds {unknown[0]!r}, which is no split; write train, "
            "validation or test, or divide anew with --split 80/10/10"
        )
    return [SPLIT_FOLDERS.get(cell, "") for cell in cells]


def of_file(path: Path) -> Listed:
    whole = path.resolve()
    return Listed(path.stem, str(whole), whole.parent, lambda: tables.read_table(whole))


def of_table(table: Table) -> Listed:
    """One given in Python, whose paths are relative to the working folder."""
    cells = repr([(name, *map(said, column)) for name, column in table.columns.items()])
    digest = hashlib.sha256(cells.encode("utf-8", "backslashreplace")).hexdigest()
    return Listed("table", f"table {digest[:12]}", Path.cwd(), lambda: table)
