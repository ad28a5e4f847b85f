"""What `prepare` says of a cache: what became of every kind of file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safelight import console
from safelight.data.changes import Change
from safelight.data.ingest import DUPLICATE
from safelight.data.look import said
from safelight.data.meta import FILE, Meta, Rejected
from safelight.data.splits import SPLITS
from safelight.data.stored import read_sizes
from safelight.data.walk import NO_ENTRY

Sizes = NDArray[np.int32]  # (n, 2): width and height of each original
REASONS = 8  # kinds of rejection, and endings of one kind, that are told one by one

CHANGED: dict[Change, str] = {
    Change.TURNED: "turned upright, as the EXIF data say",
    Change.PROFILE: "converted to sRGB from another colour profile or gamma",
    Change.CMYK: "converted from CMYK",
    Change.LAB: "converted from Lab",
    Change.DEEP: "reduced to 8 bits a channel from more",
    Change.FLATTENED: "transparent in places, laid over {background}",
    Change.FIRST_FRAME: "animated or of several pages: the first was taken",
}


@dataclass(frozen=True)
class Kind:
    """Files that are no pictures: their endings, and what can be done about them."""

    one: str
    several: str
    endings: frozenset[str]
    remedy: str = ""


def _files(one: str, several: str, endings: str, remedy: str = "") -> Kind:
    return Kind(one, several, frozenset(f".{ending}" for ending in endings.split()), remedy)


KINDS: tuple[Kind, ...] = (
    _files(
        "video",
        "videos",
        "mp4 mov m4v avi mkv webm 3gp mts m2ts mpg mpeg wmv",
        "prepare one by itself to take its frames",
    ),
    _files(
        "raw photograph",
        "raw photographs",
        "dng cr2 cr3 nef arw raf orf rw2 pef srw",
        "export them as JPEG",
    ),
    _files("drawing", "drawings", "svg psd ai eps xcf kra", "export them as PNG"),
    _files("note of a program", "notes of programs", "aae xmp thm pp3 ini db json xml"),
    _files("text", "texts", "txt md csv tsv html htm rtf pdf doc docx odt"),
    _files("sound", "sounds", "mp3 m4a wav aac amr ogg opus flac"),
)
OTHER = Kind("other file", "other files", frozenset())


def in_a_line(meta: Meta) -> str:
    """What there is to be judged, and what is not there."""
    line = f"{meta.source}: {meta.count:,} pictures of {meta.looks}"
    if meta.classes:
        line += f", in {len(meta.classes)} class{'es' if len(meta.classes) > 1 else ''}"
    if meta.rejected:
        first, count = meta.rejected[0], len(meta.rejected)
        files = "1 file" if count == 1 else f"{count:,} files"
        line += f"; {files} gave none, such as {first.file}: {first.reason}"
    return line


def summarise(meta: Meta, out: Path) -> None:
    """What was made of what, what was left out, and where it is."""
    console.say(f"{meta.count:,} pictures of {meta.looks}, from {meta.source}")
    sizes = read_sizes(out, meta)
    assert sizes is not None  # it has just been made
    for line in (
        *_divided(meta),
        *_originals(meta, sizes),
        *_changed(meta, sizes),
        *_noticed(meta),
    ):
        console.say(console.wrapped(f"  {line}", "    "))
    if shut := [one.file for one in meta.rejected if one.reason == NO_ENTRY]:
        some = f"{', '.join(shut[:REASONS])}{', ...' if len(shut) > REASONS else ''}"
        console.say(f"look out: nothing of what is in {some} is here, since it may not be read")
    for line in (*_left_aside(meta, out), *_rejected(meta.rejected, out)):
        console.say(console.wrapped(f"  {line}", "      "))
    console.say(f"cache: {out}")


def _divided(meta: Meta) -> Iterator[str]:
    totals = {split: sum(row[split] for row in meta.counts.values()) for split in SPLITS}
    yield ", ".join(f"{split} {count:,}" for split, count in totals.items())
    for name, row in meta.counts.items() if meta.classes else ():
        alone = "; a class with one picture is only trained on" if sum(row.values()) == 1 else ""
        yield f"{name}: " + ", ".join(f"{split} {n:,}" for split, n in row.items()) + alone


def _originals(meta: Meta, sizes: Sizes) -> Iterator[str]:
    """Their formats, and their sizes where these differ."""
    if meta.formats:
        yield ", ".join(f"{count:,} {name}" for name, count in meta.formats.items())
    if (sizes == sizes[0]).all():
        return
    w, h = sizes.astype(int).T
    shapes = {"landscape": w > h, "portrait": w < h, "square": w == h}
    counts = ", ".join(f"{n:,} {name}" for name, which in shapes.items() if (n := int(which.sum())))
    least, most = (tuple(sizes[i].tolist()) for i in ((w * h).argmin(), (w * h).argmax()))
    yield f"{counts}; from {said(least)} to {said(most)}"


def _changed(meta: Meta, sizes: Sizes) -> Iterator[str]:
    yield from changed(meta)
    if meta.enlarged:
        yield f"{meta.enlarged:,} smaller than {said(meta.size)}, enlarged"
    if not meta.options.enlarge and (small := int((sizes < meta.size).all(1).sum())):
        yield f"{small:,} smaller than {said(meta.size)}, which keep their own size"


def changed(meta: Meta) -> Iterator[str]:
    """What else was done with the originals than to make them equally large: a line for each."""
    for change, what in CHANGED.items():
        if change in meta.changes:
            yield f"{meta.changes[change]:,} {what.format(background=meta.options.background)}"


def _noticed(meta: Meta) -> Iterator[str]:
    """What one would want to know of the pictures before training on them."""
    if meta.same or meta.nearly:
        where = "all on one side of the split"
        if meta.across:
            where = f"{meta.across:,} of them in another split than it, which flatters a model"
        repeated = meta.same + meta.nearly
        yield (
            f"{repeated:,} repeat{'s' if repeated == 1 else ''} an earlier picture "
            f"({meta.same:,} to the last value, {meta.nearly:,} nearly), {where}; "
            "--duplicates drop or drop-near leaves them out"
        )
    if meta.channels == 3 and meta.grey == meta.count:
        yield "all are grey, but stored in colour; --channels grey makes them a third"
    elif meta.channels == 3 and meta.grey:
        yield f"{meta.grey:,} grey among colour ones, stored as colour"
    if meta.constant:
        are = "is" if meta.constant == 1 else "are"
        yield f"{meta.constant:,} {are} of one colour, with nothing to see"


def _left_aside(meta: Meta, out: Path) -> Iterator[str]:
    if not meta.ignored:
        return
    total, named = sum(meta.ignored.values()), len(meta.left_aside)
    which = "named" if named == total else f"the first {named} are named"
    yield f"{total:,} left aside for their endings ({which} in {out / FILE}):"
    yield from (f"  {line}" for line in aside(meta))


def aside(meta: Meta) -> Iterator[str]:
    """The kinds of files that are no pictures', a line for each with what can be done."""
    rest = dict(meta.ignored)
    for kind in KINDS:
        those = {ending: rest.pop(ending) for ending in meta.ignored if ending in kind.endings}
        if those:
            yield _aside(kind, those)
    if rest:
        yield _aside(OTHER, rest)


