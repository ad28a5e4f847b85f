"""One picture file -> uint8 pixels.

The processes that decode import this module, so it must not import torch: a process with torch
takes seconds to start and hundreds of megabytes to hold.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from safelight.data.look import Channels, Look, Size

# A picture is decoded whole: 89 million pixels are 270 MB. Pillow warns from 89.5 million on.
MAX_PIXELS = 89_000_000
MAX_ASPECT = 10  # beyond it, the square in the middle shows next to nothing of the picture
MAX_BYTES = 256 * 2**20  # of one file: it is read whole

# Only plain pixel formats: Pillow would start Ghostscript for an EPS file named .jpg.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset(
    f".{ending}"
    for kind in ("jpg jpeg jpe jfif", "png apng gif bmp webp", "tif tiff", "ppm pgm pbm pnm")
    for ending in kind.split()
)

RESAMPLING = Image.Resampling.LANCZOS
RESIZE = "crop in the middle, then Pillow's antialiased Lanczos filter"
# JPEG can decode at 1/2, 1/4 or 1/8. Where that leaves at least four times the wanted size, the
# outcome is within half a level on average; at three times it would be within 0.8.
DRAFT_MARGIN = 4

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
DEEP_FORMATS = frozenset({"PNG", "PPM"})  # here Pillow's 32-bit mode holds 0..65535

UPRIGHT = {  # EXIF orientation (tag 274) -> what turns the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 274
SIDEWAYS = {turn for tag, turn in UPRIGHT.items() if tag >= 5}  # width and height change places


class RejectedPicture(Exception):
    """This file gives no picture; the message says why, in a few words."""


@dataclass(frozen=True)
class Batch:
    """What a run of files became.

    `pixels` is (m, c, h, w) uint8 with one row for each file that is not rejected;
    `found` holds each file's own width and height, or the reason why it was rejected.
    """

    pixels: NDArray[np.uint8]
    found: Sequence[Size | str]


def decode(data: bytes, look: Look) -> tuple[Image.Image, Size]:
    """The picture in `data` as an image of mode L or RGB that looks so, and its own (w, h).

    Raises RejectedPicture.
    """
    if not data:
        raise RejectedPicture("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_extremes(image.size)
            turn = _turn(image)
            found = image.size[::-1] if turn in SIDEWAYS else image.size
            # It is turned last, when it is small.
            size = look.size[::-1] if turn in SIDEWAYS else look.size
            extent = _draft(image, size)
            image.load()
            small = cropped(_eight_bits(image, look.channels), size, extent)
            return small if turn is None else small.transpose(turn), found
    except RejectedPicture:
        raise
    except UnidentifiedImageError as error:
        raise RejectedPicture("not a picture in a format that can be read") from error
    except Image.DecompressionBombError as error:
        raise RejectedPicture(f"more than {MAX_PIXELS // 10**6} million pixels") from error
    # Pillow's readers raise nearly every exception there is on damaged files.
    except Exception as error:
        raise RejectedPicture(f"damaged: {error or type(error).__name__}") from error


def own_size(read: Callable[[str], bytes], key: str) -> Size | None:
    """(w, h) from the file's header; None where `decode` would reject it for what it is."""
    try:
        with Image.open(io.BytesIO(read(key)), formats=FORMATS) as image:
            _refuse_extremes(image.size)
            return image.size[::-1] if _turn(image) in SIDEWAYS else image.size
    except Exception:  # `decode` will say why
        return None


def _refuse_extremes(size: Size) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        millions = MAX_PIXELS // 10**6
        raise RejectedPicture(f"{width}x{height} is more than {millions} million pixels")
    if max(size) > MAX_ASPECT * min(size):
        raise RejectedPicture(f"{width}x{height} is more than {MAX_ASPECT} times as long as wide")


