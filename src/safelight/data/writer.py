"""images.npy, written as the pictures come, in constant memory."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from safelight.data.blocks import at_once
from safelight.data.look import Size
from safelight.data.prints import Prints
from safelight.errors import UserError

HEADER_BYTES = 128  # a fixed length, so that the number of images can be filled in at the end
CHUNK, CHUNK_BYTES = 256, 4 * 2**20  # images at a time where a file is gone through


def npy_header(shape: tuple[int, int, int, int]) -> bytes:
    """The header of a uint8 array in numpy's format, version 1.0."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode("ascii")
    length = HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + text.ljust(length - 1) + b"\n"


def channels_said(header: bytes) -> int | None:
    """How many channels the pictures have below this header; None where it is no header of ours."""
    try:
        shape, _, _ = np.lib.format.read_array_header_1_0(io.BytesIO(header[8:]))
    except ValueError:
        return None
    return int(shape[1]) if len(shape) == 4 and header == npy_header(shape) else None


class ImageWriter:
    """Takes (m, c, h, w) uint8 batches into a file, and goes on with one that was begun.

    The file has one channel as long as every image has; the first colour image widens what is
    there. So greyness is known without decoding anything twice.
    """

    def __init__(self, path: Path, size: Size) -> None:
        self.path, self.size = path, size
        self.count, self.channels = 0, 0  # no channels: as many as the first image has
        self._hash, self._narrow = hashlib.sha256(), hashlib.sha256()
        self.prints = Prints()
        path.touch()
        self._file = path.open("r+b")
        self.channels = channels_said(self._file.read(HEADER_BYTES)) or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._file.truncate(self._place(self.count))
            self._write_header(self.count)
        self._file.close()

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels so far, without the header."""
        return self._hash.hexdigest()

    def goes_on(self, count: int, channels: int, digest: str) -> bool:
        """Keep the next `count` images, if they are there as they were written.

        channels, digest: what these were when they had been. Grey images may have been repeated
        into more channels since; `_narrow` goes through them as they were.
        """
        if not self.channels:  # its beginning is not as it was written
            return False
        self._file.seek(self._place(self.count))
        data = self._file.read(count * self._bytes)
        if len(data) < count * self._bytes:
            return False
        pixels = self._shaped(data)
        first = pixels[:, :1]
        widened = channels != self.channels
        so_far = (self._narrow if widened else self._hash).copy()
        so_far.update((np.ascontiguousarray(first) if widened else pixels).data)
        if so_far.hexdigest() != digest or (widened and (pixels != first).any()):
            return False
        if widened:
            self._narrow = so_far
        self._note(pixels)
        return True

    def append(self, pixels: NDArray[np.uint8]) -> None:
        """After this the images are in the file, and outlive this process."""
        if len(pixels) == 0:
            return
        c = pixels.shape[1]
        if self.count == 0:
            self.channels = c
            self._write_header(0)
        if c > self.channels:
            self._widen(c)
        self._file.seek(self._place(self.count))
        self._write(self._with_channels(pixels, self.channels))
        self._file.flush()

    def read(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(b, c, h, w): some of the images so far."""
        data = []
        for position in positions.tolist():
            self._file.seek(self._place(position))
            data.append(self._file.read(self._bytes))
        return self._shaped(b"".join(data))

    def keep_only(self, kept: NDArray[np.bool_]) -> None:
        """Take all other images out of the file."""
        self._rewrite(lambda first, pixels: pixels[kept[first : first + len(pixels)]])

    @property
    def _bytes(self) -> int:
        """Of one image."""
        return self.channels * self.size[0] * self.size[1]

    def _place(self, i: int) -> int:
        return HEADER_BYTES + i * self._bytes

    def _write_header(self, count: int) -> None:
        self._file.seek(0)
        self._file.write(npy_header((count, self.channels, self.size[1], self.size[0])))

    def _shaped(self, data: bytes) -> NDArray[np.uint8]:
        shape = (-1, self.channels, self.size[1], self.size[0])
        return np.frombuffer(data, np.uint8).reshape(shape)

    def _write(self, pixels: NDArray[np.uint8]) -> None:
        self._file.write(pixels.reshape(-1).data)
        self._note(pixels)

    def _note(self, pixels: NDArray[np.uint8]) -> None:
        self._hash.update(pixels.reshape(-1).data)
        self.prints.add(pixels)
        self.count += len(pixels)

    def _with_channels(self, pixels: NDArray[np.uint8], c: int) -> NDArray[np.uint8]:
        """Grey images with c channels. Raises UserError for others that have not got c."""
        if pixels.shape[1] not in (1, c):
            raise UserError(
                f"some pictures have {pixels.shape[1]} channels and others {c}; prepare them apart"
            )
        same = pixels if pixels.shape[1] == c else pixels.repeat(c, axis=1)
        return np.ascontiguousarray(same)

    def _widen(self, c: int) -> None:
        """Repeat each grey image into c channels."""
        self._rewrite(lambda _, pixels: self._with_channels(pixels, c))

    def _rewrite(self, change: Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]) -> None:
        """Change the images, of which the first is told, in a file that takes this one's place."""
        other = ImageWriter(self.path.with_suffix(".changed"), self.size)
        other._file.truncate(0)
        length = at_once(CHUNK, self._bytes, CHUNK_BYTES)
        for first in range(0, self.count, length):
            some = np.arange(first, min(first + length, self.count))
            other.append(change(first, self.read(some)))
        self._file.close()
        other.path.replace(self.path)
        other.path = self.path
        self.__dict__ = other.__dict__
