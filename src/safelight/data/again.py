"""A cache in the place of pictures: what it was made of, prepared again with other options."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from safelight.console import inform
from safelight.data.cache import Cache
from safelight.data.merge import PLUS
from safelight.data.meta import Meta, read_meta
from safelight.data.named import NAMED
from safelight.data.options import Options, Wanted, options_of
from safelight.data.origins import Source, find
from safelight.data.source import Origin
from safelight.data.stored import cache_at
from safelight.errors import UserError
from safelight.paths import is_there

IN_MEMORY = re.compile(r"(array|table) [0-9a-f]{12}")  # what arrays and data frames are called


def parts_of(source: str) -> list[str]:
    """The sources that are named in one word; a folder may be called so too."""
    return [source] if is_there(Path(source)) else source.split(PLUS)


def cache_given(source: Source) -> Path | None:
    """Where the cache is that is given alone; None where it is pictures."""
    if isinstance(source, Cache):
        return source.path
    if isinstance(source, str | os.PathLike):
        return None if source in NAMED else cache_at(source)
    if isinstance(source, Sequence) and len(source) == 1:
        return cache_given(source[0])
    return None


def options_before(source: Source) -> Options | None:
    """Those that the cache was made with; None where the source is no cache."""
    path = cache_given(source)
    return None if path is None else read_meta(path).options


def again(path: Path, **wanted: Unpack[Wanted]) -> tuple[Options, Origin]:
    """The options of a cache, but for those that are given anew, and what it was made of.

    Raises UserError where it is not to be had any more.
    """
    meta = read_meta(path)
    asked = options_of(**{**meta.options.model_dump(), **wanted})
    origin = _found_again(path, meta)
    anew = asked.arguments(meta.options)
    but = f", but for {shlex.join(anew)}" if anew else ""
    inform(f"{path} was made of {meta.source}; preparing that with the same options{but}")
    return asked, origin


def _found_again(path: Path, meta: Meta) -> Origin:
    held = [part for part in parts_of(meta.source) if IN_MEMORY.fullmatch(part)]
    if held:
        raise UserError(
            f"{path} was made of what was in memory ({held[0]}); prepare that again in Python"
        )
    try:
        return find(meta.source)
    except UserError as error:
        raise UserError(
            f"{path} was made of {meta.source}, which can't be prepared again: {error}"
        ) from error
