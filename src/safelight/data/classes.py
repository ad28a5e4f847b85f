"""Names in their natural order, and the classes that they make."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


@functools.lru_cache(maxsize=4096)  # folders repeat
def _padded(part: str) -> str:
    text = unicodedata.normalize("NFC", part)
    return re.sub(r"[0-9]+", lambda digits: digits.group().zfill(20), text)


def natural(parts: Sequence[str]) -> tuple[str, ...]:
    """A sort key by which `img2` comes before `img10`, the same on every machine."""
    return tuple(_padded(part) for part in parts)


def in_order(names: Sequence[str]) -> bool:
    """Whether names are sorted naturally, and not by what some publisher counts."""
    keys = [natural((name,)) for name in names]
    return keys == sorted(keys)


def clean(name: str) -> str:
    """A class's name in the one way in which it is written; halves of characters as \\ud800."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode())


def numbered(names: Sequence[str]) -> tuple[Labels, tuple[str, ...]]:
    """Each picture's class by name -> labels, (n,), and the classes in natural order."""
    names = list(map(clean, names))
    classes = tuple(sorted(set(names), key=lambda name: natural((name,))))
    position = {name: i for i, name in enumerate(classes)}
    return np.array([position[name] for name in names], np.int64), classes


def no_classes(n: int) -> tuple[Labels, tuple[str, ...]]:
    """Of n pictures that are of no class."""
    return np.zeros(n, np.int64), ()
