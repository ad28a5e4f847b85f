"""Command lines of a page, for a shell; they do not tell where the page's maker keeps files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from safelight.data.hub import is_name
from safelight.data.merge import PLUS
from safelight.data.named import NAMED
from safelight.data.options import Options
from safelight.paths import is_there
from safelight.reporting.collect import Pictures
from safelight.reporting.words import no_option, place

VALUED = {f"--{name.replace('_', '-')}" for name in Options.model_fields}
IN_MEMORY = re.compile(r"(array|table) [0-9a-f]{12}")  # what arrays and data frames are called


def preparing(
    pictures: Pictures, options: Sequence[str] | None = None, out: str | None = None
) -> str:
    """The command that made a cache; with other options and another place where they are given.

    Nothing where no command does: of what was in memory, and of sources that can't be told apart
    by what may be said of their places.
    """
    sources = [_source(part) for part in _parts(pictures.source)]
    if not all(sources) or len(set(sources)) < len(sources):
        return ""
    words = pictures.options if options is None else options
    target = place(pictures.path) if out is None else no_option(out)
    return shlex.join(["safelight", "prepare", *sources, *_glued(words), "--out", target])


def prepared_first(pictures: Pictures, command: str) -> str:
    """A command after the one that makes the cache, where there is one."""
    return "\n".join(filter(None, (preparing(pictures), command)))


def _parts(source: str) -> list[str]:
    """The sources that are named in one word; a folder may be called so too."""
    return [source] if is_there(Path(source)) else source.split(PLUS)


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
