"""`report` of pictures: one HTML file that opens offline, about what is in a cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from safelight.console import progress
from safelight.data.cache import Cache
from safelight.data.places import user_cache
from safelight.errors import UserError
from safelight.evaluation.moments import Floats
from safelight.evaluation.store import going_on
from safelight.files import write_text
from safelight.naming import shortened
from safelight.profiling.drawn import first_of_each
from safelight.profiling.profile import Profile, profile
from safelight.reporting import words
from safelight.reporting.collect import describe
from safelight.reporting.frame import Frame, render
from safelight.reporting.pictures import Picture, picture
from safelight.reporting.profile import between, closely, light, sections
from safelight.reporting.profile.maps import map_shown
from safelight.reporting.profile.originals import originals_shown
from safelight.reporting.profile.thumbs import LIMIT, Thumb, Thumbs

SECTIONS = {  # id, which is also the template's name: title in the contents
    "advice": "What to do",
    "counts": "How many",
    "originals": "Originals",
    "pictures": "Pictures",
    "means": "Means",
    "colours": "Light and colours",
    "splits": "Splits",
    "map": "Map",
    "clusters": "Clusters",
    "alike": "Classes that look alike",
    "odd": "Odd pictures",
    "copies": "Copies",
    "files": "Files left out",
    "measured": "How it was measured",
}
A_CLASS, WITHOUT_CLASSES = 10, 60  # pictures in the sheet


def report(cache: Cache, out: Path, store: Path | None = None) -> Path:
    """Write the page of a cache to `out`; gives the path written.

    Raises UserError where `out` is a folder, or within the cache's own, whose content is checked.
    """
    require_place(cache, out)
    with going_on():
        html = page(profile(cache, store))
    write_text(out, html)
    return out


def usual_place(cache: Cache) -> Path:
    """Where the page goes unless told: beside a cache that was named, else into this folder."""
    if cache.path.resolve().is_relative_to(user_cache().resolve()):
        return Path(f"{shortened(cache.name.replace(':', '-'))}.html")
    suffix = f"-{cache.split}" if cache.split else ""
    return cache.path.parent / f"{shortened(cache.path.resolve().name)}{suffix}.html"


def require_place(cache: Cache, out: Path) -> None:
    """Raise UserError where the page can't be written there; before long work."""
    if out.is_dir():
        raise UserError(f"{out} is a folder; name a file to write, such as {out}/data.html")
    if out.resolve().is_relative_to(cache.path.resolve()):
        raise UserError(
            f"{out} lies in the cache's folder, which holds the cache alone; choose another place "
            "with --out"
        )


def page(found: Profile) -> str:
    """The HTML of a profile."""
    shown = _shown(found)
    _, h, w = found.cache.shape
    frame = Frame(
        kind="data",
        name=found.cache.name,
        headline=sections.headline(found),
        facts=sections.facts(found),
        notices=_notices(found),
        folder="profile/",
        sections={key: title for key, title in SECTIONS.items() if shown[key] is not None},
        place=words.place(found.cache.path),
        created=datetime.now().astimezone(),
        height=h,
        width=w,
    )
    return render(frame, {"shown": shown, "looked": looked(found)})


def _notices(found: Profile) -> list[str]:
    if not found.looked.missing:
        return []
    return [
        "Neighbours, clusters and the map go by small thumbnails, which see layout and colours and "
        f"nothing of what is shown, since {found.looked.missing}. After pip install "
        "'safelight[offline]' they go by a network for photographs."
    ]


def _shown(found: Profile) -> dict[str, Any]:
    """What each section shows, by its id; None where there is nothing to tell."""
    thumbs, pictures = Thumbs(found), describe(found.cache)
    parts: dict[str, Callable[[], Any]] = {
        "advice": lambda: sections.advice_shown(found),
        "counts": lambda: sections.counts_table(found),
        "originals": lambda: originals_shown(found),
        "pictures": lambda: sheet(found, thumbs),
        "means": lambda: means(found),
        "colours": lambda: light.colours_shown(found),
        "splits": lambda: splits(found, thumbs),
        "map": lambda: map_shown(found, thumbs),
        "clusters": lambda: closely.clusters_shown(found, thumbs),
        "alike": lambda: closely.alike_shown(found, thumbs),
        "odd": lambda: closely.odd_shown(found, thumbs),
        "copies": lambda: between.copies_shown(found, thumbs),
        "files": lambda: sections.files_shown(found),
        "measured": lambda: sections.measured(found, pictures),
    }
    shown: dict[str, Any] = {}
    with progress("drawing the page", len(parts)) as advance:
        for key, part in parts.items():
            shown[key] = part()
            advance()
    return shown


def looked(found: Profile) -> str:
    """Of how many pictures it is that was looked at closely."""
    n, m = found.cache.count, len(found.looked.positions)
    copies = 0 if found.twins is None else len(found.twins)
    without = " (copies left out)" if copies else ""
    if m == n - copies:
        return f"All {words.count(m)} pictures{without} were looked at."
    return f"{words.count(m)} pictures were looked at, drawn evenly of {words.count(n)}{without}."


@dataclass(frozen=True)
class SheetShown:
    """rows: (class, pictures); a class of the name "" where there are none. about: which."""

    about: str
    rows: list[tuple[str, list[Thumb]]]


def sheet(found: Profile, thumbs: Thumbs) -> SheetShown:
    """Pictures drawn at random, of each shown class."""
    groups = found.groups
    if not found.cache.classes:
        drawn = first_of_each(groups.of, WITHOUT_CLASSES, "sheet")[0]
        return SheetShown("Drawn at random, none chosen.", [("", thumbs.of(drawn))])
    drawn_of = first_of_each(groups.of, A_CLASS, "sheet")
    rows = [(name, thumbs.of(drawn_of[g])) for g, name in enumerate(groups.names)]
    about = f"Drawn at random, none chosen: {A_CLASS} of each class, or all where there are fewer."
    if groups.folded:
        about += f" The {len(rows)} largest of {words.count(groups.there)} classes."
    return SheetShown(about, rows)


@dataclass(frozen=True)
class Mean:
    name: str
    mean: Picture
    deviation: Picture


@dataclass(frozen=True)
class MeansShown:
    """white: the deviation, in levels, that is drawn white."""

    rows: list[Mean]
    white: float


def means(found: Profile) -> MeansShown:
    """Of all pictures first, and then of each shown class."""
    surveyed, groups = found.surveyed, found.groups
    which: list[tuple[str, int | None]] = [("all", None)]
    if groups.there > 1:
        which += [(name, g) for g, name in enumerate(groups.names)]
    spreads = [surveyed.deviation(g).mean(0, keepdims=True) for _, g in which]
    white = max(1.0, *(float(spread.max()) for spread in spreads))
    rows = [
        Mean(
            name,
            _levels(surveyed.mean(g), f"mean of {name}"),
            _levels(spread * (255 / white), f"deviation of {name}"),
        )
        for (name, g), spread in zip(which, spreads, strict=True)
    ]
    return MeansShown(rows, white)


def _levels(values: Floats, alt: str) -> Picture:
    rounded = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return picture(torch.from_numpy(rounded), alt, LIMIT)


@dataclass(frozen=True)
class SplitsShown:
    apart: list[between.ApartShown]
    lights: light.LightShown
    nearest: between.NearestShown | None


def splits(found: Profile, thumbs: Thumbs) -> SplitsShown | None:
    """None where there is one split alone."""
    if not found.apart:
        return None
    return SplitsShown(
        between.apart_shown(found), light.splits_shown(found), between.nearest_shown(found, thumbs)
    )
