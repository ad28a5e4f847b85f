"""Colours that a file describes by an ICC profile or a gamma -> sRGB.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

SAME = 2  # levels of 255: a profile that changes none of STEPS^3 colours by more is sRGB's
STEPS = 9
SRGB_GAMMA = 0.45455  # what PNG's chunk gAMA says of sRGB
SAME_GAMMA = 0.05  # share by which a gamma may differ and mean the same, as in libpng

Convert = Callable[[Image.Image], Image.Image]


def from_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """Mode L stays L, RGB and CMYK become RGB; None where `profile` changes nothing.

    It changes nothing where it is sRGB's, damaged, or one for other pixels than these. Relative
    colorimetric with black point compensation: what sRGB can show keeps its colour, white stays
    white, and black becomes black.
    """
    convert = _conversion(profile, image.mode)
    return None if convert is None else convert(image)


def from_gamma(image: Image.Image, gamma: float) -> Image.Image | None:
    """Of mode L or RGB; None where the gamma is sRGB's.

    A level v in [0, 1] stands for the light v^(1/gamma), whatever the picture was made of.
    """
    if gamma <= 0 or abs(gamma / SRGB_GAMMA - 1) <= SAME_GAMMA:
        return None
    return image.point(_levels(gamma) * len(image.getbands()))


def from_lab(image: Image.Image) -> Image.Image:
    """Mode LAB, which is seen in the light D50 of print, as Photoshop writes it."""
    return _lab()(image)


def _levels(gamma: float) -> list[int]:
    """The level in sRGB of each level; IEC 61966-2-1."""
    light = (np.arange(256) / 255) ** (1 / gamma)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    levels: list[int] = np.rint(encoded * 255).astype(int).tolist()
    return levels


@functools.lru_cache(maxsize=16)  # a camera writes the same one into every file
def _conversion(profile: bytes, mode: str) -> Convert | None:
    from PIL import ImageCms  # few pictures need it

    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        kind = given.profile.xcolor_space.strip()
        if (mode, kind) not in CONVERSIONS:
            return None
        return CONVERSIONS[mode, kind](_transform(given, {"GRAY": "L"}.get(kind, kind)))
    except (ImageCms.PyCMSError, OSError):  # damaged: the pixels may still be good
        return None


@functools.lru_cache(maxsize=1)
def _lab() -> Convert:
    from PIL import ImageCms

    return _transform(ImageCms.createProfile("LAB"), "LAB")


def _transform(profile: Any, mode: str) -> Convert:
    """From pixels of this mode, as the profile means them, to sRGB."""
    from PIL import ImageCms

    return ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    ).apply


def _of_rgb(convert: Convert) -> Convert | None:
    steps = np.linspace(0, 255, STEPS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return None if _same(cube, np.asarray(convert(Image.fromarray(cube)))) else convert


def _of_grey(convert: Convert) -> Convert | None:
    """By a table of the 256 levels: what is grey stays grey."""
    ramp = np.arange(256, dtype=np.uint8)[None]
    levels = np.asarray(convert(Image.fromarray(ramp)).convert("L"))
    return None if _same(ramp, levels) else lambda image: image.point(levels[0].tolist())


def _of_grey_as_rgb(convert: Convert) -> Convert | None:
    """A grey picture with a profile for colour means three equal channels."""
    return _of_grey(lambda image: convert(image.convert("RGB")))


def _same(before: np.ndarray, after: np.ndarray) -> bool:
    return int(np.abs(before.astype(int) - after).max()) <= SAME


CONVERSIONS: dict[tuple[str, str], Callable[[Convert], Convert | None]] = {
    ("RGB", "RGB"): _of_rgb,
    ("L", "GRAY"): _of_grey,
    ("L", "RGB"): _of_grey_as_rgb,
    ("CMYK", "CMYK"): lambda convert: convert,
}
