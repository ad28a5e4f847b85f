"""One picture file -> uint8 pixels.

The processes that decode import this module, so it must not import torch: a process with torch
takes seconds to start and hundreds of megabytes to hold.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from safelight.data import containers, jpegs
from safelight.data.changes import Change
from safelight.data.colour import MODES, plain, stored_as
from safelight.data.fitting import fitted, framed, refuse_misfit
from safelight.data.look import Look, RejectedPicture, Size, said
from safelight.errors import UserError

# All that pixels may depend on.
VERSIONS = {
    "pillow": PIL.__version__,
    "simplejpeg": simplejpeg.__version__,
    "numpy": np.__version__,
}

# A picture is decoded whole: 89 million pixels are 270 MB. Pillow warns from 89.5 million on.
MAX_PIXELS = 89_000_000
TOO_LITTLE_MEMORY = (
    "there is too little memory to decode a picture; close other programs or use --workers 1, and "
    "run it again"
)
MAX_BYTES = 256 * 2**20  # of one file: it is read whole

# Only plain pixel formats: Pillow would start Ghostscript for an EPS file named .jpg.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset(
    f".{ending}"
    for kind in (
        "jpg jpeg jpe jfif mpo",
        "png apng gif bmp webp",
        "tif tiff",
        "ppm pgm pbm pnm",
        "heic heif hif avif",
    )
    for ending in kind.split()
)
CALLED = {"MPO": "JPEG", "HEIF": "HEIC", "WEBP": "WebP"}  # where Pillow calls it something else

# JPEG can decode at 1/2, 1/4 or 1/8. Where that leaves at least four times the wanted size, the
# outcome is within half a level on average; at three times it would be within 0.8.
# The other filters take each of the file's pixels into one new one, or into none.
DRAFT_MARGIN = 4
DRAFTED = frozenset({"lanczos", "bicubic", "bilinear"})

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
# By which the picture's right or lower end, in the file, comes to lie left, and by which above.
TO_THE_LEFT = {UPRIGHT[tag] for tag in (2, 3, 6, 7)}
TO_THE_TOP = {UPRIGHT[tag] for tag in (3, 4, 7, 8)}


class Decoded(NamedTuple):
    """A picture as it was wanted, its own (w, h), its format, and what had to be changed."""

    image: Image.Image
    own: Size
    format: str = ""
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class Batch:
    """What a run of files became.

    `pixels` is (m, c, h, w) uint8 with one row for each file that is not rejected;
    `found` holds each file's own width and height, or the reason why it was rejected;
    `made` holds the format of each that is not, and what had to be changed, as "JPEG,turned".
    """

    pixels: NDArray[np.uint8]
    found: Sequence[Size | str]
    made: Sequence[str]


def decode(data: bytes, look: Look) -> Decoded:
    """The picture in `data` as an image of mode L or RGB.

    Raises RejectedPicture, and UserError where there is too little memory: the picture may be good.
    """
    if not data:
        raise RejectedPicture("empty file")
    try:
        quick = _at_once(data, look)
        if quick is not None:
            return quick
        with _opened(data) as image:
            return _made(image, look)
    except RejectedPicture:
        raise
    except UnidentifiedImageError as error:
        raise RejectedPicture(containers.what_else(data)) from error
    except Image.DecompressionBombError as error:
        raise RejectedPicture(f"more than {MAX_PIXELS // 10**6} million pixels") from error
    except MemoryError as error:
        raise UserError(TOO_LITTLE_MEMORY) from error
    # Pillow's readers raise nearly every exception there is on damaged files.
    except Exception as error:
        raise RejectedPicture(f"damaged: {str(error) or type(error).__name__}") from error


def _opened(data: bytes) -> ImageFile:
    formats = (containers.reader_of(data),) if containers.is_one(data) else FORMATS
    return Image.open(io.BytesIO(data), formats=formats)


def _at_once(data: bytes, look: Look) -> Decoded | None:
    """As `_made`; None where Pillow has more to look at, or would decode it smaller."""
    found = jpegs.plain(data)
    if found is None:
        return None
    own, mode = found
    if own[0] * own[1] > MAX_PIXELS:
        return None
    refuse_misfit(own, look)
    frame = framed(own, look)
    if look.filter in DRAFTED and _is_larger(own, frame.size):
        return None
    image = jpegs.decoded(data, mode)
    if image is None:
        return None
    wanted = MODES.get(look.channels, mode)
    colours = image if mode == wanted else image.convert(wanted)
    return Decoded(fitted(colours, frame, look), own, "JPEG")


def _made(image: ImageFile, look: Look) -> Decoded:
    _refuse_huge(image.size)
    stored, animated = stored_as(image), _is_animated(image)
    turned, turn, own = _as_it_lies(image)
    refuse_misfit(own, look)
    frame = framed(own, look)
    reduction = _draft(image, _upright(frame.size, turn)) if look.filter in DRAFTED else 1
    image.load()
    colours, changes = plain(image, look, stored)
    if turn is not None:  # before it is resized, which rounds one direction before the other
        colours = colours.transpose(turn)
    ends = (turn in TO_THE_LEFT, turn in TO_THE_TOP)
    small = fitted(colours, frame, look, reduction, ends)
    if turned:
        changes.append(Change.TURNED)
    if animated:
        changes.append(Change.FIRST_FRAME)
    name = image.format or ""
    return Decoded(small, own, CALLED.get(name, name), changes)


def own_size(read: Callable[[str], bytes], key: str) -> Size | None:
    """(w, h) from the file's header; None where `decode` would reject it for what it is."""
    try:
        with _opened(read(key)) as image:
            _refuse_huge(image.size)
            return _as_it_lies(image)[2]
    except Exception:  # `decode` will say why
        return None


