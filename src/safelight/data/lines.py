"""A text of many lines, of which some are read."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHUNK = 2**20  # bytes looked through at once


class Lines:
    """The lines of a UTF-8 file that is not empty and ends with a newline.

    It holds 8 bytes of each, and threads may share it. Raises OSError or ValueError where it can't
    be read.
    """

    def __init__(self, path: Path) -> None:
        self._bytes = np.memmap(path, np.uint8, "r")
        chunks = range(0, len(self._bytes), CHUNK)
        ends = [np.flatnonzero(self._bytes[i : i + CHUNK] == ord("\n")) + (i + 1) for i in chunks]
        self._starts: NDArray[np.int64] = np.concatenate([[0], *ends])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, position: int) -> str:
        first, last = self._starts[position : position + 2].tolist()
        return self._bytes[first : last - 1].tobytes().decode()

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the whole file."""
        digest = hashlib.sha256()
        for i in range(0, len(self._bytes), CHUNK):
            digest.update(self._bytes[i : i + CHUNK].data)
        return digest.hexdigest()
