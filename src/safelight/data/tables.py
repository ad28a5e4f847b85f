"""Tables that list files of pictures: CSV, TSV, JSON, JSON lines, and data frames."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safelight.data.decode import SUFFIXES
from safelight.data.walk import suffix_of
from safelight.errors import UserError

# The usual names of columns, the likeliest first; compared without case, spaces, - and _.
PATHS = (
    *("path", "filepath", "file", "filename", "image", "imagepath", "imagefile", "imagename"),
    *("imageid", "img", "imgpath", "imgname", "picture", "photo"),
)
LABELS = (
    *("label", "labels", "class", "classname", "classes", "category", "target", "finelabel"),
    *("classid", "categoryname", "categoryid", "species", "breed", "y"),
)
SPLITS = ("split", "partition", "subset")
SEPARATORS = ",;\t|"
MISSING = ("NAType", "NaTType")  # of pandas, which can't be compared


@dataclass(frozen=True)
class Table:
    """Columns of equal length by their names, in their order."""

    columns: Mapping[str, Sequence[Any]]

    @property
    def rows(self) -> int:
        return max(map(len, self.columns.values()), default=0)


def plain(name: str) -> str:
    """Names are compared without case, spaces and dashes."""
    return re.sub(r"[\s_-]", "", name).casefold()


def usual(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The column that is called by one of the wanted names; None where there is none."""
    named = {plain(name): name for name in reversed(names)}
    return next((named[word] for word in wanted if word in named), None)


def said(value: Any) -> str:
    """A cell as text: nothing where it is missing, and 3.0 as 3."""
    one = getattr(value, "shape", None) == () and hasattr(value, "item")  # of numpy, or torch
    cell = value.item() if one else value
    if cell is None or type(cell).__name__ in MISSING:
        return ""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else str(int(cell) if cell.is_integer() else cell)
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace").strip()
    return str(cell).strip()


def found(names: Sequence[str], name: str, where: str) -> str:
    """The column called `name`; raises UserError, with those that there are."""
    there = name if name in names else usual(names, (plain(name),))
    if there is None:
        raise UserError(f"{where} has no column {name!r}; its columns are {', '.join(names)}")
    return there


def combined(names: Sequence[str], columns: Sequence[Sequence[str]]) -> list[str]:
    """The class of each row by one column or several; an empty text where a cell is empty."""
    if len(columns) < 2:
        return [cell for column in columns for cell in column]
    return [
        " and ".join(f"{name} {cell}" for name, cell in zip(names, cells, strict=True))
        if all(cells)
        else ""
        for cells in zip(*columns, strict=True)
    ]


def read_table(path: Path) -> Table:
    """Raises UserError where it is none."""
    try:
        text = _text(path.read_bytes())
        table = next(read for end, read in FORMATS.items() if path.name.lower().endswith(end))(text)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save it as CSV with UTF-8") from error
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a table ({error}); mend or fetch it") from error
    if not table.rows:
        raise UserError(f"{path} has no rows; give a table with a row for each picture")
    return table


def _text(data: bytes) -> str:
    """UTF-8, or what a byte order mark says, as spreadsheets write it; lines end in \\n."""
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16" if wide else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _csv(text: str) -> Table:
    head = text.partition("\n")[0]
    return _separated(text, max(SEPARATORS, key=head.count))


def _separated(text: str, separator: str) -> Table:
    rows = list(_rows(text, separator))
    if not rows:
        return Table({})
    width = max(len(_trimmed(row)) for _, row in rows)
    names, head = [cell.strip() for cell in rows[0][1][:width]], 1
    if any(suffix_of(name) in SUFFIXES for name in names):
        names, head = _without_head(names), 0
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two of its columns are called {twice!r}")
    for number, row in rows:
        if len(_trimmed(row)) > len(names):
            raise ValueError(
                f"row {number} has {len(row)} cells and its head {len(names)}: put what holds "
                f"{separator!r} in quotes"
            )
    cells = [[*row, *[""] * (len(names) - len(row))] for _, row in rows[head:]]
    return Table({name: [row[i] for row in cells] for i, name in enumerate(names)})


def _rows(text: str, separator: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Those that hold something, and their numbers. Raises ValueError for a quote out of place."""
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    for number in itertools.count(1):
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"line {line}, in the quotes of this row: {error}") from error
        if any(cell.strip() for cell in row):
            yield number, row


def _trimmed(row: Sequence[str]) -> Sequence[str]:
    """Without the empty cells at its end, which spreadsheets write."""
    return row[: max((i for i, cell in enumerate(row, 1) if cell.strip()), default=0)]


def _without_head(cells: Sequence[str]) -> list[str]:
    """The names of the columns where the first row is a picture's: its path, its label, its split.

    Raises ValueError where that is not clear.
    """
    path = next(i for i, cell in enumerate(cells) if suffix_of(cell) in SUFFIXES)
    others = iter(["label", "split"])
    names = ["path" if i == path else next(others, "") for i in range(len(cells))]
    if "" in names:
        raise ValueError("its first row has to name the columns, such as path,label,split")
    return names


def _json(text: str) -> Table:
    """A list of objects, columns by name, or labels by path."""
    value = json.loads(text)
    if isinstance(value, list):
        return records(value)
    if not isinstance(value, dict):
        raise ValueError("give a list of objects, each with a path and a label")
    if all(isinstance(part, list) for part in value.values()):
        return _alike(value)
    if all(isinstance(part, dict) for part in value.values()):  # as pandas writes
        return _alike({name: list(part.values()) for name, part in value.items()})
    return Table({"path": list(value), "label": list(value.values())})


def _json_lines(text: str) -> Table:
    return records([json.loads(line) for line in text.split("\n") if line.strip()])


def records(rows: Sequence[Any]) -> Table:
    """One mapping for each row; what a row has not got is None."""
    if not all(isinstance(row, Mapping) for row in rows):
        raise ValueError("give a list of objects, each with a path and a label")
    names = {str(name): None for row in rows for name in row}
    return Table({name: [row.get(name) for row in rows] for name in names})


def _alike(columns: Mapping[str, Sequence[Any]]) -> Table:
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError("its columns have different lengths")
    return Table(columns)


def frame(value: Any) -> Table:
    """A data frame of pandas, polars or any other library: `columns` names what `[]` gives.

    In tables of pyarrow `column_names` do.
    """
    names = list(getattr(value, "column_names", value.columns))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two columns of the table are called {twice!r}; rename one")
    return of_columns({name: value[name] for name in names})


def of_columns(columns: Mapping[Any, Any]) -> Table:
    """Raises UserError where there are no rows, or not as many in each."""
    try:
        table = _alike({str(name): list(values) for name, values in columns.items()})
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the table cannot be read ({error}); give lists of equal length"
        ) from error
    if not table.rows:
        raise UserError("the table has no rows; give one with a row for each picture")
    return table


FORMATS: dict[str, Callable[[str], Table]] = {
    ".csv": _csv,
    ".tsv": lambda text: _separated(text, "\t"),
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