def _draft(image: Image.Image, size: Size) -> tuple[float, float]:
    """Let JPEG decode large pictures small. Returns how far the picture reaches, in pixels.

    A reduced picture is rounded up to whole pixels: 227 at 1/2 are 114, of which 113.5 count.
    Without them it would be stretched, by up to several levels of grey at an edge.
    """
    least = (DRAFT_MARGIN * size[0], DRAFT_MARGIN * size[1])
    large = image.width > least[0] and image.height > least[1]
    if isinstance(image, JpegImagePlugin.JpegImageFile) and large:
        drafted = image.draft(None, least)
        if drafted is not None:
            return drafted[1][2], drafted[1][3]
    return image.size


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the picture upright, as its EXIF orientation says."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF data: the pixels may still be good
        return None


def _eight_bits(image: Image.Image, channels: Channels) -> Image.Image:
    """Mode L or RGB: alpha over white, 16 bits scaled to 8, palette and CMYK converted."""
    grey = image.mode in GREY_MODES
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in DEEP_FORMATS):
        image = _from_sixteen_bits(image)
    elif image.mode in ("I", "F"):
        raise RejectedPicture("32-bit pixels have no known white; save it with 8 or 16 bits")
    elif image.mode in ALPHA_MODES or "transparency" in image.info:
        image = _over_white(image, "L" if grey else "RGB")
    wanted = {"auto": "L" if grey else "RGB", "grey": "L", "rgb": "RGB"}[channels]
    return image if image.mode == wanted else image.convert(wanted)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """65535 -> 255. Pillow's own conversion would clip at 255 and leave a white picture."""
    levels = np.asarray(image).astype(np.int64)
    return Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))


def _over_white(image: Image.Image, mode: str) -> Image.Image:
    layered = image.convert("LA" if mode == "L" else "RGBA")
    white = Image.new(mode, image.size, "white")
    white.paste(layered.convert(mode), mask=layered.getchannel("A"))
    return white


def cropped(
    image: Image.Image, size: Size, extent: tuple[float, float] | None = None
) -> Image.Image:
    """The middle of `extent` in the shape of `size`, resized to it with antialiasing."""
    width, height = extent or image.size
    if (width, height) == size:
        return image
    wide = min(width, height * size[0] / size[1])
    high = min(height, width * size[1] / size[0])
    left, top = (width - wide) / 2, (height - high) / 2
    if (wide, high) == size:  # nothing to resize, so nothing to blur by half a pixel
        left, top = left // 1, top // 1
    return image.resize(size, RESAMPLING, box=(left, top, left + wide, top + high))


def image_of(pixels: NDArray[np.uint8]) -> Image.Image:
    """(c, h, w) with c = 1 or 3 -> mode L or RGB."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def pixels_of(images: Sequence[Image.Image], size: Size) -> NDArray[np.uint8]:
    """(m, c, h, w); c is 3 as soon as one of the images has colour."""
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    c = len(mode)
    data = b"".join(
        (image if image.mode == mode else image.convert(mode)).tobytes() for image in images
    )
    stacked = np.frombuffer(data, np.uint8).reshape(len(images), size[1], size[0], c)
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def decode_batch(read: Callable[[str], bytes], keys: Sequence[str], look: Look) -> Batch:
    """Decode these files in order; a file that gives no picture is a reason in `found`."""
    images: list[Image.Image] = []
    found: list[Size | str] = []
    with warnings.catch_warnings():  # Pillow's warnings say nothing that the outcome does not
        warnings.simplefilter("ignore")
        for key in keys:
            try:
                image, own = decode(_bytes_of(read, key), look)
                images.append(image)
                found.append(own)
            except RejectedPicture as reason:
                found.append(str(reason))
    return Batch(pixels_of(images, look.size), found)


def _bytes_of(read: Callable[[str], bytes], key: str) -> bytes:
    try:
        return read(key)
    except PermissionError as error:
        raise RejectedPicture("no permission to read it") from error
    except FileNotFoundError as error:
        raise RejectedPicture("not there any more, or a broken link") from error
    # A damaged archive raises BadZipFile, zlib.error, EOFError, NotImplementedError and others.
    except Exception as error:
        raise RejectedPicture(f"cannot be read: {error or type(error).__name__}") from error
