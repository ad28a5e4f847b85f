"""`prepare`: pictures from anywhere become a cache, once and repeatably."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from numpy.typing import NDArray

import safelight
from safelight import console, files
from safelight.data import splits as dividing
from safelight.data.cache import Cache
from safelight.data.decode import RESIZE, Channels
from safelight.data.ingest import Origin, Outcome, ingest
from safelight.data.meta import FILE, FORMAT, Meta, Options, Rejected, read_meta
from safelight.data.named import NAMED, recognised, roots_of, user_cache
from safelight.data.sources import (
    Found,
    Listing,
    listing,
    signature,
    walk_folder,
    walk_zip,
)
from safelight.data.splits import SPLITS
from safelight.data.stored import IMAGES, LABELS, SPLIT_CODES, content_hash, is_cache
from safelight.data.workers import available
from safelight.errors import DamagedFile, UserError, lookup


def prepare(
    source: str | Path,
    *,
    size: int | None = None,
    out: Path | None = None,
    classes: Sequence[str] = (),
    per_class: int | None = None,
    split: str | None = None,
    channels: Channels = "auto",
    labels: Literal["folders", "none"] = "folders",
    seed: int = 0,
    workers: int | None = None,
) -> Cache:
    """Make a cache of square `size` x `size` pictures; does nothing where it is made already.

    source: a folder, a zip, or a named set; pictures in sub-folders have these as classes.
    size: None keeps the pictures' own size, which must then be the same for all, and square.
    out: None puts it into the user's cache folder.
    classes: only these. per_class: as many pictures of each class, in all splits together.
    split: percents of train/validation/test, stratified by class; None keeps the splits that the
    source has (taking 5 % of train to validate where it has none), or divides 80/10/10.
    channels: "auto" keeps one channel where every picture is stored as greyscale, else three.
    labels: "none" ignores the names of folders. seed: decides subset and split.
    Raises UserError; files that give no picture are listed in the cache's `meta.json`.
    """
    options = checked_options(size, classes, per_class, split, channels, labels, seed)
    origin = find(source)
    out = Path(out).expanduser() if out is not None else usual_place(origin, options)
    with alone_in(out.parent):
        return _made(origin, options, out, workers or available())


def checked_options(
    size: int | None,
    classes: Sequence[str],
    per_class: int | None,
    split: str | None,
    channels: str,
    labels: str,
    seed: int,
) -> Options:
    """The options in one; raises UserError for what can't be meant."""
    if size is not None and not 1 <= size <= 4096:
        raise UserError(f"--size is {size}: give the side in pixels, 1 to 4096, such as 32")
    if per_class is not None and per_class < 1:
        raise UserError(f"--per-class is {per_class}: give 1 or more, or leave it out for all")
    lookup({"auto": 0, "grey": 0, "rgb": 0}, channels, "--channels")
    lookup({"folders": 0, "none": 0}, labels, "--labels")
    if split is not None:
        dividing.parse_split(split)
    return Options.model_validate(
        {
            "size": size,
            "classes": tuple(sorted(set(classes))),
            "per_class": per_class,
            "split": split,
            "channels": channels,
            "labels": labels,
            "seed": seed,
        }
    )


def find(source: str | Path) -> Origin:
    """Raises UserError where there is nothing of the kind."""
    if isinstance(source, str) and source in NAMED:
        return Origin("named", source, source)
    path = Path(source).expanduser()
    if path.is_dir():
        name = recognised(path)
        whole = path.resolve()
        if name is not None:
            return Origin("named", name, str(whole), whole)
        return Origin("folder", whole.name, str(whole))
    if path.is_file():
        return Origin("zip", path.stem, str(path.resolve()))
    raise UserError(
        f"there is no folder or zip {str(source)!r}; give one that exists, or a named set "
        f"({', '.join(NAMED)})"
    )


