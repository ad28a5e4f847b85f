"""Parquet files with pictures inside, as Hugging Face keeps data sets: read row group by row group.

A picture is a struct of `bytes` and `path`, or plain bytes. The metadata of the schema names the
classes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from safelight.data import tables
from safelight.data.classes import clean, natural, no_classes
from safelight.data.layout import Splits, split_named
from safelight.data.libraries import library
from safelight.data.listed import Listed, splits_of, tell_of_columns
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.splits import SPLITS
from safelight.data.streams import Stream
from safelight.data.tables import Table, said, usual
from safelight.data.walk import stamped
from safelight.errors import DamagedFile, UserError

ROWS = 64  # that are read at a time
BUFFER = 2**20  # bytes of a column that are read at a time
PICTURE_BYTES = 2**15  # about what one takes: the files do not say without being read


class File:
    """One file: its columns, and its pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrow = library("pyarrow.parquet", str(path))
        with self._opened() as file:
            self._schema = file.schema_arrow
            self.rows = file.metadata.num_rows
        self.names = list(self._schema.names)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """For as long as it is read: of many files few may be open at a time."""
        try:
            with self._arrow.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
                yield file
        except (OSError, ValueError, NotImplementedError) as error:  # as pyarrow's own are
            problem = " ".join(str(error).split())
            raise DamagedFile(
                f"{self.path} cannot be read as parquet ({problem}); fetch it again"
            ) from error

    @cached_property
    def features(self) -> Mapping[str, Mapping[str, Any]]:
        """What Hugging Face's `datasets` notes of each column; nothing in files of others."""
        try:
            told = json.loads((self._schema.metadata or {})[b"huggingface"])["info"]["features"]
        except (KeyError, TypeError, ValueError):
            return {}
        return {name: row for name, row in told.items() if isinstance(row, dict)}

    def classes(self, column: str) -> tuple[str, ...]:
        """The names that its numbers stand for; none where it does not hold such numbers."""
        names = map(said, self.features.get(column, {}).get("names") or ())
        return tuple(map(clean, names))

    @cached_property
    def image(self) -> str | None:
        """The column of pictures; None where there is none."""
        kinds = {name: self._schema.field(name).type for name in self.names}
        found = [name for name, kind in kinds.items() if _holds_files(kind)]
        return usual(found, tables.PATHS) or (found[0] if len(found) == 1 else None)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The column that is usually that of the classes; none where no column is."""
        named = [name for name in self.names if self.classes(name)]
        found = usual(self.names, tables.LABELS) or (named[0] if len(named) == 1 else None)
        return () if found is None else (found,)

    def column(self, name: str) -> list[Any]:
        """Its values; those of a column of classes by name."""
        with self._opened() as file:
            values = file.read([name]).column(0).to_pylist()
        classes = self.classes(name)
        if not classes:
            return values  # type: ignore[no-any-return]
        return [classes[x] if x is not None and 0 <= x < len(classes) else None for x in values]

    def pictures(self, keys: Sequence[str]) -> Iterator[bytes | str]:
        """The bytes at these rows, which rise, or the reason why there are none."""
        rows, start = np.array(keys, np.int64), 0
        with self._opened() as file:
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                within = rows[(rows >= start) & (rows < stop)] - start
                if len(within):
                    yield from self._of_group(file, group, within)
                start = stop

    def _of_group(self, file: Any, group: int, rows: Any) -> Iterator[bytes | str]:
        start = 0
        column = self.image
        for batch in file.iter_batches(ROWS, [group], columns=[column], use_threads=False):
            values = batch.column(0)
            for row in rows[(rows >= start) & (rows < start + len(values))] - start:
                yield _bytes(values[int(row)].as_py())
            start += len(values)


def _holds_files(kind: Any) -> bool:
    """Whether values of this type may be files of pictures."""
    fields = [kind.field(i).name for i in range(kind.num_fields)]
    return "bytes" in fields or str(kind) in ("binary", "large_binary")


def _bytes(value: Any) -> bytes | str:
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None:
        path = value.get("path") if isinstance(value, dict) else None
        return "there is no picture in this row" + (f", only its path {path}" if path else "")
    return data if isinstance(data, bytes) else "what this row holds is no file"


@dataclass(frozen=True)
class Parquet:
    """The pictures in one file or several. places: what they are called below a common folder."""

    name: str
    where: str
    paths: tuple[Path, ...]
    places: tuple[str, ...]
    divided: bool = False
    takes: tuple[str, ...] = ("label_by",)

    def signature(self) -> str:
        return stamped(*self.paths) if self._listed is None else self._listed.signature()

    def listing(self, options: Options) -> Listing:
        if self._listed is not None:
            return self._listed.listing(options)
        files = self._files
        lacking = [file for file in files if file.image is None]
        if lacking:
            raise UserError(
                f"{lacking[0].path} has no column of pictures, or several; its columns are "
                f"{', '.join(lacking[0].names)}: call the one of files image"
            )
        n = sum(file.rows for file in files)
        if not n:
            raise UserError(f"{self.where} has no rows; give a file with a row for each picture")
        pairs = zip(self.places, files, strict=True)
        labels, classes = no_classes(n)
        whole = Listing(
            names=[f"{place} row {i}" for place, file in pairs for i in range(file.rows)],
            labels=labels,
            splits=self._splits(files, options),
            classes=classes,
            parts=tuple(map(_part, files)),
        )
        names = self._columns(files, options)
        if not names:
            return whole
        texts = [text for file in files for text in _labels(file, names)]
        return whole.classed(texts, "it has no class", _known(files, names))

    @cached_property
    def _files(self) -> list[File]:
        return [File(path) for path in self.paths]

    @cached_property
    def _listed(self) -> Listed | None:
        """Of one file of paths to files elsewhere; None of pictures."""
        file = self._files[0]
        if len(self._files) > 1 or file.image or not usual(file.names, tables.PATHS):
            return None
        columns = {name: file.column(name) for name in file.names}
        return Listed(self.name, self.where, file.path.parent, lambda: Table(columns))

    def _columns(self, files: Sequence[File], options: Options) -> tuple[str, ...]:
        """Those that make the classes."""
        first = files[0]
        if not options.labelled:
            return ()
        names = options.label_by or first.labels
        if not names:
            tell_of_columns([name for name in first.names if name != first.image], self.where)
        return tuple(tables.found(first.names, name, self.where) for name in names)

    def _splits(self, files: Sequence[File], options: Options) -> Splits:
        """By a column of that name, or as the files or their folders are called."""
        if options.split is not None:
            return None
        if usual(files[0].names, tables.SPLITS):
            named = [split for file in files for split in _splits(file)]
        else:
            pairs = zip(self.places, files, strict=True)
            named = [split_named(place) or "" for place, file in pairs for _ in range(file.rows)]
            if "" in named or "train" not in named or len(set(named)) < 2:
                return None
        return np.array([SPLITS.index(split) for split in named], np.uint8)


def _labels(file: File, names: Sequence[str]) -> list[str]:
    """The class of each row, an empty text where it has none."""
    there = [tables.found(file.names, name, str(file.path)) for name in names]
    return tables.combined(names, [list(map(said, file.column(name))) for name in there])


def _known(files: Sequence[File], names: Sequence[str]) -> tuple[str, ...]:
    """The classes in their publisher's order, where all files give the same one."""
    orders = {file.classes(name) for file in files for name in names}
    one = orders.pop() if len(names) == len(orders) == 1 else ()
    return tuple(dict.fromkeys(filter(None, one)))


def _splits(file: File) -> list[str]:
    name = usual(file.names, tables.SPLITS)
    if name is None:
        raise UserError(f"{file.path} has no column of splits, and others have; add one")
    found = splits_of(file.column(name), name, str(file.path))
    if "" in found:
        raise UserError(f"{file.path} names no split in row {found.index('')}; add it")
    return found


def _part(file: File) -> Stream:
    rows = np.arange(file.rows)
    keys = list(map(str, rows.tolist()))
    return Stream(file.pictures, str(file.path), keys, [PICTURE_BYTES] * file.rows, rows)


def of_files(name: str, where: str, folder: Path, paths: Sequence[Path]) -> Parquet:
    """In the natural order of their paths below the folder."""
    places = {path: path.relative_to(folder).as_posix() for path in paths}
    ordered = sorted(paths, key=lambda path: natural(places[path].split("/")))
    return Parquet(name, where, tuple(ordered), tuple(places[path] for path in ordered))
