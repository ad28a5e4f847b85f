"""Plots that stand by themselves: PNGs in the colours that a page has by day."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image

from safelight.files import writing
from safelight.reporting.plots import INKS, STYLE

COLOURS = {"ink": "#211c19", "quiet": "#6b615a", "line": "#e2dbd2", "first": "#a3230f"}
PAPER = "#fcfaf7"


def save(draw: Callable[[], Figure], path: Path) -> Path:
    """Draw into `path`, a PNG."""
    style, drawn = {name: _coloured(value) for name, value in STYLE.items()}, BytesIO()
    with mpl.rc_context({**style, "font.size": 9}):
        draw().savefig(drawn, format="png", dpi=160, facecolor=PAPER)
    with writing(path) as temporary:
        # 128 colours look the same and are a third of the file.
        Image.open(drawn).convert("RGB").quantize(128).save(temporary, "PNG", optimize=True)
    return path


def _coloured(value: object) -> object:
    """A colour of the page's plots, which stands for one of the page's own, as that one."""
    roles = {ink: COLOURS[role] for role, ink in INKS.items() if role in COLOURS}
    return roles.get(value, value) if isinstance(value, str) else value
