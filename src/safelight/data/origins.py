"""Where pictures come from: each kind of source by how it is given."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from safelight import console
from safelight.data import arrayfiles, arrays, hub, listed, tables, video
from safelight.data.decode import SUFFIXES
from safelight.data.layout import listing
from safelight.data.listing import Listing
from safelight.data.lmdbs import DATA, is_lmdb, walk_lmdb
from safelight.data.merge import PLUS, several
from safelight.data.meta import read_meta
from safelight.data.named import NAMED, NamedSet, nearest, other, recognised, spelled
from safelight.data.options import Options
from safelight.data.parquet import of_files
from safelight.data.places import roots_of
from safelight.data.shards import SHARDS, Tars, braced
from safelight.data.source import Origin
from safelight.data.stored import is_cache
from safelight.data.walk import (
    NOT_READ,
    TARS,
    Found,
    files_below,
    signature,
    stamped,
    suffix_of,
    walk_folder,
)
from safelight.data.zips import walk_zip
from safelight.errors import UserError
from safelight.paths import expanded, is_there, require_readable

Source = Any  # a path, a name, arrays, a data frame, or several of these
WALKS: dict[str, Callable[[Path], Found]] = {
    "folder": walk_folder,
    "zip": walk_zip,
    "lmdb": walk_lmdb,
}


@dataclass(frozen=True)
class FilesIn:
    """A folder, an archive or a database of files. kind: a row of WALKS and READERS."""

    kind: str
    name: str
    where: str
    divided: bool = False
    takes: tuple[str, ...] = ()

    @cached_property
    def found(self) -> Found:
        return WALKS[self.kind](Path(self.where))

    def signature(self) -> str:
        if self.kind == "lmdb":
            return stamped(Path(self.where) / DATA)
        return signature(self.found)

    def listing(self, options: Options) -> Listing:
        return listing(self.found, self.kind, self.where, options.labelled)


@dataclass(frozen=True)
class Named:
    """A well-known set. place: of a copy that was pointed at."""

    name: str
    where: str
    row: NamedSet
    place: Path | None = None

    @property
    def divided(self) -> bool:
        return self.row.divided

    @property
    def takes(self) -> tuple[str, ...]:
        return self.row.takes

    def signature(self) -> str:
        return f"{self.name}: {self.row.sign(roots_of(self.name, self.place))}"

    def listing(self, options: Options) -> Listing:
        return self.row.load(roots_of(self.name, self.place), options)


def find(source: Source) -> Origin:
    """Raises UserError where there is nothing of the kind."""
    for fits, make in GIVEN:
        if fits(source):
            return make(source)
    raise UserError(
        f"pictures can't be made of {type(source).__name__}; give a path, a name, an array, a "
        "data frame, or a list of these"
    )


def word_for(place: Path) -> str:
    """What a command says for this folder or file: never what a named set is called."""
    return f"./{place}" if str(place) in NAMED else str(place)


def _of_words(text: str) -> Origin:
    """A name or a path; a name of the table is what it says, even where there is such a folder."""
    if text in NAMED:
        if is_there(Path(text)):
            console.inform(f"{text!r} is the named set; say ./{text} for the folder here")
        return Named(text, text, NAMED[text])
    path = expanded(text)
    if is_there(path):
        return _of_path(path)
    for fits, make in WRITTEN:
        if fits(text):
            found = make(text)
            if found is not None:
                return found
    raise UserError(_nothing_called(text))


def _other(text: str) -> Origin | None:
    row = other(text)
    return None if row is None else Named(tables.plain(text), text, row)


def _of_path(path: Path) -> Origin:
    if not is_there(path):
        raise UserError(_nothing_called(str(path)))
    require_readable(path)
    if path.is_dir():
        return _of_folder(path.resolve())
    if not path.is_file():
        raise UserError(_no_source(path))
    name = path.name.lower()
    make = next((make for ending, make in ENDINGS.items() if name.endswith(ending)), None)
    if make is None:
        with path.open("rb") as file:
            start = file.read(8)
        make = next((make for magic, make in MAGIC.items() if start.startswith(magic)), None)
    if make is None:
        raise UserError(_no_source(path))
    return make(path.resolve())


def _of_folder(folder: Path) -> Origin:
    try:
        known = recognised(folder)
    except PermissionError as error:  # of a folder in it that is called like one of a named set
        raise UserError(
            f"no permission to read {error.filename}; ask whoever owns it, or give another folder"
        ) from None
    if known is not None:
        name, root = known
        return Named(name, str(root), NAMED[name], root)
    for fits, make in FOLDERS:
        found = fits(folder)
        if found:
            return make(folder, found)
    return FilesIn("folder", folder.name, str(folder))


def _nothing_called(text: str) -> str:
    named = WORD.fullmatch(text)
    what = "folder, file or named set" if named else "folder or file"
    if near := [repr(name) for name in (*_alike(text), *nearest(text))]:
        return f"there is no {what} {text!r}; did you mean {' or '.join(near)}?"
    sets = ", or a named set such as digits, mnist or cifar10" if named else ""
    return f"there is no {what} {text!r}; give {TAKEN}{sets}"


def _alike(text: str) -> list[str]:
    """What is called nearly so in the folder where it was to be; one at most."""
    path = expanded(text)
    try:
        there = [each.name for each in path.parent.iterdir()]
    except (OSError, ValueError):
        return []
    return [str(path.parent / name) for name in difflib.get_close_matches(path.name, there, n=1)]


def _no_source(path: Path) -> str:
    if suffix_of(path.name) in SUFFIXES:
        return f"{path} is a picture; give the folder that it lies in"
    return f"{path} is no source of pictures; give {TAKEN}"


def _cache(folder: Path) -> Origin:
    raise UserError(
        f"{folder} is a cache, whose pictures are prepared already; give what it was made of, "
        f"{read_meta(folder).source}, or the cache alone, to prepare that again"
    )


def _all_below(endings: Sequence[str], folder: Path) -> list[Path]:
    """All files of these endings below the folder, if there are any and no pictures."""
    found: list[Path] = []
    for path in files_below(folder):
        if suffix_of(path) in SUFFIXES:
            return []
        if path.lower().endswith(tuple(endings)):
            found.append(Path(path))
    return found


def _array_file(ending: str, path: Path) -> Origin:
    load = partial(arrayfiles.arrays_in, path, ending)
    return arrays.Arrays(path.stem, str(path), load, lambda: stamped(path))


def _parquet_file(path: Path) -> Origin:
    return of_files(path.stem, str(path), path.parent, [path])


def _unreadable(path: Path) -> Origin:
    raise UserError(f"{path} is packed in a way that is not read here; unpack it, and give that")


def _of_shards(pattern: Path) -> Origin:
    return Tars.of(str(pattern), braced(str(pattern)))


def _of_mapping(value: Mapping[str, Any]) -> Origin:
    """Arrays of pictures with their labels, or columns of a table."""
    stacked = [part for part in value.values() if len(getattr(part, "shape", ())) > 2]
    paths = tables.usual(list(map(str, value)), tables.PATHS)
    if stacked or (paths is None and any(map(_holds_pictures, value.values()))):
        return arrays.given(value)
    return listed.of_table(tables.of_columns(value))


def _holds_pictures(values: Any) -> bool:
    """Whether it is a list of arrays that may be pictures."""
    first = values[0] if isinstance(values, list | tuple) and values else None
    return len(getattr(first, "shape", ())) > 1


def _of_several(sources: Sequence[Source]) -> Origin:
    """Shards of one set that are given one by one are one source."""
    origins = [find(source) for source in sources]
    tars = [origin.paths for origin in origins if isinstance(origin, Tars)]
    shards = [path for path, *others in tars if not others and NUMBERED.search(path.name)]
    if len(set(shards)) == len(origins) > 1:
        return Tars.of(PLUS.join(map(str, shards)), shards)
    if not origins:
        raise UserError("no source is given; name a folder, a file or a set")
    return several(origins)


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


NUMBERED = re.compile(r"\d\.[a-z.0-9]+$", re.IGNORECASE)
TAKEN = "a folder of pictures, or a zip, tar, CSV, JSON, npy, npz, pt, parquet or video of them"
WORD = re.compile(r"[A-Za-z][\w -]*")
# What is given in Python -> its source.
GIVEN: tuple[tuple[Callable[[Source], bool], Callable[[Source], Origin]], ...] = (
    (lambda source: isinstance(source, str), _of_words),
    (
        lambda source: isinstance(source, os.PathLike),
        lambda path: _of_path(expanded(path)),
    ),
    (lambda source: hasattr(source, "columns"), lambda frame: listed.of_table(tables.frame(frame))),
    (_is_array, arrays.given),
    (lambda source: isinstance(source, Mapping), _of_mapping),
    (lambda source: isinstance(source, Sequence), _of_several),
)
# What is written where no path of that name is.
WRITTEN: tuple[tuple[Callable[[str], Any], Callable[[str], Origin | None]], ...] = (
    (spelled, lambda text: _of_words(spelled(text) or "")),
    (lambda text: PLUS in text, lambda text: _of_several(text.split(PLUS))),
    (hub.is_name, hub.Hub),
    (SHARDS.search, lambda text: _of_shards(expanded(text).resolve())),
    (WORD.fullmatch, lambda text: _other(text)),
)
ENDINGS: dict[str, Callable[[Path], Origin]] = {
    ".zip": lambda path: FilesIn("zip", path.stem, str(path)),
    **dict.fromkeys(TARS, lambda path: Tars.of(str(path), [path])),
    **dict.fromkeys(tables.FORMATS, listed.of_file),
    **{ending: partial(_array_file, ending) for ending in arrayfiles.OPENERS},
    **dict.fromkeys(video.ENDINGS, lambda path: video.Video(path.stem, str(path))),
    ".parquet": _parquet_file,
    **dict.fromkeys(NOT_READ, _unreadable),
}
# The bytes that a file begins with, where its name does not tell.
MAGIC: dict[bytes, Callable[[Path], Origin]] = {
    b"PK\3\4": ENDINGS[".zip"],
    b"\x1f\x8b": ENDINGS[".tar"],
    b"BZh": ENDINGS[".tar"],
    b"\xfd7zXZ\0": ENDINGS[".tar"],
    b"\x93NUMPY": ENDINGS[".npy"],
    b"PAR1": ENDINGS[".parquet"],
}
# What a folder holds instead of pictures.
FOLDERS: tuple[tuple[Callable[[Path], Any], Callable[[Path, Any], Origin]], ...] = (
    (is_cache, lambda folder, _: _cache(folder)),
    (is_lmdb, lambda folder, _: FilesIn("lmdb", folder.name, str(folder))),
    (
        partial(_all_below, TARS),
        lambda folder, paths: Tars.of(str(folder), paths, folder.name),
    ),
    (
        partial(_all_below, [".parquet"]),
        lambda folder, paths: of_files(folder.name, str(folder), folder, paths),
    ),
)
