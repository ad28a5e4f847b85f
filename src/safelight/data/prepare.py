"""`prepare`: pictures from anywhere become a cache, once and repeatably."""

from __future__ import annotations

import hashlib
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from safelight import console, files
from safelight.data import splits as dividing
from safelight.data.cache import Cache
from safelight.data.decode import Channels
from safelight.data.ingest import Origin, ingest
from safelight.data.locks import alone_in
from safelight.data.meta import FILE, Meta, NewerFormat, Options, read_meta
from safelight.data.named import NAMED, recognised, roots_of, user_cache
from safelight.data.record import finish, in_a_line, summarise
from safelight.data.sources import Listing, listing
from safelight.data.stored import IMAGES, LABELS, SPLIT_CODES, is_cache
from safelight.data.walk import Found, signature, walk_folder, walk_zip
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
    cache = made(origin, options, out, workers)
    console.say(f"next:  safelight train {shlex.quote(str(out))}")
    return cache


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
            "classes": tuple(sorted({unicodedata.normalize("NFC", name) for name in classes})),
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
        if Path(source).exists():
            console.inform(f"{source!r} is the named set; say ./{source} for the folder here")
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


def made(
    origin: Origin, options: Options, out: Path, workers: int | None, brief: bool = False
) -> Cache:
    """The cache at `out`, made now or found as it is asked for.

    brief: what it holds is said in a line, the same each time.
    """
    with alone_in(out.parent):
        cache = _made(origin, options, out, workers or available(), brief)
    if brief:
        console.inform(in_a_line(cache.meta))
    return cache


def _made(origin: Origin, options: Options, out: Path, workers: int, brief: bool) -> Cache:
    found = walked(origin)
    sign = origin.name if found is None else signature(found)
    ready = existing(out, origin, options, sign)
    if ready is not None:
        if not brief:
            console.inform(f"{out} is up to date: {ready.count} pictures, nothing to prepare")
        return ready
    pictures = chosen(listed(origin, found, options), options)
    with files.writing_folder(out) as folder:
        outcome = ingest(origin, pictures, options, folder / IMAGES, workers)
        meta = finish(origin, options, sign, outcome, folder)
    if not brief:
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
    except NewerFormat:
        raise
    except DamagedFile:
        return None
    differs = _differences(meta, origin, options, sign)
    if differs:
        raise UserError(
            f"{out} holds another cache ({differs}); choose another --out, or remove that folder"
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
    return ", ".join(f"{name} was {was} and is {now} now" for name, was, now in pairs if was != now)


def chosen(pictures: Listing, options: Options) -> Listing:
    """Only the classes that are asked for; without labels where these are not wanted."""
    if options.classes:
        if not pictures.classes:
            raise UserError("there are no class folders here to choose from; leave out --classes")
        position = {name: i for i, name in enumerate(pictures.classes)}
        wanted = sorted(lookup(position, name, "class") for name in options.classes)
        pictures = pictures.taken(np.isin(pictures.labels, wanted))
        pictures = pictures.renumbered(wanted)
    if options.labels == "none":
        pictures = replace(pictures, labels=np.zeros_like(pictures.labels), classes=())
    return pictures
