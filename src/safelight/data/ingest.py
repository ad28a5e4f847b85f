"""Decoding a listing into images.npy, whatever the source and the number of processes."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from safelight import console
from safelight.data.decode import Batch, Size, image_of, own_size, pixels_of, square
from safelight.data.meta import Options
from safelight.data.sources import Listing
from safelight.data.splits import Draw
from safelight.data.walk import READERS, Rejection
from safelight.data.workers import Job, decoded
from safelight.data.writer import ImageWriter
from safelight.errors import UserError

# Starting processes takes longer than decoding less than this in the process that is there.
FEW_FILES = 500
FEW_BYTES = 16 * 2**20
CHUNK = 256  # pictures of a named set at a time


@dataclass(frozen=True)
class Origin:
    """Where pictures come from. `where` is a path, or the name of a named set."""

    kind: Literal["folder", "zip", "named"]
    name: str
    where: str
    place: Path | None = None  # of a named set's copy, where one was pointed at


@dataclass
class Outcome:
    """What decoding left. `taken` are positions in `pictures`, one for each stored picture."""

    pictures: Listing
    size: int
    channels: int = 0
    digest: str = ""
    taken: list[int] = field(default_factory=list)
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
    _refuse_full(path, draw.total * size**2 * (3 if options.channels == "rgb" else 1))
    with ImageWriter(path, size) as writer, console.progress("prepare", draw.total) as advance:
        while len(wanted := draw.next()):
            for batch in batches(origin, pictures, wanted, options, size, workers):
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


def batches(
    origin: Origin,
    pictures: Listing,
    wanted: NDArray[np.int64],
    options: Options,
    size: int,
    workers: int,
) -> Iterator[Batch]:
    """The pictures at these positions, in order."""
    if origin.kind == "named":
        return _of_arrays(pictures, wanted, options, size)
    few = len(wanted) < FEW_FILES and sum(pictures.sizes[i] for i in wanted.tolist()) < FEW_BYTES
    job = Job(origin.kind, origin.where, size, options.channels)
    return decoded(job, [pictures.keys[i] for i in wanted.tolist()], 1 if few else workers)


def _of_arrays(
    pictures: Listing, wanted: NDArray[np.int64], options: Options, size: int
) -> Iterator[Batch]:
    assert pictures.pixels is not None
    mode = {"auto": None, "grey": "L", "rgb": "RGB"}[options.channels]
    for start in range(0, len(wanted), CHUNK):
        images = [image_of(pixels) for pixels in pictures.pixels[wanted[start : start + CHUNK]]]
        found: list[Size | str] = [image.size for image in images]
        images = [square(image.convert(mode) if mode else image, size) for image in images]
        yield Batch(pixels_of(images, size), found)


def common_size(origin: Origin, pictures: Listing) -> int:
    """The side of the first picture that can be read, which all others must have too."""
    if pictures.pixels is not None:
        return int(pictures.pixels.shape[-1])
    read = READERS[origin.kind](origin.where)
    for name, key in zip(pictures.names, pictures.keys, strict=True):
        own = own_size(read, key)
        if own is not None:
            if own[0] != own[1]:
                raise UserError(
                    f"the pictures in {origin.where} are not square, such as {name} with "
                    f"{own[0]}x{own[1]}; {_make_alike(origin)}"
                )
            return own[0]
    raise UserError(f"none of the {len(pictures.names)} files in {origin.where} is a picture")


def _record(outcome: Outcome, tried: NDArray[np.int64], batch: Batch) -> list[int]:
    """Note what became of each file; return the positions of those that are pictures."""
    accepted = []
    for position, found in zip(tried.tolist(), batch.found, strict=True):
        if isinstance(found, str):
            outcome.rejected.append(Rejection(outcome.pictures.names[position], found))
        else:
            accepted.append(position)
            outcome.enlarged += min(found) < outcome.size
    outcome.taken += accepted
    return accepted


def _refuse_other_sizes(origin: Origin, names: Sequence[str], batch: Batch, side: int) -> None:
    """names: of the files of the batch."""
    usual = (side, side)
    others = {
        found: name
        for name, found in zip(names, batch.found, strict=True)
        if not isinstance(found, str) and found != usual
    }
    if others:
        seen = ", ".join(f"{width}x{height}" for width, height in [usual, *others][:4])
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
