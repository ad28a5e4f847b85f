"""Arrays as pictures: which axis is which, and what the values mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from safelight.data.decode import MAX_PIXELS
from safelight.errors import UserError

Pixels = NDArray[np.uint8]
CHUNK_BYTES = 4 * 2**20  # of an array at a time
COLOURS = (1, 3)  # channels that any picture may have
CAMERAS = (2**10 - 1, 2**12 - 1, 2**14 - 1)  # the levels of their sensors, kept in 16 bits
FEW_BITS = CAMERAS[-1]
HALF = 1 / 510  # of one level of 0 to 1: what rounds to black or white all the same


class Rows(Protocol):
    """n pictures (n, c, h, w), uint8, wherever they are."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    def read(self, positions: NDArray[np.int64]) -> Pixels:
        """(m, c, h, w); the positions rise."""
        ...


class Raw(Protocol):
    """An array as it was given or stored, of which some rows are read at a time."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """These rows; the positions rise."""
        ...


@dataclass(frozen=True)
class Held:
    """An array in memory, of any shape."""

    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        return self.values[positions]


# Where the axes of (n, c, h, w) are found.
Axes = tuple[int, ...]
GREY, LAST, FIRST = (0, 1, 2), (0, 3, 1, 2), (0, 1, 2, 3)
Levels = Callable[[NDArray[Any]], Pixels]


@dataclass(frozen=True)
class Images:
    """Rows of an array whose axes and values are understood."""

    raw: Raw
    axes: Axes
    levels: Levels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        found = [self.raw.shape[axis] for axis in self.axes]
        n, c, h, w = found if len(found) == 4 else (found[0], 1, *found[1:])
        return n, c, h, w

    def read(self, positions: NDArray[np.int64]) -> Pixels:
        pixels = self.levels(self.raw.read(positions)).transpose(self.axes)
        return np.ascontiguousarray(pixels.reshape(len(positions), *self.shape[1:]))


def understood(raw: Raw, what: str) -> Images:
    """The pictures in an array; raises UserError where it could mean two things, or nothing.

    what: the array, as it is told.
    """
    return all_understood({what: raw})[0]


def all_understood(arrays: Mapping[str, Raw]) -> list[Images]:
    """The same of the parts of one set: a number means the same in all that hold such numbers."""
    axes = [_axes_of_pictures(raw, what) for what, raw in arrays.items()]
    alike: dict[str, dict[str, Raw]] = {}
    for what, raw in arrays.items():
        alike.setdefault(_numbers(raw.dtype), {})[what] = raw
    levels = {numbers: levels_of(some) for numbers, some in alike.items()}
    pairs = zip(arrays.values(), axes, strict=True)
    return [Images(raw, order, levels[_numbers(raw.dtype)]) for raw, order in pairs]


def _numbers(dtype: np.dtype[Any]) -> str:
    """What one means depends on the bits of whole numbers only."""
    return "f" if dtype.kind == "f" else dtype.name


def _axes_of_pictures(raw: Raw, what: str) -> Axes:
    axes = axes_of(raw.shape, what)
    _, _, h, w = Images(raw, axes, _of_bytes).shape
    if h * w > MAX_PIXELS:
        raise UserError(
            f"{what} has pictures of {w}x{h}, more than {MAX_PIXELS:,} pixels; cut them"
        )
    return axes


def axes_of(shape: tuple[int, ...], what: str) -> Axes:
    """(n, h, w), (n, h, w, c) or (n, c, h, w); a picture has fewer channels than pixels a side."""
    if len(shape) == 3 and shape[0] == 3 and shape[-1] > 4:
        raise UserError(
            f"{what} has the shape {shape}, which could be three grey pictures or one in colour; "
            "give (n, 1, h, w) or (1, 3, h, w)"
        )
    if len(shape) == 3 and shape[-1] > 4 and min(shape) > 0:
        return GREY
    fits = [axes for axes in (LAST, FIRST) if len(shape) == 4 and _plausible(shape, axes)]
    if len(fits) == 1 and shape[0]:
        return fits[0]
    if len(shape) != 4 or 0 in shape:
        raise UserError(
            f"{what} has the shape {shape}, which is no stack of pictures; give (n, h, w), "
            "(n, h, w, c) or (n, c, h, w)"
        )
    raise UserError(
        f"{what} has the shape {shape}, where the channels could be "
        f"{'the second number or the last' if fits else 'neither the second number nor the last'}; "
        "give (n, c, h, w) with fewer channels than pixels a side, or (n, h, w) of one channel"
    )


def _plausible(shape: tuple[int, ...], axes: Axes) -> bool:
    _, c, h, w = (shape[axis] for axis in axes)
    return 0 < c < min(h, w) or (c in COLOURS and min(h, w) > 0)


def levels_of(arrays: Mapping[str, Raw]) -> Levels:
    """What makes 0..255 of the values; all of them are looked at where that decides.

    arrays: of numbers of one kind, by what they are as it is told.
    """
    dtype = next(iter(arrays.values())).dtype
    if dtype.kind == "b":
        return _of_truth
    what = " and ".join(arrays)
    if dtype.kind not in "uif":
        raise UserError(f"{what} holds {dtype}, which are no levels of grey or colour; give uint8")
    ranges = [extremes(raw, name) for name, raw in arrays.items()]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return _fractions(low, high, what) if dtype.kind == "f" else _whole(dtype, low, high, what)


def _whole(dtype: np.dtype[Any], low: float, high: float, what: str) -> Levels:
    """Whole numbers: 8 bits, or 16 of uint16. A range that fits another meaning is refused."""
    if high <= 1 and low >= 0:
        raise UserError(
            f"{what} holds only 0 and 1, which would all be black; give them as bool, or times 255"
        )
    if dtype == np.uint16:
        if high <= 255:
            raise UserError(
                f"{what} is uint16 and goes up to {high:g} of 65535, which is nearly black; give "
                "uint8 if these are levels of 255"
            )
        if high <= FEW_BITS:
            top = next(top for top in CAMERAS if high <= top)
            raise UserError(
                f"{what} is uint16 and goes up to {high:g} of 65535, which is dark, and as many as "
                f"{top.bit_length()} bits hold; give array / {top}, or array / 65535 if it is dark"
            )
        return _of_sixteen_bits
    if low < 0 or high > 255:
        raise UserError(
            f"{what} is {dtype} and goes from {low:g} to {high:g}; give uint8 from 0 to 255, "
            "uint16 from 0 to 65535, or numbers from 0 to 1"
        )
    return _of_bytes


def _fractions(low: float, high: float, what: str) -> Levels:
    if -0.5 - HALF <= low < -HALF and high <= 0.5 + HALF:
        raise UserError(
            f"{what} holds numbers from {low:g} to {high:g}, which may be from -0.5 to 0.5 or from "
            "-1 to 1; give array + 0.5, or (array + 1) / 2"
        )
    if low >= -HALF and high <= 1 + HALF:
        return _of_unit
    if -1 - 2 * HALF <= low < 0 and high <= 1 + 2 * HALF:
        return _of_signed
    remedy = "divide by 255, or give uint8" if low >= 0 and high <= 255.5 else "rescale them"
    raise UserError(
        f"{what} holds numbers from {low:g} to {high:g}, and pictures go from 0 to 1 or from -1 "
        f"to 1; {remedy}"
    )


def extremes(raw: Raw, what: str) -> tuple[float, float]:
    """The least and the largest value; raises UserError for what is no number.

    Of uint8 and uint16 no more is read than what tells which they are.
    """
    low, high = np.inf, -np.inf
    enough = (
        {1: 1, 2: FEW_BITS}.get(raw.dtype.itemsize, np.inf) if raw.dtype.kind == "u" else np.inf
    )
    for start, values in chunks(raw):
        if raw.dtype.kind == "f" and not np.isfinite(values).all():
            whole = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            raise UserError(
                f"{what} holds NaN or infinity, first in picture {start + int(whole.argmin())}; "
                "leave such pictures out"
            )
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if high > enough:
            break
    return low, high


def chunks(raw: Raw) -> Iterator[tuple[int, NDArray[Any]]]:
    """All rows, so many at a time that memory stays small; each with the position of its first."""
    row = max(1, int(np.prod(raw.shape[1:])) * raw.dtype.itemsize)
    length = max(1, CHUNK_BYTES // row)
    for start in range(0, raw.shape[0], length):
        yield start, raw.read(np.arange(start, min(start + length, raw.shape[0])))


def _of_truth(values: NDArray[Any]) -> Pixels:
    return values.astype(np.uint8) * np.uint8(255)


def _of_bytes(values: NDArray[Any]) -> Pixels:
    return values.astype(np.uint8)


def _of_sixteen_bits(values: NDArray[Any]) -> Pixels:
    """65535 -> 255, as a file of 16 bits is decoded."""
    return ((values.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)


def _of_unit(values: NDArray[Any]) -> Pixels:
    return np.rint(values.astype(np.float64) * 255).clip(0, 255).astype(np.uint8)


def _of_signed(values: NDArray[Any]) -> Pixels:
    return np.rint(values.astype(np.float64) * 127.5 + 127.5).clip(0, 255).astype(np.uint8)


def bytes_of(pixels: Pixels) -> Images:
    """Those that are as they are to be: (n, c, h, w)."""
    return Images(Held(pixels), FIRST, _of_bytes)
