"""Tar archives as a source: of folders, or in the form of WebDataset's shards.

In a shard, files of one name and different endings belong together: a picture, and its class in a
.cls, a .json or a .txt.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safelight.data import tables
from safelight.data.classes import natural
from safelight.data.layout import Splits, folders, in_order, no_pictures, split_named
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.parts import Files, Part
from safelight.data.splits import SPLITS
from safelight.data.streams import Stream
from safelight.data.tars import key_of, packed, stream_tar, walk_tar
from safelight.data.walk import Entry, stamped
from safelight.errors import UserError
from safelight.paths import expanded, is_there

LONGEST_LABEL = 200  # characters: a text that is longer is no class
Stem = tuple[str, str]  # the shard, and what files of one picture have in common


@dataclass
class Notes:
    """What stands beside the pictures of a shard: ending or field -> picture -> text.

    asked: the endings and fields that are to be the classes; the usual ones where it is empty.
    """

    asked: tuple[str, ...]
    texts: dict[str, dict[Stem, str]] = field(default_factory=dict)
    fields: set[str] = field(default_factory=set)

    def __call__(self, shard: str, stem: str, ending: str, data: bytes) -> None:
        text = data.decode("utf-8", "replace").strip()
        cells = {ending[1:]: text}
        if ending == ".json":
            cells = {name: tables.said(value) for name, value in _object(text).items()}
        self.fields |= set(cells)
        for name, cell in cells.items():
            if self._matters(name) and len(cell) <= LONGEST_LABEL:
                self.texts.setdefault(name, {})[shard, stem] = cell

    def _matters(self, name: str) -> bool:
        return name in (self.asked or ("cls", "txt")) or (
            not self.asked and tables.plain(name) in tables.LABELS
        )

    def chosen(self, stems: Sequence[Stem], where: str) -> list[str] | None:
        """The class of each of these pictures; None where there are none.

        Texts that are nearly all different are captions, and no classes unless they are asked for.
        """
        for name in self.asked:
            if name not in self.texts:
                raise UserError(
                    f"{where} has no {name!r} beside its pictures; it has "
                    f"{', '.join(sorted(self.fields)) or 'nothing but pictures'}"
                )
        names = self.asked or self._usual(stems)
        columns = [[self.texts[name].get(stem, "") for stem in stems] for name in names]
        return tables.combined(names, columns) if names else None

    def _usual(self, stems: Sequence[Stem]) -> tuple[str, ...]:
        """What most pictures have, and what is no caption."""
        found = []
        for name, texts in self.texts.items():
            values = [texts[stem] for stem in stems if stem in texts]
            repeated = name != "txt" or 2 * len(set(values)) <= len(values)
            if 2 * len(values) > len(stems) and repeated:
                found.append(name)
        usual = tables.usual(found, ("cls", *tables.LABELS, "txt"))
        return () if usual is None else (usual,)


def _object(text: str) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class Member(NamedTuple):
    """A picture in a shard."""

    shard: Path
    entry: Entry

    @property
    def stem(self) -> Stem:
        return str(self.shard), key_of(self.entry.name)[0]


@dataclass(frozen=True)
class Tars:
    """One tar archive, or the shards of a set."""

    name: str
    where: str
    paths: tuple[Path, ...]
    divided: bool = False

    @classmethod
    def of(cls, where: str, paths: Sequence[Path], name: str | None = None) -> Tars:
        """These, in natural order."""
        ordered = sorted(paths, key=lambda path: natural(path.parts))
        stem = key_of(paths[0].name)[0] if len(paths) == 1 else ordered[0].resolve().parent.name
        return cls(name or stem, where, tuple(ordered))

    @property
    def takes(self) -> tuple[str, ...]:
        return ("label_by",) if len(self.paths) == 1 else ("label_by", "sources")

    def signature(self) -> str:
        return stamped(*self.paths)

    def listing(self, options: Options) -> Listing:
        notes = Notes(options.label_by)
        found = [walk_tar(path, partial(notes, str(path))) for path in self.paths]
        pairs = list(zip(self.paths, found, strict=True))
        members = [Member(path, entry) for path, part in pairs for entry in in_order(part)]
        if not members:
            raise UserError(no_pictures(found, self.where))
        texts = self._told(members, notes, options)
        labels, splits, classes = folders(
            [member.entry for member in members], self.where, options.labelled and texts is None
        )
        whole = Listing(
            names=[self._said(member.shard, member.entry.name) for member in members],
            labels=labels,
            splits=splits if splits is not None else _splits(members),
            classes=classes,
            parts=tuple(_part(*shard) for shard in groupby(members, lambda member: member.shard)),
            ignored=dict(sum((part.ignored for part in found), Counter[str]())),
            left_aside=tuple(self._said(path, x) for path, part in pairs for x in part.left_aside),
            rejected=tuple(
                replace(rejection, file=self._said(path, rejection.file))
                for path, part in pairs
                for rejection in part.rejected
            ),
        )
        return whole if texts is None else whole.classed(texts, "no class stands beside it")

    def _told(self, members: Sequence[Member], notes: Notes, options: Options) -> list[str] | None:
        """The class of each, where it is not the folders that tell it."""
        if options.labels == "sources":
            return [key_of(member.shard.name)[0] for member in members]
        if not options.labelled:
            return None
        return notes.chosen([member.stem for member in members], self.where)

    def _said(self, shard: Path, name: str) -> str:
        return name if len(self.paths) == 1 else f"{shard.name}/{name}"


def _splits(members: Sequence[Member]) -> Splits:
    """Those that the shards or their folders are called by, `train` among them."""
    shards = dict.fromkeys(member.shard for member in members)
    split = {path: split_named(path.name) or split_named(path.parent.name) for path in shards}
    named = [split[member.shard] for member in members]
    if None in named or "train" not in named or len(set(named)) < 2:
        return None
    return np.array([SPLITS.index(split or "") for split in named], np.uint8)


def _part(shard: Path, members: Iterable[Member]) -> Part:
    entries = [member.entry for member in members]
    keys, sizes = [entry.key for entry in entries], [entry.size for entry in entries]
    if not packed(shard):
        return Files("tar", str(shard), keys, sizes)
    places = np.array([int(key.split()[0]) for key in keys], np.int64)
    return Stream(partial(stream_tar, str(shard)), str(shard), keys, sizes, places)


SHARDS = re.compile(r"\{(\d+)\.\.(\d+)\}")


def braced(text: str) -> list[Path]:
    """train-{0000..0002}.tar -> its three files. Raises UserError where one is missing."""
    found = SHARDS.search(text)
    if found is None:
        path = expanded(text)
        if not is_there(path):
            raise UserError(f"there is no {path}; name shards that are there")
        return [path]
    before, after, width = text[: found.start()], text[found.end() :], len(found[1])
    numbers = range(int(found[1]), int(found[2]) + 1)
    paths = [path for i in numbers for path in braced(f"{before}{i:0{width}}{after}")]
    if not paths:
        raise UserError(f"{text} counts no shards; give the lower number first")
    return paths