def usual_place(origin: Origin, options: Options) -> Path:
    """The cache's place where --out is not given: one for each source and choice of options."""
    what = f"{origin.where}\0{options.model_dump_json()}".encode("utf-8", "replace")
    return user_cache() / "caches" / f"{origin.name}-{hashlib.sha256(what).hexdigest()[:12]}"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One `prepare` at a time in a folder; removes what a killed one left there."""
    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as locked:
        if locked:
            for leftover in folder.glob(f"{files.TEMPORARY}*/{IMAGES}"):
                shutil.rmtree(leftover.parent, ignore_errors=True)
        yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock; False where the system or the disk has no such locks."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.inform(f"waiting for another `safelight prepare` in {folder}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some network disks
            yield False
            return
        yield True
    finally:
        os.close(handle)


def _made(origin: Origin, options: Options, out: Path, workers: int) -> Cache:
    found = walked(origin)
    sign = origin.name if found is None else signature(found)
    ready = existing(out, origin, options, sign)
    if ready is not None:
        console.say(f"{out} is up to date: {ready.count} pictures; nothing to do")
        return ready
    pictures = chosen(listed(origin, found, options), options)
    with files.writing_folder(out) as folder:
        outcome = ingest(origin, pictures, options, folder / IMAGES, workers)
        meta = finish(origin, options, sign, outcome, folder)
    summarise(meta, out)
    return Cache.open(out)


def walked(origin: Origin) -> Found | None:
    """The files of the source; None for a named set, which never changes."""
    if origin.kind == "named":
        return None
    walk = {"folder": walk_folder, "zip": walk_zip}[origin.kind]
    return walk(Path(origin.where))


def listed(origin: Origin, found: Found | None, options: Options) -> Listing:
    if found is None:
        return NAMED[origin.name].load(roots_of(origin.name, origin.place))
    by_folder = options.labels == "folders" or bool(options.classes)
    return listing(found, origin.where, by_folder)


def existing(out: Path, origin: Origin, options: Options, sign: str) -> Cache | None:
    """The cache at `out` if it is just the one that is asked for; None if it is to be made.

    Raises UserError where something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    ours = {IMAGES, LABELS, SPLIT_CODES, FILE}
    if not out.is_dir() or not is_cache(out) or {file.name for file in out.iterdir()} - ours:
        raise UserError(f"{out} holds something else; choose another place with --out")
    try:
        meta = read_meta(out)
    except DamagedFile as error:
        if "newer" in str(error):
            raise
        return None
    differs = _differences(meta, origin, options, sign)
    if differs:
        raise UserError(
            f"{out} holds a cache made otherwise ({differs}); choose another --out, or remove it"
        )
    if meta.signature != sign:
        console.inform(f"the pictures in {origin.where} have changed; preparing them again")
        return None
    try:
        return Cache.open(out)
    except DamagedFile as error:
        console.inform(str(error))
        return None


def _differences(meta: Meta, origin: Origin, options: Options, sign: str) -> str:
    pairs = [
        (f"--{name.replace('_', '-')}", getattr(meta.options, name), getattr(options, name))
        for name in Options.model_fields
    ]
    if meta.signature != sign:
        pairs.append(("source", meta.source, origin.where))
    return ", ".join(f"{name} {was} there, {now} here" for name, was, now in pairs if was != now)


def chosen(pictures: Listing, options: Options) -> Listing:
    """Only the classes that are asked for; without labels where these are not wanted."""
    if options.classes:
        if not pictures.classes:
            raise UserError("there are no class folders here to choose from; leave out --classes")
        position = {name: i for i, name in enumerate(pictures.classes)}
        wanted = sorted(lookup(position, name, "class") for name in options.classes)
        pictures = pictures.taken(np.isin(pictures.labels, wanted))
        pictures = relabelled(pictures, wanted)
    if options.labels == "none":
        pictures = replace(pictures, labels=np.zeros_like(pictures.labels), classes=())
    return pictures


def relabelled(pictures: Listing, kept: Sequence[int]) -> Listing:
    """The labels renumbered after all classes but `kept` have gone."""
    return replace(
        pictures,
        labels=np.searchsorted(kept, pictures.labels).astype(np.int64),
        classes=tuple(pictures.classes[i] for i in kept),
    )