def readable_size(read: Callable[[str], bytes], key: str) -> Size | None:
    """As `own_size`, but None too where the rest of the file can't be decoded."""
    own = own_size(read, key)
    if own is None or isinstance(decode_batch(read, [key], Look(own)).found[0], str):
        return None
    return own


def _refuse_huge(size: Size) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        millions = MAX_PIXELS // 10**6
        raise RejectedPicture(f"{said(size)} is more than {millions} million pixels")


def _draft(image: Image.Image, size: Size) -> int:
    """Let JPEG decode what becomes `size` at 1/2, 1/4 or 1/8; returns 2, 4, 8, or else 1."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or not _is_larger(image.size, size):
        return 1
    width = image.width
    drafted = image.draft(None, (DRAFT_MARGIN * size[0], DRAFT_MARGIN * size[1]))
    return 1 if drafted is None else round(width / drafted[1][2])


def _is_larger(own: Size, size: Size) -> bool:
    """By so much that a JPEG may be decoded smaller."""
    return own[0] > DRAFT_MARGIN * size[0] and own[1] > DRAFT_MARGIN * size[1]


def _is_animated(image: Image.Image) -> bool:
    """Or of several pages. (The further pictures in a phone's JPEG are not for looking at.)"""
    if image.format in ("JPEG", "MPO"):
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame: the first may still be good
        return False


def _as_it_lies(image: ImageFile) -> tuple[bool, Image.Transpose | None, Size]:
    """Whether it was stored otherwise than upright, what turns it yet, and its upright (w, h)."""
    turn = _turn(image)  # this may load it
    if image.format == "TIFF" and turn is not None:
        image.load()  # which turns it, whatever size Pillow gave before
        return True, None, image.size
    turned = turn is not None or bool(image.info.get("original_orientation"))  # by pillow-heif
    return turned, turn, _upright(image.size, turn)


def _upright(size: Size, turn: Image.Transpose | None) -> Size:
    return size[::-1] if turn in SIDEWAYS else size


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the picture upright, as its EXIF orientation says."""
    if image.format == "JPEG" and "exif" not in image.info and "xmp" not in image.info:
        return None  # sooner than Pillow says it: JPEGs of sets have none
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF data: the pixels may still be good
        return None


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
    with warnings.catch_warnings():  # Pillow's warnings say nothing that the outcome does not
        warnings.simplefilter("ignore")
        return batch_of((partial(_decode_file, read, key, look) for key in keys), look)


def batch_of(attempts: Iterable[Callable[[], Decoded]], look: Look) -> Batch:
    """What the attempts give, each of which may raise RejectedPicture instead."""
    images: list[Image.Image] = []
    found: list[Size | str] = []
    made: list[str] = []
    for attempt in attempts:
        try:
            one = attempt()
        except RejectedPicture as reason:
            found.append(str(reason))
            continue
        images.append(one.image)
        found.append(one.own)
        made.append(",".join((one.format, *one.changes)))
    return Batch(pixels_of(images, look.size), found, made)


def _decode_file(read: Callable[[str], bytes], key: str, look: Look) -> Decoded:
    return decode(_bytes_of(read, key), look)


def _bytes_of(read: Callable[[str], bytes], key: str) -> bytes:
    try:
        return read(key)
    except RejectedPicture:
        raise
    except PermissionError as error:
        raise RejectedPicture("no permission to read it") from error
    except FileNotFoundError as error:
        raise RejectedPicture("not there any more, or a broken link") from error
    except MemoryError as error:
        raise UserError(TOO_LITTLE_MEMORY) from error
    # A damaged archive raises BadZipFile, zlib.error, EOFError, NotImplementedError and others.
    except Exception as error:
        raise RejectedPicture(f"cannot be read: {str(error) or type(error).__name__}") from error
