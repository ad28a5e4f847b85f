"""What each picture is made to look like: its size and channels, and how it comes to have them.

The processes that decode import this module, so it must not import torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

Channels = Literal["auto", "grey", "rgb"]
Fit = Literal["crop", "letterbox"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]
Size = tuple[int, int]  # width, height: as files of pictures are described

Colour = tuple[int, int, int]  # sRGB, 0..255 each

BACKGROUNDS: dict[str, Colour] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
}


class RejectedPicture(Exception):
    """This file gives no picture; the message says why, in a few words."""


@dataclass(frozen=True)
class Look:
    """How every picture of a cache is made.

    fit: crop cuts the middle out in the shape of `size`, letterbox keeps all of the picture.
    enlarge: whether a picture that is smaller than `size` is scaled up.
    background: behind what is transparent, and beside what is letterboxed; see `parse_background`.
    """

    size: Size
    channels: Channels = "auto"
    fit: Fit = "crop"
    enlarge: bool = True
    filter: Filter = "lanczos"
    background: str = "white"

    @property
    def behind(self) -> Colour:
        return colour_of(self.background)

    @property
    def in_words(self) -> str:
        """What is done with the pixels of each picture to make it as large as it is to be."""
        smaller = "" if self.enlarge else f", {FITS[self.fit].smaller}"
        done = FITS[self.fit].done.format(background=self.background)
        return f"{done}{smaller}, then {FILTERS[self.filter]}"


@dataclass(frozen=True)
class FitRow:
    """What is said of a fit, and of what it does with pictures that may not be enlarged."""

    done: str
    smaller: str


FITS: dict[str, FitRow] = {
    "crop": FitRow("crop in the middle", "none enlarged, smaller ones rejected"),
    "letterbox": FitRow(
        "the whole picture on {background}", "none enlarged, smaller ones as they are"
    ),
}
FILTERS: dict[str, str] = {
    "lanczos": "Pillow's antialiased Lanczos filter",
    "bicubic": "Pillow's antialiased bicubic filter",
    "bilinear": "Pillow's antialiased bilinear filter",
    "box": "Pillow's box filter, the mean over each new pixel",
    "nearest": "the nearest pixel, without antialiasing",
}


def parse_background(value: Any) -> str:
    """A row of BACKGROUNDS, or a colour such as #ff8800. Raises ValueError."""
    text = str(value).lower()
    if text not in BACKGROUNDS and re.fullmatch("#[0-9a-f]{6}", text) is None:
        raise ValueError(
            f"{value!r} is no background: give {', '.join(BACKGROUNDS)}, or a colour's red, green "
            "and blue such as '#ff8800', in quotes"
        )
    return text


def colour_of(background: str) -> Colour:
    """As `parse_background` returns it."""
    named = BACKGROUNDS.get(background)
    return named or (int(background[1:3], 16), int(background[3:5], 16), int(background[5:7], 16))


def said(size: Size) -> str:
    """'64x96', wide and high."""
    return f"{size[0]}x{size[1]}"
