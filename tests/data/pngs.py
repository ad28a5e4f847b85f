"""PNGs made by hand (RFC 2083), of kinds that Pillow does not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, with alpha, RGB, with alpha


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(levels: np.ndarray, depth: int, *extra: bytes) -> bytes:
    """levels: (h, w) or (h, w, channels), 0..2^depth - 1; extra: chunks before the pixels."""
    h, w = levels.shape[:2]
    colour = COLOUR_TYPES[levels.size // (h * w)]
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0)
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in levels]
    else:
        bits = np.unpackbits(levels.reshape(h, -1, 1).astype(np.uint8), axis=2)[..., 8 - depth :]
        rows = [np.packbits(row).tobytes() for row in bits.reshape(h, -1)]
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def transparent(*level: int) -> bytes:
    """The one level, or colour, that is not to be seen."""
    return chunk(b"tRNS", struct.pack(f">{len(level)}H", *level))


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))
