"""`export-images`: the images of any source as picture files, in a folder or in one zip.

OUT/cat/000003.png         picture 3, or the image that a run draws of seed 3; without the folder
                           where there are no classes
OUT/train/cat/000003.png   the same of a whole cache with splits, so that `prepare` divides it again
                           as it is divided
OUT/export.json            what they are of, and which class has which folder
OUT/report.html            of a run, with its report; and OUT/metrics.json, if there are numbers

What a PNG can't hold, which has channels of one or three, is OUT/cat/000003.npy: (c, h, w) uint8.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from safelight.config import Sampling
from safelight.console import progress
from safelight.data.cache import SPLITS, Cache
from safelight.data.walk import ARCHIVES
from safelight.errors import UserError, lookup
from safelight.files import clear_leftovers, require_free
from safelight.filing import Put, Selection, new_folder, new_zip
from safelight.images import size_of
from safelight.naming import BESIDE, folder_names
from safelight.sampling import USUAL, seeds_of
from safelight.training.run import Run

RECORD, REPORT, NUMBERS = BESIDE  # no class has a folder of these names
ZIP = ".zip"
OTHER_ARCHIVES = {*ARCHIVES, ".gz", ".bz2", ".xz", ".zst", ".lz4"} - {ZIP}


@dataclass(frozen=True)
class Export:
    """All that goes out.

    classes: those of which there are images. drawn: how a run drew them. beside: further files, by
    their names.
    """

    selections: Sequence[Selection]
    classes: Sequence[str]
    drawn: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(each.seeds) for each in self.selections)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.selections[0].source.shape

    @property
    def folders(self) -> dict[str, str]:
        """Of each of its classes, as `Selection` has them: the same whichever classes go out."""
        names = folder_names(self.selections[0].source.classes)
        return {name: names[name] for name in self.classes}

    @property
    def identity(self) -> str:
        """A hash of what decides every file."""
        digest = hashlib.sha256()
        for each in self.selections:
            seeds = np.asarray(each.seeds, np.int64).tobytes()
            for what in (each.above.encode(), each.source.fingerprint.encode(), seeds):
                digest.update(hashlib.sha256(what).digest())
        for name, data in self.beside.items():
            digest.update(name.encode() + hashlib.sha256(data).digest())
        return digest.hexdigest()

    def record(self) -> dict[str, Any]:
        first = self.selections[0]
        name = first.source.name.removesuffix(f":{first.above}")
        about = {"source": name, "identity": self.identity, "n": len(self)}
        folders = {folder: name for name, folder in self.folders.items()}
        described = {"size": size_of(self.shape), "channels": self.shape[0], "classes": folders}
        return {**about, **described, **self.drawn}


def of_pictures(cache: Cache, n: int | None, classes: Sequence[str]) -> Export:
    """Those of a cache; of a whole one split by split, where it has several.

    n: at most so many of each class (and split), the first. classes: only these. Raises UserError
    for unknown ones, and where there are no pictures of these.
    """
    known = {name: k for k, name in enumerate(cache.classes)}
    if classes and not known:
        raise UserError(f"{cache.name} has no classes to choose from; leave --classes out")
    chosen = {lookup(known, name, "class") for name in classes or known}
    labels = cache.class_labels()
    there = chosen.intersection([] if labels is None else np.unique(labels).tolist())
    if chosen and not there:
        wanted = ", ".join(name for name, k in known.items() if k in chosen)
        raise UserError(f"{cache.name} has no picture of {wanted}; name other --classes")
    parts = [cache] if cache.split is not None else _splits(cache)
    above = [part.split or "" for part in parts] if len(parts) > 1 else [""]
    found = [
        Selection(part, _positions(part, n, chosen), name)
        for part, name in zip(parts, above, strict=True)
    ]
    named = [name for name, k in known.items() if k in there]
    return Export([each for each in found if len(each.seeds)], named)


def _splits(cache: Cache) -> list[Cache]:
    """Those of a whole cache that are not empty; itself where there is one alone."""
    counts = {split: sum(row[split] for row in cache.meta.counts.values()) for split in SPLITS}
    several = [split for split, count in counts.items() if count]
    return [cache.subset(split) for split in several] if len(several) > 1 else [cache]


def _positions(cache: Cache, n: int | None, chosen: set[int]) -> Sequence[int]:
    """In their order."""
    labels = cache.class_labels()
    if labels is None:
        return range(cache.count if n is None else min(n, cache.count))
    if n is None and len(chosen) == len(cache.classes):
        return range(cache.count)
    of_each = [np.flatnonzero(labels == k)[:n] for k in sorted(chosen)]
    found: list[int] = np.sort(np.concatenate(of_each)).tolist()
    return found


def of_run(
    run: Run,
    n: int | None,
    classes: Sequence[str],
    sampling: Sampling,
    seed: int,
    checkpoint: str | None,
    weights: str,
    with_report: bool,
) -> Export:
    """Images that a run draws, n of each class, as `sample` draws them."""
    if len(sampling.each()) > 1:
        raise UserError(
            "several --guidance are a sweep, which `safelight sample` draws; give one of them"
        )
    beside = _report(run) if with_report else {}
    source = run.source(sampling, checkpoint, weights)
    usual = min(USUAL, source.count or USUAL)
    seeds = seeds_of(source, usual if n is None else n, classes, seed)
    named = [name for name in source.classes if not classes or name in classes]
    return Export([Selection(source, seeds)], named, source.record(), beside)


def _report(run: Run) -> dict[str, bytes]:
    """The run's report, and its numbers if there are any. Raises UserError where it has none."""
    if not (run.path / REPORT).is_file():
        raise UserError(
            f"{run.path} has no report to take along; write it first: safelight report {run.path}"
        )
    kept = [name for name in (REPORT, NUMBERS) if (run.path / name).is_file()]
    return {name: (run.path / name).read_bytes() for name in kept}


