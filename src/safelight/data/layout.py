"""What the folders of files say: their order, classes and splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from safelight.data.classes import Labels, natural, no_classes, numbered
from safelight.data.decode import SUFFIXES
from safelight.data.listing import Listing
from safelight.data.parts import Files
from safelight.data.splits import SPLITS
from safelight.data.walk import Entry, Found, shown
from safelight.errors import UserError

# The names of top-level folders that are splits and not classes.
SPLIT_FOLDERS = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
HASH = re.compile(r"[0-9a-f]{16,}", re.IGNORECASE)
Parts = tuple[str, ...]  # folders and name
Splits = NDArray[np.uint8] | None


def listing(found: Found, kind: str, where: str, with_labels: bool) -> Listing:
    """The pictures in natural order, with the classes and splits that their folders give.

    Raises UserError where there are none, or where the folders contradict each other.
    """
    entries = in_order(found)
    if not entries:
        raise UserError(no_pictures([found], where))
    labels, splits, classes = folders(entries, where, with_labels)
    return Listing(
        names=[entry.name for entry in entries],
        labels=labels,
        splits=splits,
        classes=classes,
        parts=(
            Files(kind, where, [entry.key for entry in entries], [entry.size for entry in entries]),
        ),
        ignored=dict(found.ignored),
        left_aside=tuple(found.left_aside),
        rejected=tuple(found.rejected),
    )


def in_order(found: Found) -> list[Entry]:
    """The pictures in natural order."""
    return sorted(found.entries, key=lambda entry: (natural(entry.parts), entry.parts))


def folders(
    entries: Sequence[Entry], where: str, with_labels: bool
) -> tuple[Labels, Splits, tuple[str, ...]]:
    """Labels, splits and classes that the folders of the pictures give."""
    places = _places(entries)
    depth = _enclosing(places)
    splits = _split_codes(places, depth)
    inner = depth if splits is None else depth + 1
    labels, classes = _classes(places, inner, where) if with_labels else no_classes(len(places))
    return labels, splits, classes


def no_pictures(found: Sequence[Found], where: str) -> str:
    """What there is instead."""
    ignored = sum((part.ignored for part in found), Counter[str]())
    seen = ", ".join(f"{count} {suffix or 'without'}" for suffix, count in ignored.most_common(4))
    others = f" among its {ignored.total()} files (by ending: {seen})" if seen else ""
    rejected = [rejection for part in found for rejection in part.rejected]
    if rejected:
        first = rejected[0]
        others += f"; {first.file}: {first.reason}"
    kinds = " ".join(sorted(SUFFIXES))
    return f"no pictures in {where}{others}; give a folder or an archive of pictures ({kinds})"


def _places(entries: Sequence[Entry]) -> list[Parts]:
    """Each picture's folders and name, without the folders that only keep folders small.

    In LSUN and elsewhere a picture that is called by its hash lies in folders that are called by
    the first characters of that: a/b/c/abc0….jpg. These are no classes; several folders that hold
    such folders are, and a single one is but the whole set's.
    """
    deepest = max(len(entry.parts) for entry in entries)
    spread = next((n for n in range(deepest, 0, -1) if _all_spread(entries, n)), 0)
    if not spread:
        return [entry.parts for entry in entries]
    above = [entry.parts[: -1 - spread] for entry in entries]
    one = len(set(above)) == 1
    return [
        (*(() if one else folders), entry.parts[-1])
        for folders, entry in zip(above, entries, strict=True)
    ]


def _all_spread(entries: Sequence[Entry], n: int) -> bool:
    """Whether the last n folders of all of them are the beginning of the picture's hash."""
    return all(
        len(entry.parts) > n
        and HASH.match(entry.parts[-1])
        and entry.parts[-1].startswith("".join(entry.parts[-1 - n : -1]))
        for entry in entries
    )


def _enclosing(places: Sequence[Parts]) -> int:
    """How many folders merely enclose everything, as the one in which a zip was packed.

    A folder that holds pictures itself is a class, not an enclosure.
    """
    depth = 0
    while True:
        if any(len(place) <= depth + 2 for place in places):
            return depth
        if len({place[depth] for place in places}) > 1:
            return depth
        depth += 1


def _split_codes(places: Sequence[Parts], depth: int) -> NDArray[np.uint8] | None:
    """The split of each picture where the top-level folders are splits, `train` among them."""
    if any(len(place) < depth + 2 for place in places):
        return None
    tops = [place[depth].lower() for place in places]
    if not set(tops) <= set(SPLIT_FOLDERS) or "train" not in tops or len(set(tops)) < 2:
        return None
    code = {folder: SPLITS.index(split) for folder, split in SPLIT_FOLDERS.items()}
    return np.array([code[top] for top in tops], np.uint8)


def split_named(name: str) -> str | None:
    """The split that a file or an array is called by, such as train-0001.tar and x_train."""
    words = re.split(r"[\W_]+", name.lower())
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), None)


def _classes(places: Sequence[Parts], depth: int, where: str) -> tuple[Labels, tuple[str, ...]]:
    """Labels and classes from the first folder of each; ((0, ...), ()) for a flat source."""
    loose = [place for place in places if len(place) == depth + 1]
    if len(loose) == len(places):
        return no_classes(len(places))
    if loose:
        raise UserError(
            f"{len(loose)} pictures in {where} lie beside the class folders, such as "
            f"{'/'.join(loose[0])}; move them into a class folder, or "
            "ignore the folders: safelight prepare --labels none"
        )
    return numbered([shown(place[depth]) for place in places])
