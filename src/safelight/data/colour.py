"""Pixels as any file holds them -> 8 bits, in sRGB, with nothing transparent: mode L or RGB.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from safelight.data.changes import Change
from safelight.data.look import Look, RejectedPicture, Size
from safelight.data.srgb import from_gamma, from_lab, from_profile

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
DEEP_FORMATS = frozenset({"PNG", "PPM"})  # here Pillow's 32-bit mode holds 0..65535
CONVERTED = {"CMYK": Change.CMYK, "LAB": Change.LAB}
MODES = {"grey": "L", "rgb": "RGB"}  # of what is asked for, where it is not auto
BITS, PHOTOMETRIC, PLANES = 258, 262, 284  # tags of TIFF

Layers = tuple[Image.Image, Image.Image | None]


def plain(image: Image.Image, look: Look, stored: str) -> tuple[Image.Image, list[Change]]:
    """Mode L or RGB as `look` wants it, and what had to be changed for that.

    stored: how the file holds the pixels, from `stored_as`. Raises RejectedPicture.
    """
    changes = [CONVERTED[image.mode]] if image.mode in CONVERTED else []
    if _is_deep(image, stored):
        changes.append(Change.DEEP)
    colours, alpha = _layers(image, stored)
    corrected = _corrected(colours, image.info)
    if corrected is not None and image.mode != "CMYK":
        changes.append(Change.PROFILE)
    if corrected is not None:
        colours = corrected
    elif colours.mode == "CMYK":  # without a profile, or one that can't be read: (1 - C)(1 - K)
        colours = colours.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        changes.append(Change.FLATTENED)
        colours = laid_over(colours, alpha, look)
    wanted = MODES.get(look.channels, colours.mode)
    return colours if colours.mode == wanted else colours.convert(wanted), changes


def laid_over(image: Image.Image, alpha: Image.Image, look: Look) -> Image.Image:
    """The picture over the background, which is seen where `alpha` is below 255."""
    below = backdrop(image.size, image.mode, look)
    below.paste(image if image.mode == below.mode else image.convert(below.mode), mask=alpha)
    return below


def backdrop(size: Size, mode: str, look: Look) -> Image.Image:
    """The background alone, in `mode` (L or RGB) unless that would lose its colour."""
    colour = Image.new("RGB", (1, 1), look.behind)
    grey = len(set(look.behind)) == 1 or look.channels == "grey"
    kept = colour.convert("L") if mode == "L" and grey else colour
    return kept.resize(size)


def stored_as(image: ImageFile) -> str:
    """Pillow's name for how the file holds the pixels, such as RGB;16B; before it is loaded."""
    told: Any = image.tile[0][3] if image.tile else ""
    name = told if isinstance(told, str) else str(told[0])
    of_ppm = image.format == "PPM" and isinstance(told, tuple)
    return f"{name};16" if of_ppm and told[-1] > 255 else name


def _is_deep(image: Image.Image, stored: str) -> bool:
    """Whether it has more than 8 bits a channel. (BMP's BGR;16 has 16 for all three.)"""
    return image.mode.startswith("I") or (";16" in stored and not stored.startswith("BGR"))


def _layers(image: Image.Image, stored: str) -> Layers:
    """Mode L, RGB or CMYK, and how opaque each pixel is where some may not be."""
    if image.format == "TIFF":
        _refuse_deep_planes(image)
    if image.mode in ("L", "RGB", "CMYK") and "transparency" not in image.info:
        return image, None
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in DEEP_FORMATS):
        return _from_sixteen_bits(image, stored)
    if image.mode in ("I", "F"):
        raise RejectedPicture("32-bit pixels have no known white; save it with 8 or 16 bits")
    if image.mode == "LAB":
        return from_lab(image), None
    _scale_key(image, stored)
    mode = "L" if image.mode in GREY_MODES or stored.startswith("LA") else "RGB"
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        layered = image.convert(f"{mode}A")
        return layered.convert(mode), layered.getchannel("A")
    return image.convert(mode), None


def _from_sixteen_bits(image: Image.Image, stored: str) -> Layers:
    """65535 -> 255. Pillow's own conversion would clip at 255 and leave a white picture."""
    white = 4095 if "12" in stored else 65535
    levels = np.asarray(image).astype(np.uint32)
    key = image.info.get("transparency")
    alpha = None if key is None else Image.fromarray(np.where(levels == key, 0, 255).astype("u1"))
    if _tag(image, PHOTOMETRIC) == 0:  # here 0 is white, which Pillow knows of 8 bits only
        levels = white - levels
    return Image.fromarray(((levels * 255 + white // 2) // white).astype(np.uint8)), alpha


def _scale_key(image: Image.Image, stored: str) -> None:
    """Pillow leaves PNG's one transparent colour as the file has it, and scales the pixels."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and ";16" in stored:
        raise RejectedPicture("a transparent colour of 16 bits can't be read; save it with 8 bits")
    if isinstance(key, int) and stored in ("L;2", "L;4"):
        image.info["transparency"] = key * 255 // (2 ** int(stored[-1]) - 1)


def _refuse_deep_planes(image: Image.Image) -> None:
    """Pillow would take each byte for a pixel."""
    if _tag(image, PLANES) == 2 and max(_tag(image, BITS) or (8,)) > 8:
        raise RejectedPicture("16 bits in separate planes can't be read; save it as PNG")


def _tag(image: Image.Image, tag: int) -> Any:
    """Of a TIFF; None elsewhere."""
    return getattr(image, "tag_v2", {}).get(tag)


def _corrected(image: Image.Image, info: dict[str | tuple[int, int], Any]) -> Image.Image | None:
    """In sRGB; None where it is so already, or nothing says what it is."""
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if profile:
        return from_profile(image, profile)
    if gamma and "srgb" not in info:
        return from_gamma(image, gamma)
    return None