def _aside(kind: Kind, endings: Mapping[str, int]) -> str:
    count = sum(endings.values())
    by_number = sorted(endings, key=lambda ending: (-endings[ending], ending))
    common = [ending or "without" for ending in by_number[:REASONS]]
    more = ", ..." if len(endings) > REASONS else ""
    remedy = f": {kind.remedy}" if kind.remedy else ""
    called = kind.one if count == 1 else kind.several
    return f"{count:,} {called} ({', '.join(common)}{more}){remedy}"


def _rejected(rejected: Sequence[Rejected], out: Path) -> Iterator[str]:
    if not rejected:
        return
    yield f"{len(rejected):,} left out (named in {out / FILE}):"
    kinds = by_reason(rejected)
    for reason, file, count in kinds[:REASONS]:
        yield f"  {count:,}: {reason} ({'such as ' if count > 1 else ''}{file})"
    if len(kinds) > REASONS:
        told = sum(count for _, _, count in kinds[:REASONS])
        yield f"  {len(rejected) - told} for other reasons"


def by_reason(rejected: Sequence[Rejected]) -> list[tuple[str, str, int]]:
    """(reason, the first file of it, how many), the commonest first."""
    first = {_kind(one.reason): one for one in reversed(rejected)}
    return [
        (DUPLICATE if kind == DUPLICATE else first[kind].reason, first[kind].file, count)
        for kind, count in Counter(_kind(one.reason) for one in rejected).most_common()
    ]


def _kind(reason: str) -> str:
    """Alike for reasons that differ only in the picture they name, or in its numbers."""
    return DUPLICATE if reason.startswith(DUPLICATE) else re.sub(r"\d+", "0", reason)
