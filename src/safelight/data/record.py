"""The end of `prepare`: division into splits, the record, and what is said on the screen."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

import safelight
from safelight import console, files
from safelight.data import splits as dividing
from safelight.data.decode import RESIZE
from safelight.data.duplicates import families
from safelight.data.ingest import DUPLICATE, Outcome
from safelight.data.listing import Listing
from safelight.data.look import said
from safelight.data.meta import FILE, FORMAT, Meta, Rejected
from safelight.data.options import Options
from safelight.data.origins import Origin
from safelight.data.splits import SPLITS
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
        stamp=_stamped(folder / IMAGES),
        resize=RESIZE,
        enlarged=outcome.enlarged,
        same=int((found[:, 2] == 1).sum()),
        nearly=int((found[:, 2] == 0).sum()),
        across=int((codes[found[:, 0]] != codes[found[:, 1]]).sum()),
        grey=int(outcome.prints.grey().sum()),
        constant=int(outcome.prints.constant().sum()),
        rejected=tuple(Rejected(file=shown(r.file), reason=r.reason) for r in outcome.rejected),
        ignored={shown(suffix): count for suffix, count in pictures.ignored.items()},
        versions={
            "safelight": safelight.__version__,
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
    )
    files.write_text(folder / FILE, meta.model_dump_json(indent=1) + "\n")
    return meta


def _lines(outcome: Outcome) -> bytes:
    """The name of each stored picture's file, in a line."""
    names = (shown(outcome.pictures.names[i]) for i in outcome.taken)
    return "".join(f"{LINE_ENDS.sub(' ', name)}\n" for name in names).encode()


def _without_empty_classes(outcome: Outcome) -> Listing:
    """The stored pictures; a class all of whose files were rejected is gone."""
    keep = np.array(outcome.taken, np.int64)
    pictures = outcome.pictures
    pictures = replace(
        pictures,
        labels=pictures.labels[keep],
        splits=None if pictures.splits is None else pictures.splits[keep],
    )
    left = np.unique(pictures.labels).tolist()
    return pictures.renumbered(left) if pictures.classes else pictures


def divided(pictures: Listing, options: Options, family: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The split of each picture, (n,). family: (n,), the first of those that are like each."""
    if options.split is None and pictures.splits is not None:
        return _with_validation(pictures, options.seed, family)
    shares = dividing.parse_split(options.split or dividing.DEFAULT_SPLIT)
    return dividing.stratified(pictures.labels, pictures.strata, shares, options.seed, family)


def _with_validation(pictures: Listing, seed: int, family: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The source's own splits, with some of train to validate where it has none for that."""
    assert pictures.splits is not None
    codes = pictures.splits.copy()
    if not (codes == SPLITS.index("validation")).any():
        train = codes == SPLITS.index("train")
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
    """What was made, what was left out and where it is."""
    console.say(f"{meta.count} pictures of {meta.looks}, from {meta.source}")
    totals = {split: sum(row[split] for row in meta.counts.values()) for split in SPLITS}
    console.say("  " + ", ".join(f"{split} {count}" for split, count in totals.items()))
    for name, row in meta.counts.items() if meta.classes else ():
        alone = "; a class with one picture is only trained on" if sum(row.values()) == 1 else ""
        console.say(f"  {name}: " + ", ".join(f"{s} {n}" for s, n in row.items()) + alone)
    if meta.enlarged:
        console.say(f"  {meta.enlarged} were smaller than {said(meta.size)} and have been enlarged")
    for line in _noticed(meta):
        console.say(f"  {line}")
    if meta.rejected:
        console.say(f"  {len(meta.rejected)} files were left out (all are listed in {out / FILE}):")
        reasons = Counter(kind_of(rejected.reason) for rejected in meta.rejected)
        for reason, count in reasons.most_common(8):
            console.say(f"    {count}: {reason}")
    console.say(f"cache: {out}")


def kind_of(reason: str) -> str:
    """Without the name of the picture that another is a duplicate of."""
    return DUPLICATE if reason.startswith(DUPLICATE) else reason


def _noticed(meta: Meta) -> list[str]:
    """What one would want to know of the pictures before training on them."""
    lines = []
    if meta.same or meta.nearly:
        where = "all on one side of the split"
        if meta.across:
            where = f"{meta.across} of them in another split than the first, which flatters a model"
        lines.append(
            f"{meta.same + meta.nearly} are there before, {meta.same} to the last value and "
            f"{meta.nearly} nearly, {where}; --duplicates drop or drop-near leaves them out"
        )
    if meta.channels == 3 and meta.grey == meta.count:
        lines.append("all are grey, but stored in colour; --channels grey makes them a third")
    if meta.constant:
        are = "is" if meta.constant == 1 else "are"
        lines.append(f"{meta.constant} {are} of one colour, with nothing to see")
    return lines
