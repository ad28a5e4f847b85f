"""Images as the one currency: whatever makes them, they are uint8 of shape (b, c, h, w)."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from safelight.files import writing

DISPLAY = 64  # pixels of a screen for the height of an image in a labelled sheet
# Of Pillow's settings the quickest that makes no longer files: they take two thirds to four fifths
# of its usual one's time, and 1 % more bytes at the most (benchmarks/export.py).
PNG = {"format": "PNG", "compress_level": 1, "compress_type": zlib.Z_RLE}
COLOURS = {1: "grey", 3: "colour"}
Pixels = NDArray[np.uint8]  # (..., c, h, w)
Tell = Callable[[float], object]  # is told how many images more there are, parts of one included


@runtime_checkable
class ImageSource(Protocol):
    """Anything that images come from: a cache, a folder, a diffusion model, a GAN."""

    @property
    def name(self) -> str:
        """How a person calls it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides its images; equal fingerprints mean equal images."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of each image."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes; empty where it has none."""
        ...

    @property
    def count(self) -> int | None:
        """How many images there are; None where any number can be made."""
        ...

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        """The images of these seeds: uint8, (b, c, h, w).

        A model draws image i from seeds[i] alone, given labels[i]. Stored pictures take seeds as
        positions in 0..count-1 and ignore `labels`.
        """
        ...

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        """The class of each of these images, int64 (b,); None where there are no classes.

        A model that was trained on classes takes them in turn: seed modulo their number.
        """
        ...


@runtime_checkable
class Developing(ImageSource, Protocol):
    """A source whose images come about step by step."""

    def develop(
        self, seeds: Sequence[int], labels: Tensor | None, frames: int
    ) -> tuple[list[float], Tensor, Tensor]:
        """Noise levels sigma/alpha (f), x_t and the guesses of x_0 (f, b, c, h, w) uint8."""
        ...


@runtime_checkable
class Gradual(ImageSource, Protocol):
    """A source that tells how far it is while it draws."""

    def gradually(self, seeds: Sequence[int], labels: Tensor | None, tell: Tell) -> Tensor:
        """As `images`; what is told comes to len(seeds) in all."""
        ...


@runtime_checkable
class Restoring(ImageSource, Protocol):
    """A source whose images are pictures that were there before."""

    @property
    def pictures(self) -> ImageSource:
        """Those pictures: image i came of picture seeds[i]."""
        ...


def in_turn(classes: Sequence[str], seeds: Sequence[int]) -> Tensor | None:
    """The class that a model draws of each seed, int64 (b,): seed modulo their number."""
    return torch.tensor([seed % len(classes) for seed in seeds]) if classes else None


def gradually(
    source: ImageSource, seeds: Sequence[int], labels: Tensor | None, tell: Tell
) -> Tensor:
    """The images of these seeds, told as they come about, or where a source can't all at once."""
    if isinstance(source, Gradual):
        return source.gradually(seeds, labels, tell)
    images = source.images(seeds, labels)
    tell(len(images))
    return images


def held(source: ImageSource, seeds: Sequence[int]) -> list[int]:
    """Those of the seeds of which there is an image: a model draws all, stored pictures end."""
    return [seed for seed in seeds if source.count is None or seed < source.count]


