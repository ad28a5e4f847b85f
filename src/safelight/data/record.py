"""The end of `prepare`: division into splits, and the record."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import safelight
from safelight import console, files
from safelight.data import splits as dividing
from safelight.data.changes import Change
from safelight.data.decode import VERSIONS
from safelight.data.duplicates import families
from safelight.data.fitting import enlarged
from safelight.data.ingest import Outcome
from safelight.data.listing import Listing
from safelight.data.meta import FILE, FORMAT, Meta, Rejected
from safelight.data.options import Options
from safelight.data.source import Origin
from safelight.data.splits import FREE, SPLITS
from safelight.data.stored import (
    DUPLICATES,
    IMAGES,
    LABELS,
    NAMES,
    SIZES,
    SPLIT_CODES,
    content_hash,
)
from safelight.data.walk import shown

LINE_ENDS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # as str.splitlines has them


def finish(origin: Origin, options: Options, sign: str, outcome: Outcome, folder: Path) -> Meta:
    """Divide what was stored, write the other files, and return the record."""
    pictures, found = _without_empty_classes(outcome), outcome.duplicates
    family = families(found, len(pictures.labels))
    codes = divided(pictures, options, family)
    np.save(folder / LABELS, pictures.labels)
    np.save(folder / SPLIT_CODES, codes)
    sizes = np.array(outcome.own, np.int32)
    np.save(folder / SIZES, sizes)
    np.save(folder / DUPLICATES, found)
    names = _lines(outcome)
    (folder / NAMES).write_bytes(names)
    look, made = options.look(outcome.size), _counted(outcome.made)
    meta = Meta(
        format=FORMAT,
        name=shown(origin.name),
        source=shown(origin.where),
        signature=sign,
        options=options,
        classes=pictures.classes,
        width=outcome.size[0],
        height=outcome.size[1],
        channels=outcome.channels,
        count=len(pictures.labels),
        counts=_counts(pictures, codes),
        hashes={
            "images": outcome.digest,
            "labels": content_hash(pictures.labels),
            "splits": content_hash(codes),
            "sizes": content_hash(sizes),
            "duplicates": content_hash(found),
            "names": hashlib.sha256(names).hexdigest(),
        },
        stamp=_stamped(folder / IMAGES) if options.store == "pixels" else 0,
        resize=look.in_words if options.size else "none: all pictures have this size",
        places=outcome.places,
        enlarged=enlarged(sizes, look),
        formats={name: n for name, n in made.items() if name not in set(Change)},
        changes={name: n for name, n in made.items() if name in set(Change)},
        same=int((found[:, 2] == 1).sum()),
        nearly=int((found[:, 2] == 0).sum()),
        across=int((codes[found[:, 0]] != codes[found[:, 1]]).sum()),
        grey=int(outcome.prints.grey().sum()),
        constant=int(outcome.prints.constant().sum()),
        rejected=tuple(
            Rejected(file=shown(r.file), reason=shown(r.reason)) for r in outcome.rejected
        ),
        ignored={shown(suffix): count for suffix, count in pictures.ignored.items()},
        left_aside=tuple(map(shown, pictures.left_aside)),
        versions={"safelight": safelight.__version__, **VERSIONS},
    )
    files.write_text(folder / FILE, meta.model_dump_json(indent=1) + "\n")
    return meta


def _counted(made: Sequence[str]) -> dict[str, int]:
    """Each format and change, the most frequent first; made: of each picture, see `Batch`."""
    counts = Counter[str]()
    for words, count in Counter(made).items():
        counts.update(dict.fromkeys(filter(None, words.split(",")), count))
    return dict(counts.most_common())


def _lines(outcome: Outcome) -> bytes:
    """The name of each stored picture's file, in a line."""
    names = (shown(outcome.pictures.names[i]) for i in outcome.taken)
    return "".join(f"{LINE_ENDS.sub(' ', name)}\n" for name in names).encode()


def _without_empty_classes(outcome: Outcome) -> Listing:
    """The stored pictures; a class all of whose files were rejected is gone."""
    pictures = outcome.pictures.told_of(np.array(outcome.taken, np.int64))
    left = np.unique(pictures.labels).tolist()
    return pictures.renumbered(left) if pictures.classes else pictures


def divided(pictures: Listing, options: Options, family: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The split of each picture, (n,). family: (n,), the first of those that are like each."""
    if pictures.settled is None:
        return _divided(pictures, options, family)
    codes, free = pictures.settled.copy(), np.flatnonzero(pictures.settled == FREE)
    if len(free):
        rest = replace(pictures.told_of(free), settled=None)
        codes[free] = _divided(rest, options, family[free])
    return codes


def _divided(pictures: Listing, options: Options, family: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The same where none is settled."""
    if pictures.kept_splits(options.split) is not None:
        return _with_validation(pictures, options.seed, family)
    shares = dividing.parse_split(options.split or dividing.DEFAULT_SPLIT)
    return dividing.stratified(pictures.labels, pictures.strata, shares, options.seed, family)


def _with_validation(pictures: Listing, seed: int, family: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The source's own splits, with some of train to validate where it has none for that.

    They stay as they are where no class has two pictures to train on: to divide these is of no use,
    and to give up the source's test pictures is for the user to say.
    """
    assert pictures.splits is not None
    codes = pictures.splits.copy()
    if (codes == SPLITS.index("validation")).any():
        return codes
    train = codes == SPLITS.index("train")
    if np.bincount(pictures.labels[train], minlength=1).max() < 2:
        n = int(train.sum())
        console.inform(
            f"the source's training split has {n or 'no'} picture{'' if n == 1 else 's'}, too few "
            f"to take any to validate; --split {dividing.DEFAULT_SPLIT} divides all pictures anew"
        )
        return codes
    shares = dividing.parse_split(dividing.FROM_TRAIN)
    codes[train] = dividing.stratified(
        pictures.labels[train], pictures.strata, shares, seed, family[train]
    )
    return codes


def _counts(pictures: Listing, codes: NDArray[np.uint8]) -> dict[str, dict[str, int]]:
    names = list(pictures.classes) or ["all"]
    table = np.zeros((len(names), len(SPLITS)), np.int64)
    np.add.at(table, (pictures.labels, codes), 1)
    rows = (dict(zip(SPLITS, row, strict=True)) for row in table.tolist())
    return dict(zip(names, rows, strict=True))


def _stamped(path: Path) -> int:
    """Set the file's time to even seconds, which every disk can hold, and return it in ns."""
    even = path.stat().st_mtime_ns // (2 * 10**9) * (2 * 10**9)
    os.utime(path, ns=(even, even))
    return even