def require_place(out: Path) -> None:
    """Raise UserError for an archive of another kind; before the work."""
    ending = max((x for x in OTHER_ARCHIVES if out.name.lower().endswith(x)), key=len, default="")
    if ending:
        stem = out.name[: -len(ending)]
        raise UserError(f"--out {out} is no zip and no folder; give a folder, or {stem}{ZIP}")


def write(export: Export, out: Path) -> None:
    """Fill the folder or the zip `out`, which appears complete or not at all.

    In memory are a batch of images, the names of the zip's files and what goes beside. Raises
    UserError where `out` holds anything but this very export.
    """
    require_free(out, RECORD, export.identity, "exported images")
    clear_leftovers(out.parent)
    with _place(out) as put, progress("exporting", len(export)) as advance:
        for selection in export.selections:
            for _ in selection.put(put, advance, shown=False):
                pass
        for name, data in export.beside.items():
            put(name, data)
        record = json.dumps(export.record(), indent=2, ensure_ascii=False) + "\n"
        put(RECORD, record.encode("utf-8", "backslashreplace"))


def told(export: Export, out: Path) -> str:
    """What is where, in a line; which class is not in a folder of its name."""
    c, K = export.shape[0], len(export.classes)
    classes = f" of {K} class{'es' if K > 1 else ''}" if K else ""
    above = ", ".join(each.above for each in export.selections)
    splits = f", in {above}" if above else ""
    kind = "" if c in (1, 3) else f"; with {c} channels they are .npy, (c, h, w) uint8"
    renamed = [(name, to) for name, to in export.folders.items() if name != to]
    other = f"; the class {renamed[0][0]!r} is in {renamed[0][1]}" if renamed else ""
    more = f" ({RECORD} has the others)" if len(renamed) > 1 else ""
    images = "image" if len(export) == 1 else "images"
    return f"{len(export):,} {images}{classes} in {out}{splits}{kind}{other}{more}"


def _place(out: Path) -> AbstractContextManager[Put]:
    return new_zip(out) if out.suffix.lower() == ZIP else new_folder(out)