def finish(origin: Origin, options: Options, sign: str, outcome: Outcome, folder: Path) -> Meta:
    """Divide what was stored, write the other files, and return the record."""
    pictures = _without_empty_classes(outcome)
    codes = divided(pictures, options)
    np.save(folder / LABELS, pictures.labels)
    np.save(folder / SPLIT_CODES, codes)
    meta = Meta(
        format=FORMAT,
        name=origin.name,
        source=origin.where,
        signature=sign,
        options=options,
        classes=pictures.classes,
        size=outcome.size,
        channels=outcome.channels,
        count=len(pictures.labels),
        counts=_counts(pictures, codes),
        hashes={
            "images": outcome.digest,
            "labels": content_hash(pictures.labels),
            "splits": content_hash(codes),
        },
        stamp=_stamped(folder / IMAGES),
        resize=RESIZE,
        enlarged=outcome.enlarged,
        rejected=tuple(Rejected(file=_shown(r.file), reason=r.reason) for r in outcome.rejected),
        ignored={_shown(suffix): count for suffix, count in pictures.ignored.items()},
        versions={
            "safelight": safelight.__version__,
            "pillow": PIL.__version__,
            "numpy": np.__version__,
        },
    )
    files.write_text(folder / FILE, meta.model_dump_json(indent=1) + "\n")
    return meta


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
    return relabelled(pictures, left) if pictures.classes else pictures


def divided(pictures: Listing, options: Options) -> NDArray[np.uint8]:
    """The split of each picture, (n,)."""
    if options.split is None and pictures.splits is not None:
        return _with_validation(pictures, options.seed)
    shares = dividing.parse_split(options.split or dividing.DEFAULT_SPLIT)
    return dividing.stratified(pictures.labels, pictures.strata, shares, options.seed)


def _with_validation(pictures: Listing, seed: int) -> NDArray[np.uint8]:
    """The source's own splits, with some of train to validate where it has none for that."""
    assert pictures.splits is not None
    codes = pictures.splits.copy()
    if not (codes == SPLITS.index("validation")).any():
        train = codes == SPLITS.index("train")
        shares = dividing.parse_split(dividing.FROM_TRAIN)
        codes[train] = dividing.stratified(pictures.labels[train], pictures.strata, shares, seed)
    return codes


def _counts(pictures: Listing, codes: NDArray[np.uint8]) -> dict[str, dict[str, int]]:
    names = [_shown(name) for name in pictures.classes] or ["all"]
    table = np.zeros((len(names), len(SPLITS)), np.int64)
    np.add.at(table, (pictures.labels, codes), 1)
    rows = (dict(zip(SPLITS, row, strict=True)) for row in table.tolist())
    return dict(zip(names, rows, strict=True))


def _shown(name: str) -> str:
    """A file's name as text: bytes that are no text, which a disk may hold, are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def _stamped(path: Path) -> int:
    """Set the file's time to even seconds, which every disk can hold, and return it in ns."""
    even = path.stat().st_mtime_ns // (2 * 10**9) * (2 * 10**9)
    os.utime(path, ns=(even, even))
    return even


def summarise(meta: Meta, out: Path) -> None:
    """What was made, what was left out and what to do next."""
    side, kind = meta.size, "grey" if meta.channels == 1 else "colour"
    console.say(f"{meta.count} pictures of {side}x{side}, {kind}, from {meta.source}")
    totals = {split: sum(row[split] for row in meta.counts.values()) for split in SPLITS}
    console.say("  " + ", ".join(f"{split} {count}" for split, count in totals.items()))
    for name, row in meta.counts.items() if meta.classes else ():
        alone = "; a class with one picture is only trained on" if sum(row.values()) == 1 else ""
        console.say(f"  {name}: " + ", ".join(f"{s} {n}" for s, n in row.items()) + alone)
    if meta.enlarged:
        console.say(f"  {meta.enlarged} were smaller than {side}x{side} and have been enlarged")
    if meta.rejected:
        console.say(f"  {len(meta.rejected)} files were rejected (all are listed in {out / FILE}):")
        reasons = Counter(rejected.reason for rejected in meta.rejected)
        for reason, count in reasons.most_common(8):
            console.say(f"    {count}: {reason}")
    console.say(f"cache: {out}")
    console.say(f"next:  safelight train {shlex.quote(str(out))}")
