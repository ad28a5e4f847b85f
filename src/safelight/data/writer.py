"""images.npy, written as the pictures come, in constant memory."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from safelight.data.look import Size

HEADER_BYTES = 128  # a fixed length, so that the number of images can be filled in at the end
CHUNK = 256  # images at a time where a file is gone through


def npy_header(shape: tuple[int, int, int, int]) -> bytes:
    """The header of a uint8 array in numpy's format, version 1.0."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode("ascii")
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + text.ljust(length - 1) + b"\n"


class ImageWriter:
    """Takes (m, c, h, w) uint8 batches with c = 1 or 3.

    The file has one channel as long as every image has; the first colour image widens what is
    there. So greyness is known without decoding anything twice.
    """

    def __init__(self, path: Path, size: Size) -> None:
        self.path, self.size = path, size
        self.count, self.channels = 0, 1
        self._hash = hashlib.sha256()
        self._file = path.open("w+b")
        self._file.write(b"\0" * HEADER_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._file.seek(0)
            self._file.write(npy_header((self.count, self.channels, self.size[1], self.size[0])))
        self._file.close()

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels so far, without the header."""
        return self._hash.hexdigest()

    def append(self, pixels: NDArray[np.uint8]) -> None:
        if len(pixels) == 0:
            return
        if pixels.shape[1] > self.channels:
            self._widen(pixels.shape[1])
        self._write(self._with_channels(pixels, self.channels))
        self.count += len(pixels)

    def _write(self, pixels: NDArray[np.uint8]) -> None:
        data = pixels.reshape(-1).data
        self._hash.update(data)
        self._file.write(data)

    def _with_channels(self, pixels: NDArray[np.uint8], c: int) -> NDArray[np.uint8]:
        same = pixels if pixels.shape[1] == c else pixels.repeat(c, axis=1)
        return np.ascontiguousarray(same)

    def _widen(self, c: int) -> None:
        """Repeat each grey image into c channels, from the last to the first, in place."""
        pixels = self.size[0] * self.size[1]
        for last in range(self.count, 0, -CHUNK):
            first = max(0, last - CHUNK)
            self._file.seek(HEADER_BYTES + first * pixels)
            grey = np.frombuffer(self._file.read((last - first) * pixels), np.uint8)
            wide = self._with_channels(grey.reshape(-1, 1, self.size[1], self.size[0]), c)
            self._file.seek(HEADER_BYTES + first * pixels * c)
            self._file.write(wide.reshape(-1).data)
        self.channels = c
        self._rehash()

    def _rehash(self) -> None:
        self._hash = hashlib.sha256()
        self._file.seek(HEADER_BYTES)
        while data := self._file.read(2**20):
            self._hash.update(data)
