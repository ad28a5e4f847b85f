"""Command lines of a page, for a shell; they do not tell where the page's maker keeps files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from safelight.reporting.collect import Pictures
from safelight.reporting.words import place


def preparing(
    pictures: Pictures, options: Sequence[str] | None = None, out: str | None = None
) -> str:
    """The command that made a cache; with other options and another place where they are given."""
    source = Path(pictures.source)
    named = place(source) if source.is_absolute() else pictures.source
    words = pictures.options if options is None else options
    target = shlex.quote(place(pictures.path) if out is None else out)
    return f"{shlex.join(['safelight', 'prepare', named, *words])} --out {target}"
