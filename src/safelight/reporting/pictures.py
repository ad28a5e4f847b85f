"""Pictures as text: data URIs, so that the page needs nothing beside itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from safelight.images import to_pil

PNG_LIMIT = (
    20_000  # bytes; a larger picture is kept as WebP, or the page would not fit in an e-mail
)
WEBP_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """One picture of the page; `alt` says in words what it shows."""

    uri: str
    alt: str
    width: int
    height: int


def picture(image: Tensor, alt: str, limit: int = PNG_LIMIT) -> Picture:
    """(c, h, w) uint8 -> Picture, exact up to `limit` bytes."""
    return Picture(data_uri(to_pil(image), limit), alt, image.shape[2], image.shape[1])


def sheet(path: Path, alt: str) -> Picture:
    """A contact sheet from its file."""
    with Image.open(path) as image:
        return Picture(data_uri(image), alt, image.width, image.height)


def data_uri(image: Image.Image, limit: int = PNG_LIMIT) -> str:
    """PNG, exact; above `limit` bytes WebP at WEBP_QUALITY, a fraction of the size."""
    data, kind = _encoded(image, "PNG", optimize=True), "png"
    if len(data) > limit:
        data, kind = _encoded(image, "WEBP", quality=WEBP_QUALITY, method=6), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def spread(items: Sequence[object], most: int) -> list[int]:
    """At most so many indices of `items`, evenly spread, the first and the last among them."""
    n = len(items)
    if n <= most:
        return list(range(n))
    return [round(i * (n - 1) / (most - 1)) for i in range(most)]
