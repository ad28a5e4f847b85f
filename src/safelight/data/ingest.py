"""Decoding a listing into images.npy, whatever the source and the number of processes."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight import console
from safelight.data.decode import VERSIONS, Batch
from safelight.data.duplicates import Pairs, duplicates, superfluous
from safelight.data.encoded import CHECKS, Checks, Place, files_of, write_places
from safelight.data.journal import Found, Journal, Line, UnfitPictures, emptied
from safelight.data.listing import Listing
from safelight.data.look import Look, Size, said
from safelight.data.meta import FORMAT
from safelight.data.options import Options
from safelight.data.parts import Positions
from safelight.data.prints import Prints
from safelight.data.source import Origin
from safelight.data.splits import Draw
from safelight.data.stored import IMAGES
from safelight.data.walk import Rejection
from safelight.errors import UserError

DUPLICATE = "a duplicate"  # begins the reason why it was left out


@dataclass
class Outcome:
    """What decoding left.

    `taken` are positions in `pictures`, one for each stored picture, `own` its (w, h) before
    and `made` what `Batch.made` says of it.
    """

    pictures: Listing
    size: Size
    channels: int = 0
    digest: str = ""
    taken: list[int] = field(default_factory=list)
    own: list[Size] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    duplicates: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 3), np.int64))
    prints: Prints = field(default_factory=Prints)
    places: tuple[Place, ...] = ()

    def leave_out(self, gone: Pairs) -> None:
        """gone: (p, 2), places in `taken` that are left out, and the picture that each is like."""
        names = [self.pictures.names[i] for i in self.taken]
        for i, like in gone.tolist():
            self.rejected.append(Rejection(names[i], f"{DUPLICATE} of {names[like]}"))
        without = set(gone[:, 0].tolist())
        self.taken = [taken for i, taken in enumerate(self.taken) if i not in without]
        self.own = [own for i, own in enumerate(self.own) if i not in without]
        self.made = [made for i, made in enumerate(self.made) if i not in without]


def ingest(
    origin: Origin, pictures: Listing, options: Options, sign: str, folder: Path, workers: int
) -> Outcome:
    """Decode into `folder` until each class has its pictures or no more to try.

    What an earlier call for the same left there is not decoded again. Raises UserError where
    nothing can be read, where sizes differ and none was asked for, and where a class has fewer
    pictures than --per-class.
    """
    _refuse_short(pictures, np.arange(len(pictures.labels)), options.per_class)
    size = options.size or common_size(origin, pictures)
    outcome = Outcome(pictures, size, rejected=list(pictures.rejected))
    given = pictures.kept_splits(options.split)
    draw = Draw(
        *(pictures.labels, given, pictures.strata),
        *(options.per_class, options.seed, options.share),
    )
    with _store(outcome, folder, origin, options, sign) as store:
        done = sum(len(line.found) for line in store.before)
        if done:
            console.inform(f"{done:,} files were done when it was stopped; going on from there")
        if options.store == "pixels":
            least = size[0] * size[1] * (3 if options.channels == "rgb" else 1)
            _refuse_full(folder, draw.total * least)
        with console.progress("prepare", max(draw.total, done), done) as advance:
            _Filling(origin, options, outcome, draw, store).fill(workers, advance)
        _refuse_short(pictures, np.array(outcome.taken), options.per_class)
    outcome.channels, outcome.digest = store.channels, store.digest
    outcome.prints = store.prints
    if isinstance(store, Checks):
        np.save(folder / CHECKS, store.found)
        outcome.places = write_places(folder, files_of(pictures), outcome.taken)
    return outcome


def _store(
    outcome: Outcome, folder: Path, origin: Origin, options: Options, sign: str
) -> Journal | Checks:
    """What takes the pictures."""
    if options.store == "pixels":
        return Journal(folder, outcome.size, _asked(origin, options, sign))
    files_of(outcome.pictures)  # or it is refused
    emptied(folder)  # of what is there with pixels, from an earlier call
    look = options.look(outcome.size)
    return Checks(lambda some: outcome.pictures.pixels(np.array(outcome.taken)[some], look))


@dataclass(frozen=True)
class _Filling:
    """Files become pictures, batch by batch."""

    origin: Origin
    options: Options
    outcome: Outcome
    draw: Draw
    store: Journal | Checks

    def fill(self, workers: int, advance: console.Advance) -> None:
        """Until there is no more to try; with another in place of what is left out."""
        before = deque(self.store.before)
        self._decode(before, workers, advance)
        if not self.outcome.taken:
            raise UnfitPictures(_nothing_readable(self.origin, self.outcome))
        while self._leave_out_duplicates():
            self._decode(before, workers, advance)

    def _decode(self, before: deque[Line], workers: int, advance: console.Advance) -> None:
        """What the journal has from before, and then what is decoded now."""
        look = self.options.look(self.outcome.size)
        while len(wanted := self.draw.next()):
            while before and len(wanted):
                wanted = self._take(wanted, before.popleft())
            for batch in self.outcome.pictures.batches(wanted, look, workers):
                if self.options.size is None:
                    self._refuse_other_sizes(wanted, batch.found)
                self.store.add(batch)
                wanted = self._take(wanted, batch)
                advance(len(batch.found))

    def _take(self, wanted: Positions, batch: Batch | Line) -> Positions:
        """Note what became of the first of the wanted files; the rest of them."""
        tried, accepted = wanted[: len(batch.found)].tolist(), []
        outcome = self.outcome
        for position, own in zip(tried, batch.found, strict=True):
            if isinstance(own, str):
                outcome.rejected.append(Rejection(outcome.pictures.names[position], own))
            else:
                accepted.append(position)
                outcome.own.append(own)
        outcome.taken += accepted
        outcome.made += map(sys.intern, batch.made)  # few differ
        self.draw.accept(accepted)
        return wanted[len(batch.found) :]

    def _leave_out_duplicates(self) -> bool:
        """Find them, and whether any was left out."""
        outcome, store = self.outcome, self.store
        outcome.duplicates = found = duplicates(store.prints, store.read)
        if self.options.duplicates == "keep":
            return False
        if self.options.duplicates == "drop":
            found = found[found[:, 2] == 1]
        given, taken = self.outcome.pictures.splits, np.array(outcome.taken, np.int64)
        splits = None if given is None or self.options.split else given[taken]
        gone = superfluous(found, len(taken), splits)
        if not len(gone):
            return False
        outcome.leave_out(gone)
        store.keep_only(~np.isin(np.arange(len(taken)), gone[:, 0]))
        self.draw.give_back(taken[gone[:, 0]].tolist())
        return True

    def _refuse_other_sizes(self, wanted: Positions, found: Found) -> None:
        usual, names = self.outcome.size, self.outcome.pictures.names
        others = {
            own: names[position]
            for position, own in zip(wanted.tolist(), found, strict=False)
            if not isinstance(own, str) and own != usual
        }
        if others:
            seen = ", ".join(map(said, [usual, *others][:4]))
            raise UnfitPictures(
                f"the pictures in {self.origin.where} have different sizes "
                f"({seen}{' ...' if len(others) > 3 else ''}), such as "
                f"{next(iter(others.values()))}; {_make_alike(self.origin)}"
            )


def _asked(origin: Origin, options: Options, sign: str) -> dict[str, Any]:
    """All that decides the pixels, and their order."""
    return {
        "format": FORMAT,
        "source": origin.where,
        "signature": sign,
        "options": options.model_dump(mode="json"),
        "versions": VERSIONS,
    }


def _refuse_full(folder: Path, needed: int) -> None:
    """Before hours of work rather than after; what is needed with colour is known only then."""
    needed -= (folder / IMAGES).stat().st_size
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"the disk is too full for {folder.parent}: the cache needs {needed / 1e6:.1f} MB "
            f"or more and {free / 1e6:.1f} MB are free; free some, or choose another --out"
        )


def common_size(origin: Origin, pictures: Listing) -> Size:
    """That of the first picture that can be read, which all others must have too."""
    found = pictures.first()
    if found is None:
        batch = next(pictures.batches(np.zeros(1, np.int64), Look((1, 1)), workers=1))
        raise UserError(
            f"none of the {len(pictures.names)} files in {origin.where} gives a picture, such as "
            f"{pictures.names[0]}: {batch.found[0]}"
        )
    return found[1]


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
        raise UnfitPictures(
            f"{who} only {counts[least]} pictures that can be read, fewer than "
            f"--per-class {per_class}; use --per-class {counts[least]} or leave it out"
        )


def _nothing_readable(origin: Origin, outcome: Outcome) -> str:
    first = outcome.rejected[0]
    return (
        f"none of the {len(outcome.rejected)} files in {origin.where} gives a picture, such as "
        f"{first.file}: {first.reason}"
    )
