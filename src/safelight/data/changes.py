"""What may have to be changed about a picture before it is 8 bits of sRGB, upright and opaque."""

from __future__ import annotations

from enum import StrEnum


class Change(StrEnum):
    """Kept in meta.json under this name, with the number of pictures."""

    TURNED = "turned"
    PROFILE = "profile"
    CMYK = "cmyk"
    LAB = "lab"
    DEEP = "deep"
    FLATTENED = "flattened"
    FIRST_FRAME = "first frame"
