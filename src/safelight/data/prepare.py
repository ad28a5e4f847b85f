"""`prepare`: pictures from anywhere become a cache, once and repeatably."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from safelight import console, files, paths
from safelight.data import journal
from safelight.data.again import again, cache_given
from safelight.data.cache import Cache
from safelight.data.choosing import pictures_of
from safelight.data.encoded import CHECKS, PLACES
from safelight.data.ingest import ingest
from safelight.data.meta import FILE, Meta, NewerFormat, read_meta
from safelight.data.options import Options, Wanted, as_words, options_of
from safelight.data.origins import Source, find, word_for
from safelight.data.places import user_cache
from safelight.data.record import finish
from safelight.data.source import Origin
from safelight.data.stored import CONTENT, is_cache
from safelight.data.summary import in_a_line, summarise
from safelight.data.walk import OF_SYSTEMS
from safelight.data.workers import available
from safelight.errors import DamagedFile, UserError
from safelight.naming import shortened


def prepare(
    source: Source,
    *,
    out: Path | str | None = None,
    workers: int | None = None,
    **options: Unpack[Wanted],
) -> Cache:
    """Make a cache of pictures; does nothing where it is made already.

    source: a path (a folder, an archive, a table, a file of arrays, parquet, a video), a named set,
        `hf:OWNER/NAME`, an array or a tensor, a mapping of these (images, labels and more), a data
        frame of paths and labels, or a list of several sources. The guide has all of them. A cache
        stands for what it was made of, with its options where none are given.
    out: None puts it into the user's cache folder, and leaves a cache with its options in place.
    workers: decoding processes; one for each core unless given.
    options: the fields of `Options`, where each is explained.
    Raises UserError; files that give no picture are listed in the cache's `meta.json`.
    """
    before = cache_given(source)
    if before is None:
        asked, origin = options_of(**options), find(source)
    else:
        asked, origin = again(before, **options)
    if out is not None:
        place = paths.place(out)
    elif before is not None and asked == read_meta(before).options:
        place = before
    else:
        place = usual_place(origin, asked)
    cache = made(origin, asked, place, workers)
    name = shlex.quote(word_for(place))
    console.say(f"next:  safelight report {name}   or   safelight train {name}")
    return cache


def usual_place(origin: Origin, options: Options) -> Path:
    """The cache's place where --out is not given: one for each source and choice of options."""
    what = f"{origin.where}\0{options.model_dump_json()}".encode("utf-8", "replace")
    name = f"{shortened(origin.name)}-{hashlib.sha256(what).hexdigest()[:12]}"
    return user_cache() / "caches" / name


def made(
    origin: Origin, options: Options, out: Path, workers: int | None, brief: bool = False
) -> Cache:
    """The cache at `out`, made now or found as it is asked for.

    brief: what it holds is said in a line, the same each time.
    """
    if workers is None:
        workers = available()
    if workers < 1:
        raise UserError(f"no pictures are decoded by {workers} processes; give --workers 1 or more")
    files.clear_leftovers(files.followed(out).parent)
    cache = _made(origin, options, out, workers, brief)
    if brief:
        console.inform(in_a_line(cache.meta))
    return cache


def _made(origin: Origin, options: Options, out: Path, workers: int, brief: bool) -> Cache:
    sign = origin.signature()
    ready = existing(out, origin, options, sign, told=False)  # this waits for nobody
    if ready is None:
        pictures = pictures_of(origin, options)
        with files.resumable_folder(out, partial(_waiting, out)) as folder:
            ready = existing(out, origin, options, sign)  # another has made it meanwhile
            if ready is None:
                with _kept(options, folder):
                    outcome = ingest(origin, pictures, options, sign, folder, workers)
                    meta = finish(origin, options, sign, outcome, folder)
                    files.settle_in(folder, out, without=journal.OWN)
                if not brief:
                    summarise(meta, out)
                return Cache.open(out)
    if not brief:
        console.inform(f"{out} is up to date: {ready.count:,} pictures, nothing to prepare")
    return ready


def _waiting(out: Path) -> None:
    console.inform(f"another safelight command is at work on {out}; waiting for it")


@contextlib.contextmanager
def _kept(options: Options, folder: Path) -> Iterator[None]:
    """What is decoded is kept whatever ends the work, and Ctrl-C says so."""
    try:
        yield
    except BaseException as error:
        if options.store == "files" and folder.exists():  # there are no pixels to go on with
            journal.emptied(folder)
        elif options.store == "pixels" and isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(
                "stopped; what is prepared is kept for a week, and the same command goes on from "
                "there"
            ) from None
        raise


def existing(
    out: Path, origin: Origin, options: Options, sign: str, told: bool = True
) -> Cache | None:
    """The cache at `out` if it is just the one that is asked for; None if it is to be made.

    told: say why one that is there is made again. Raises UserError where something else is there.
    """
    there = [file for file in out.iterdir() if not _scattered(file)] if out.is_dir() else [out]
    if not there or not out.exists():
        return None
    if not is_cache(out) or {file.name for file in there} - {*CONTENT, PLACES, CHECKS, FILE}:
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
        if told:
            console.inform(f"the pictures in {origin.where} have changed; preparing them again")
        return None
    try:
        return Cache.open(out)
    except DamagedFile as error:
        if told:
            console.inform(str(error))
        return None


def _scattered(file: Path) -> bool:
    """Whether it belongs to nobody: systems leave it, or a kill did."""
    return file.name.lower() in OF_SYSTEMS or file.name.startswith(files.TEMPORARY)


def _differences(meta: Meta, origin: Origin, options: Options, sign: str) -> str:
    before, asked = meta.options.model_dump(), options.model_dump()
    pairs = [(f"--{name.replace('_', '-')}", before[name], asked[name]) for name in asked]
    if meta.signature != sign:
        pairs.append(("source", meta.source, origin.where))
    return ", ".join(
        f"{name} was {_given(was)} and is {_given(now)} now"
        for name, was, now in pairs
        if was != now
    )


def _given(value: Any) -> str:
    """The value of an option as it was typed."""
    return "not given" if value in (None, (), [], {}) else as_words(value)