def pieces(count: int, size: int) -> list[slice]:
    """0..count-1 in as few runs of at most `size` as there can be, all about as long."""
    n = -(-count // size)
    ends = [count * i // n for i in range(1, n + 1)]
    return [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]


def quantise(x: Tensor) -> Tensor:
    """[-1, 1] -> uint8, rounded to the nearest level: truncating would darken by half a level."""
    return (x.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def dequantise(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]; `quantise` gives the same levels back."""
    x = images.to(torch.float32, copy=True)
    return x.div_(127.5).sub_(1.0)  # in place: twice as fast


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """10 log10(4 / mean |x - y|²) in decibels, (b,), of images (b, c, h, w) in [-1, 1].

    At most 100: images that are the same would have infinitely many, and so would a mean with them.
    """
    error = (x - y).square().flatten(1).mean(1)
    return 10 * (4 / error.clamp(min=4e-10)).log10()


def spelled(shape: tuple[int, int, int]) -> str:
    """(c, h, w) -> "3x64x48": channels, then width and height as picture files are described."""
    c, h, w = shape
    return f"{c}x{w}x{h}"


def size_of(shape: tuple[int, int, int]) -> str:
    """(c, h, w) -> "64x48": width and height, as picture files are described."""
    return f"{shape[2]}x{shape[1]}"


def described(shape: tuple[int, int, int]) -> str:
    """(c, h, w) -> "64x48 grey", "64x48 colour", or "64x48 of 5 channels"."""
    return f"{size_of(shape)} {COLOURS.get(shape[0], f'of {shape[0]} channels')}"


def in_colour(images: Pixels) -> Pixels:
    """What a screen can show of (..., c, h, w): c is 1 or 3 afterwards.

    Two channels are magenta and green, as microscopists show them: where they are equal, it is
    grey. Of more than three the first three are red, green and blue.
    """
    c = images.shape[-3]
    if c == 2:
        return images[..., [0, 1, 0], :, :]
    return images if c == 1 else images[..., :3, :, :]


def to_pil(image: Tensor | Pixels) -> Image.Image:
    """(c, h, w) uint8 -> a Pillow image, in grey or in colour (see `in_colour`)."""
    array = in_colour(np.asarray(image))
    return Image.fromarray(array[0] if array.shape[0] == 1 else array.transpose(1, 2, 0))


def as_files(image: Tensor | Pixels, shown: bool = True) -> Mapping[str, bytes]:
    """(c, h, w) uint8 -> the content of the files that hold it, by their endings.

    A PNG; where that can't hold the channels a .npy holds them, and the PNG shows some of them.
    shown: false leaves such a PNG out.
    """
    array = np.asarray(image)
    if len(array) in (1, 3):
        return {".png": _png(array)}
    exact = io.BytesIO()
    np.save(exact, array, allow_pickle=False)
    return {".npy": exact.getvalue(), **({".png": _png(array)} if shown else {})}


def _png(image: Pixels) -> bytes:
    packed = io.BytesIO()
    to_pil(image).save(packed, **PNG)  # type: ignore[arg-type]
    return packed.getvalue()


def contact_sheet(
    images: Tensor | Pixels, columns: int, gap: int = 1, scale: int = 1, background: int = 255
) -> Image.Image:
    """Tile (n, c, h, w) uint8 images row by row, each enlarged `scale` times without smoothing."""
    array = in_colour(np.asarray(images))
    n, c, h, w = array.shape
    rows = -(-n // columns)
    height, width = rows * (h * scale + gap) - gap, columns * (w * scale + gap) - gap
    sheet = np.full((c, height, width), background, dtype=np.uint8)
    for i, image in enumerate(array):
        top, left = (i // columns) * (h * scale + gap), (i % columns) * (w * scale + gap)
        enlarged = image.repeat(scale, axis=1).repeat(scale, axis=2)
        sheet[:, top : top + h * scale, left : left + w * scale] = enlarged
    return to_pil(sheet)


def labelled_sheet(
    rows: Sequence[tuple[str, Tensor | Pixels]], scale: int = 1, gap: int = 2
) -> Image.Image:
    """Rows of (n, c, h, w) uint8 images, each row named at its left; rows may differ in length."""
    font = ImageFont.load_default(size=13)
    strips = [contact_sheet(images, len(images), gap, scale).convert("RGB") for _, images in rows]
    margin = max(math.ceil(font.getlength(name)) for name, _ in rows) + 12
    height = max(strips[0].height, 15) + gap
    width = margin + max(strip.width for strip in strips) + gap
    sheet = Image.new("RGB", (width, len(rows) * height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, ((name, _), strip) in enumerate(zip(rows, strips, strict=True)):
        top = gap + i * height
        sheet.paste(strip, (margin, top))
        draw.text((margin - 6, top + height // 2), name, "black", font, anchor="rm")
    return sheet


def display_scale(height: int) -> int:
    """How many times to enlarge images of this height so that one sees something."""
    return max(1, DISPLAY // height)


def save_png(image: Image.Image, path: Path) -> None:
    with writing(path) as temporary:
        image.save(temporary, **PNG)  # type: ignore[arg-type]
