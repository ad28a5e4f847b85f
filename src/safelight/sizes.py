"""How large pictures are, as people write it: width and height."""

from __future__ import annotations

import re
from typing import Any

LARGEST = 4096  # pixels of a side


def parse_size(value: Any) -> tuple[int, int]:
    """Width and height. 32, "32" and "32x32" are a square; "64x96" is 64 wide and 96 high.

    Raises ValueError.
    """
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


def as_option(size: tuple[int, int]) -> str:
    """As on the command line: '32' or '64x96'."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
