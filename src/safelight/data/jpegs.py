"""Plain JPEGs, decoded by libjpeg-turbo itself: Pillow's pixels in a third of its time.

Of a small JPEG Pillow spends two thirds of the time in Python, on what most do not have. Those
that have it (EXIF, colour profiles, Adobe's markers, more pictures) are left to Pillow, and all
that libjpeg-turbo has anything to say against.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import simplejpeg
from PIL import Image

from safelight.data.look import Size

# ITU-T T.81, table B.1: each begins a segment, with its length after it.
FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive, of Huffman codes
SCAN = 0xDA
PLAIN = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xED, 0xFE})  # tables, JFIF, Photoshop's, a comment
MODES = {1: "L", 3: "RGB"}  # by the components of its frame
SPACES = {"L": "GRAY", "RGB": "RGB"}


def plain(data: bytes) -> tuple[Size, str] | None:
    """(w, h) and Pillow's mode of a JPEG that has nothing beside its pixels; else None."""
    if data[:2] != b"\xff\xd8":
        return None
    found, start = None, 2
    while start + 10 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == SCAN:
            return found
        if marker in FRAMES:
            height, width = data[start + 5 : start + 7], data[start + 7 : start + 9]
            mode = MODES.get(data[start + 9])
            if data[start + 4] != 8 or mode is None:
                return None
            found = (int.from_bytes(width, "big"), int.from_bytes(height, "big")), mode
        elif marker not in PLAIN:
            return None
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return None


def decoded(data: bytes, mode: str) -> Image.Image | None:
    """Mode L or RGB; None where anything is wrong with it."""
    try:
        pixels = simplejpeg.decode_jpeg(data, SPACES[mode])
    except ValueError:
        return None
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels)
