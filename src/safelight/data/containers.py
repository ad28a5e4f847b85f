"""What a file is, by its first bytes: the containers of phones' pictures, and what is no picture.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

from PIL import features

from safelight.data.look import RejectedPicture

# ISO 14496-12: a box of 4 bytes length, "ftyp", the main brand, a version, and further brands.
AVIF = frozenset({b"avif", b"avis"})
HEIF = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())

LONGEST_BOX = 4096  # bytes of the first box: a damaged one may say that it is the whole file

BEGINNINGS: dict[bytes, str] = {  # in small letters
    b"<!doctype html": "a web page, not a picture",
    b"<html": "a web page, not a picture",
    b"%pdf": "a PDF, not a picture",
    b"ii*\0": "a TIFF of a kind that can't be read; save it as PNG",
    b"mm\0*": "a TIFF of a kind that can't be read; save it as PNG",
}


def is_one(data: bytes) -> bool:
    """Whether it is a container of HEIC, AVIF or a video."""
    return data[4:8] == b"ftyp"


def reader_of(data: bytes) -> str:
    """Pillow's name of the format; its reader is there afterwards. Raises RejectedPicture."""
    box = data[8 : min(int.from_bytes(data[:4], "big"), LONGEST_BOX)]
    brands = {box[i : i + 4] for i in range(0, len(box), 4)}
    if brands & AVIF:
        return _avif()
    if brands & HEIF:
        return _heif()
    raise RejectedPicture("a video, not a picture")


def _avif() -> str:
    if not features.check("avif"):
        raise RejectedPicture("AVIF needs a newer Pillow: pip install --upgrade pillow")
    return "AVIF"


def _heif() -> str:
    """Loaded for the first such file only: few sources have any."""
    try:
        import pillow_heif
    except ImportError as error:
        raise RejectedPicture("HEIC needs pillow-heif: pip install 'safelight[heic]'") from error
    pillow_heif.options.DECODE_THREADS = 1  # each core has a process of its own that decodes
    pillow_heif.register_heif_opener()
    return "HEIF"


def what_else(data: bytes) -> str:
    """The reason why a file that Pillow does not know is no picture."""
    start = data[:64].lstrip().lower()
    known = (what for beginning, what in BEGINNINGS.items() if start.startswith(beginning))
    return next(known, "not a picture in a format that can be read")
