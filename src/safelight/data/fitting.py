"""A picture of any size -> one of the size that is wanted, by a crop or between bars.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from safelight.data.colour import backdrop
from safelight.data.look import FILTERS, Look, RejectedPicture, Size, said

MAX_STRETCH = 10  # beyond it, next to nothing of the picture or of the frame would show


RESAMPLING = {name: Image.Resampling[name.upper()] for name in FILTERS}


class Frame(NamedTuple):
    """The middle `part` of a picture of `own` size (both in its pixels) becomes `size`."""

    own: Size
    part: tuple[float, float]
    size: Size


def refuse_misfit(own: Size, look: Look) -> None:
    """Raises RejectedPicture for one that is too long, or too small where none is enlarged."""
    (w, h), (width, height) = own, look.size
    if w * height > MAX_STRETCH * h * width or h * width > MAX_STRETCH * w * height:
        what = {
            "crop": f"of {said(own)} less than a tenth would show in {said(look.size)}",
            "letterbox": f"{said(own)} would fill less than a tenth of {said(look.size)}",
        }
        raise RejectedPicture(what[look.fit])
    if look.fit == "crop" and not look.enlarge and (w < width or h < height):
        raise RejectedPicture(f"{said(own)} is smaller than {said(look.size)}; none is enlarged")


def framed(own: Size, look: Look) -> Frame:
    """What `look` keeps of a picture of this size, and how large it becomes."""
    (w, h), (width, height) = own, look.size
    if look.fit == "crop":
        return Frame(own, (min(w, h * width / height), min(h, w * height / width)), look.size)
    scale = min(width / w, height / h)
    if not look.enlarge:
        scale = min(scale, 1)
    return Frame(own, own, (max(1, round(w * scale)), max(1, round(h * scale))))


def enlarged(own: NDArray[np.int32], look: Look) -> int:
    """How many of the pictures of these sizes, (n, 2), are scaled up."""
    smaller = own < look.size
    those = smaller.any(1) if look.fit == "crop" else smaller.all(1)
    return int(those.sum()) if look.enlarge else 0


def fitted(
    image: Image.Image,
    frame: Frame,
    look: Look,
    reduction: int = 1,
    ends: tuple[bool, bool] = (False, False),
) -> Image.Image:
    """Mode L or RGB, of the size of `look`; `frame` is that of the image's own size.

    reduction: the image has been decoded at 1/2, 1/4 or 1/8. Then it is rounded up to whole
    pixels: 227 at 1/2 are 114, of which 113.5 count. Without that it would be stretched, by up to
    several levels of grey at an edge.
    ends: whether what does not count lies left and above, rather than right and below.
    """
    if image.size == look.size == frame.size:
        return image
    width, height = frame.own[0] / reduction, frame.own[1] / reduction
    wide, high = frame.part[0] / reduction, frame.part[1] / reduction
    left = (width - wide) / 2 + (image.width - width) * ends[0]
    top = (height - high) / 2 + (image.height - height) * ends[1]
    if (wide, high) == frame.size:  # nothing to resize, so nothing to blur by half a pixel
        return _set_in(_cut(image, int(left), int(top), frame.size), look)
    box = (left, top, left + wide, top + high)
    return _set_in(image.resize(frame.size, RESAMPLING[look.filter], box), look)


def _cut(image: Image.Image, left: int, top: int, size: Size) -> Image.Image:
    if image.size == size:
        return image
    return image.crop((left, top, left + size[0], top + size[1]))


def _set_in(image: Image.Image, look: Look) -> Image.Image:
    """In the middle of the background, unless it fills it."""
    if image.size == look.size:
        return image
    below = backdrop(look.size, image.mode, look)
    at = ((below.width - image.width) // 2, (below.height - image.height) // 2)
    below.paste(image if image.mode == below.mode else image.convert(below.mode), at)
    return below
