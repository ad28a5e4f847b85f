"""What each picture is made to look like: its size, channels, and how it is fitted into them.

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

LARGEST = 4096  # pixels of a side


@dataclass(frozen=True)
class Look:
    """How every picture of a cache is made."""

    size: Size
    channels: Channels = "auto"


def parse_size(value: Any) -> Size:
    """32, "32" and "32x32" are a square; "64x96" is 64 wide and 96 high. Raises ValueError."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
    sides = tuple(value) if isinstance(value, list | tuple) else ()
    if found is not None:
        sides = (int(found[1]), int(found[2] or found[1]))
    if len(sides) != 2 or not all(isinstance(s, int) and 1 <= s <= LARGEST for s in sides):
        raise ValueError(
            f"{value!r} is no size: give the side in pixels, 1 to {LARGEST}, such as 32, or "
            "width and height, such as 64x96"
        )
    return sides[0], sides[1]


def said(size: Size) -> str:
    """'64x96', wide and high."""
    return f"{size[0]}x{size[1]}"


def as_option(size: Size) -> str:
    """As on the command line: '32' or '64x96'."""
    return str(size[0]) if size[0] == size[1] else said(size)
