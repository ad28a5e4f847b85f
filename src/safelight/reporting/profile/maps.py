"""The map: pictures at their places, and small maps of points for each class and cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image, ImageOps

from safelight.images import to_pil
from safelight.profiling.profile import Profile
from safelight.reporting import words
from safelight.reporting.pictures import Picture, data_uri
from safelight.reporting.profile.colours import OTHERS, coloured
from safelight.reporting.profile.thumbs import Thumbs

WIDTH = 1320  # pixels
MOST_COLUMNS, FEWEST_COLUMNS = 30, 8
HIGH = 0.7  # rows for each column
CELLS = 3  # for each picture on the map, if that makes no more columns than there may be
FRAME, GAP = 3, 1  # pixels: round a picture, and what is left empty beside it
VIEW = (100.0, 75.0)  # of a small map
EVERY = "map-all"  # the id of all points, which every small map draws under its own


@dataclass(frozen=True)
class SmallMap:
    title: str
    svg: Markup
    note: str


@dataclass(frozen=True)
class MapShown:
    """picture: the thumbnails at their places. keys: (colour, class). small: of each class."""

    picture: Picture
    pictures: int
    keys: list[tuple[str, str]]
    points: Markup
    small: list[SmallMap]


def map_shown(profile: Profile, thumbs: Thumbs) -> MapShown | None:
    """None where there are too few pictures for a map."""
    if profile.places is None:
        return None
    grid = grid_for(len(profile.places))
    chosen = in_cells(profile.places, grid)
    keys = [(colour, name) for _, name, colour in coloured(profile.groups)]
    if keys and profile.groups.there > len(keys):
        keys.append((OTHERS, "all others"))
    what = words.plural(len(chosen), "picture")
    alt = f"{what} at their places on the map; what looks alike lies together"
    sheet = _sheet(profile, thumbs, chosen, grid)
    return MapShown(
        Picture(data_uri(sheet), alt, sheet.width, sheet.height),
        len(chosen),
        keys,
        points_of(profile.places),
        _by_class(profile),
    )


def grid_for(pictures: int) -> tuple[int, int]:
    """Columns and rows: few and large ones for few pictures."""
    columns = round((CELLS * pictures / HIGH) ** 0.5)
    columns = min(max(columns, FEWEST_COLUMNS), MOST_COLUMNS)
    return columns, round(HIGH * columns)


def in_cells(places: NDArray[np.float64], grid: tuple[int, int]) -> dict[tuple[int, int], int]:
    """(column, row) -> which of places (m, 2) in [0, 1] is nearest to the middle of that cell."""
    size = np.array(grid)
    cells = np.minimum((places * size).astype(np.int64), size - 1)
    off = np.square(places * size - cells - 0.5).sum(1)
    chosen: dict[tuple[int, int], int] = {}
    for i in np.argsort(off, kind="stable").tolist():
        chosen.setdefault((int(cells[i, 0]), int(cells[i, 1])), i)
    return chosen


def _sheet(
    profile: Profile,
    thumbs: Thumbs,
    chosen: dict[tuple[int, int], int],
    grid: tuple[int, int],
) -> Image.Image:
    """Every chosen picture in its cell, in a frame of its class's colour, on nothing."""
    colours = {row: colour for row, _, colour in coloured(profile.groups)}
    positions = profile.looked.positions[profile.mapped][list(chosen.values())]
    labels = profile.cache.class_labels()
    cell = WIDTH // grid[0]
    edge = FRAME if colours else 0
    sheet = Image.new("RGBA", (grid[0] * cell, grid[1] * cell))
    for (column, row), position, image in zip(
        chosen, positions.tolist(), thumbs.images(positions), strict=True
    ):
        label = -1 if labels is None else int(labels[position])
        framed = _framed(to_pil(image), cell - GAP, edge, colours.get(label, OTHERS))
        left, top = ((cell - GAP - side) // 2 for side in framed.size)
        sheet.paste(framed, (column * cell + left, row * cell + top))
    return sheet


def _framed(image: Image.Image, side: int, edge: int, colour: str) -> Image.Image:
    """As large as it can be within a square of this side, with an edge of this width."""
    inner = side - 2 * edge
    scale = inner / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return ImageOps.expand(image.convert("RGB").resize(size, smooth), edge, colour)


def points_of(places: NDArray[np.float64]) -> Markup:
    """All points once, for the small maps to draw."""
    drawn = f'<path class="dots" id="{EVERY}" d="{_path(places)}"/>'
    return Markup(f'<svg class="unseen" aria-hidden="true"><defs>{drawn}</defs></svg>')


def small_map(places: NDArray[np.float64], alt: str) -> Markup:
    """These points before all others, (m, 2) in [0, 1]."""
    title = Markup("<title>{}</title>").format(alt)
    width, height = VIEW
    head = f'<svg class="small" role="img" viewBox="-1 -1 {width + 2:g} {height + 2:g}">'
    drawn = f'<use class="every" href="#{EVERY}"/><path class="these dots" d="{_path(places)}"/>'
    return Markup(head) + title + Markup(f"{drawn}</svg>")


def _path(places: NDArray[np.float64]) -> str:
    """A dot is a line of no length with round ends."""
    scaled = np.round(places * np.array(VIEW), 1)
    return "".join(f"M{x:g} {y:g}h0" for x, y in scaled.tolist())


def _by_class(profile: Profile) -> list[SmallMap]:
    """Where each shown class lies; nothing of a single class."""
    labels, places = profile.labels, profile.places
    if labels is None or places is None or profile.groups.there < 2:
        return []
    of = labels[profile.mapped]
    found = []
    for row in profile.groups.shown:
        name, mine = profile.groups.classes[row], places[of == row]
        alt = f"where the {len(mine):,} pictures of {name} lie on the map"
        found.append(SmallMap(name, small_map(mine, alt), words.count(len(mine))))
    return found
