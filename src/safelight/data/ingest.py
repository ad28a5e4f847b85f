"""Decoding a listing into images.npy, whatever the source and the number of processes."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safelight import console
from safelight.data.decode import Batch
from safelight.data.listing import Listing
from safelight.data.look import Size, said
from safelight.data.options import Options
from safelight.data.origins import Origin
from safelight.data.splits import Draw
from safelight.data.walk import Rejection
from safelight.data.writer import ImageWriter
from safelight.errors import UserError


@dataclass
class Outcome:
    """What decoding left.

    `taken` are positions in `pictures`, one for each stored picture, `own` its (w, h) before.
    """

    pictures: Listing
    size: Size
    channels: int = 0
    digest: str = ""
    taken: list[int] = field(default_factory=list)
    own: list[Size] = field(default_factory=list)
    enlarged: int = 0
    rejected: list[Rejection] = field(default_factory=list)


def ingest(
    origin: Origin, pictures: Listing, options: Options, path: Path, workers: int
) -> Outcome:
    """Decode into `path` until each class has its pictures or no more to try.

    Raises UserError where nothing can be read, where sizes differ and none was asked for, and
    where a class has fewer pictures than --per-class.
    """
    _refuse_short(pictures, np.arange(len(pictures.labels)), options.per_class)
    size = options.size or common_size(origin, pictures)
    outcome = Outcome(pictures, size, rejected=list(pictures.rejected))
    given = None if options.split else pictures.splits
    draw = Draw(pictures.labels, given, pictures.strata, options.per_class, options.seed)
    _refuse_full(path, draw.total * size[0] * size[1] * (3 if options.channels == "rgb" else 1))
    with ImageWriter(path, size) as writer, console.progress("prepare", draw.total) as advance:
        while len(wanted := draw.next()):
            for batch in pictures.batches(wanted, options.look(size), workers):
                tried, wanted = wanted[: len(batch.found)], wanted[len(batch.found) :]
                if options.size is None:
                    _refuse_other_sizes(origin, [pictures.names[i] for i in tried], batch, size)
                draw.accept(_record(outcome, tried, batch))
                writer.append(batch.pixels)
                advance(len(tried))
    if not outcome.taken:
        raise UserError(_nothing_readable(origin, outcome))
    _refuse_short(pictures, np.array(outcome.taken), options.per_class)
    outcome.channels, outcome.digest = writer.channels, writer.digest
    return outcome


def _refuse_full(path: Path, needed: int) -> None:
    """Before hours of work rather than after; what is needed with colour is known only then."""
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise UserError(
            f"the disk is too full for {path.parent.parent}: the cache needs {needed / 1e6:.1f} MB "
            f"or more and {free / 1e6:.1f} MB are free; free some, or choose another --out"
        )


def common_size(origin: Origin, pictures: Listing) -> Size:
    """That of the first picture that can be read, which all others must have too."""
    found = pictures.first()
    if found is None:
        raise UserError(f"none of the {len(pictures.names)} files in {origin.where} is a picture")
    return found[1]


def _record(outcome: Outcome, tried: NDArray[np.int64], batch: Batch) -> list[int]:
    """Note what became of each file; return the positions of those that are pictures."""
    accepted = []
    for position, found in zip(tried.tolist(), batch.found, strict=True):
        if isinstance(found, str):
            outcome.rejected.append(Rejection(outcome.pictures.names[position], found))
        else:
            accepted.append(position)
            outcome.own.append(found)
            outcome.enlarged += found[0] < outcome.size[0] or found[1] < outcome.size[1]
    outcome.taken += accepted
    return accepted


def _refuse_other_sizes(origin: Origin, names: Sequence[str], batch: Batch, usual: Size) -> None:
    """names: of the files of the batch."""
    others = {
        found: name
        for name, found in zip(names, batch.found, strict=True)
        if not isinstance(found, str) and found != usual
    }
    if others:
        seen = ", ".join(map(said, [usual, *others][:4]))
        raise UserError(
            f"the pictures in {origin.where} have different sizes "
            f"({seen}{' ...' if len(others) > 3 else ''}), such as {next(iter(others.values()))}; "
            f"{_make_alike(origin)}"
        )


def _make_alike(origin: Origin) -> str:
    """Also for those whose command has no --size: pictures are judged at the size they have."""
    made = shlex.join(["safelight", "prepare", origin.where, "--size", "64", "--out", "CACHE"])
    return f"say how large they are to be: --size 64, or make a cache of them: {made}"


def _refuse_short(pictures: Listing, positions: NDArray[np.int64], per_class: int | None) -> None:
    """A subset that is called balanced has to be."""
    counts = np.bincount(pictures.labels[positions], minlength=len(pictures.strata))
    least = int(counts.argmin())
    if per_class is not None and counts[least] < per_class:
        who = f"the class {pictures.classes[least]!r} has" if pictures.classes else "there are"
        raise UserError(
            f"{who} only {counts[least]} pictures that can be read, fewer than "
            f"--per-class {per_class}; use --per-class {counts[least]} or leave it out"
        )


def _nothing_readable(origin: Origin, outcome: Outcome) -> str:
    first = outcome.rejected[0]
    return (
        f"none of the {len(outcome.rejected)} files in {origin.where} gives a picture, such as "
        f"{first.file}: {first.reason}"
    )
