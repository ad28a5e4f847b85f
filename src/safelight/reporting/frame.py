"""What all pages share: the templates' environment, and what stands around the sections."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import safelight
from safelight.reporting import words

SMOOTH_FROM = 64  # pixels; larger pictures are no longer shown with square pixels
MOST_REJECTED = 100

# A darkroom lamp: a housing, and the red window that lights without spoiling the paper.
LAMP = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" aria-hidden="true">'
    '<path fill="#4a413c" d="M14 1h4v5h6l4 6v14a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3V12l4-6h6z"/>'
    '<circle cx="16" cy="18.5" r="7.5" fill="#b3260e"/>'
    '<circle cx="16" cy="18.5" r="4" fill="#ff6a3d"/></svg>'
)


@dataclass(frozen=True)
class Frame:
    """What stands around the sections.

    kind: of page. headline: what it is about, in one sentence; facts: (value, name) of the figures
    under it. sections: id -> title; the template of a section is folder/id.html.j2.
    """

    kind: str
    name: str
    headline: str
    facts: Sequence[tuple[str, str]]
    notices: Sequence[str | Markup]
    folder: str
    sections: Mapping[str, str]
    place: str
    created: datetime
    height: int
    width: int


def render(frame: Frame, context: Mapping[str, Any]) -> str:
    """The HTML of a page; `context` is what its sections' templates may name besides."""
    around = {
        "frame": frame,
        "version": safelight.__version__,
        "created": f"{words.day(frame.created.isoformat())}, {frame.created:%H:%M}",
        "place": frame.place,
        "sections": list(_sections(frame)),
        "lamp": Markup(LAMP.replace(' xmlns="http://www.w3.org/2000/svg"', "")),
        "icon": base64.b64encode(LAMP.encode()).decode(),
        "smooth": " smooth" if max(frame.height, frame.width) > SMOOTH_FROM else "",
        "most_rejected": MOST_REJECTED,
    }
    return _environment().get_template("page.html.j2").render({**around, **context})


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("safelight.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["count"] = words.count
    found.filters["plural"] = words.plural
    return found


def _sections(frame: Frame) -> Iterable[dict[str, str]]:
    for key, title in frame.sections.items():
        yield {"id": key, "title": title, "template": f"{frame.folder}{key}.html.j2"}
