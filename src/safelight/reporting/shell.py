"""Command lines of a page, for a shell; they do not tell where the page's maker keeps files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from safelight.data.again import IN_MEMORY, parts_of
from safelight.data.cache import Cache
from safelight.data.hub import is_name
from safelight.data.named import NAMED
from safelight.data.options import Options
from safelight.naming import shortened
from safelight.reporting.collect import Pictures
from safelight.reporting.words import no_option, place

MOST_TOLD = 16  # letters of an option's value in the name of a cache
VALUED = {f"--{name.replace('_', '-')}" for name in Options.model_fields}


def preparing(pictures: Pictures) -> str:
    """The command that made a cache.

    Nothing where no command does: of what was in memory, and of sources that can't be told apart
    by what may be said of their places.
    """
    sources = [_source(part) for part in parts_of(pictures.source)]
    if not all(sources) or len(set(sources)) < len(sources):
        return ""
    options = _glued(pictures.options)
    return shlex.join(["safelight", "prepare", *sources, *options, "--out", place(pictures.path)])


def preparing_anew(cache: Cache, options: Options) -> str:
    """The command that makes what this cache was made of into another one, with these options.

    That one is called by what differs. The cache itself is made again where nothing does, and there
    is no command where it was made of what was in memory.
    """
    if any(IN_MEMORY.fullmatch(part) for part in parts_of(cache.meta.source)):
        return ""
    changed = options.arguments(cache.meta.options)
    words = ["safelight", "prepare", place(cache.path), *_glued(changed)]
    if changed:
        told = (re.sub(r"\W+", "-", word).strip("-")[:MOST_TOLD] for word in changed)
        name = shortened("-".join((cache.path.name, *filter(None, told))))
        words += ["--out", no_option(name)]
    return shlex.join(words)


def prepared_first(pictures: Pictures, command: str) -> str:
    """A command after the one that makes the cache, where there is one."""
    return "\n".join(filter(None, (preparing(pictures), command)))


def _source(part: str) -> str:
    """A path as one may show it, or a name; nothing for what was in memory."""
    if IN_MEMORY.fullmatch(part):
        return ""
    path = Path(part)
    if not path.is_absolute() and (is_name(part) or path.name == part):
        return part
    shown = path.name if part.startswith("~") else place(path)
    return f"./{shown}" if shown in NAMED else shown  # such a folder would be taken for a set


def _glued(words: Sequence[str]) -> Iterator[str]:
    """The words of options; a value that begins with a hyphen is one with its option."""
    left = iter(words)
    for word in left:
        value = next(left) if word in VALUED else None
        if value is None:
            yield word
        elif value.startswith("-"):
            yield f"{word}={value}"
        else:
            yield from (word, value)
