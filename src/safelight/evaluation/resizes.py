"""How pictures are made to fit the FID Inception: the three ways of published numbers.

Each gives another number, most of all for small pictures. They are one network with one file of
weights: what differs is the resize, and by half a level the scale of the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

SIDE = 299
USUAL = "tensorflow"  # what "FID" alone means


@dataclass(frozen=True)
class Resize:
    """text: of the protocol. fit: uint8 (b, 3, h, w) -> float32 (b, 3, 299, 299) in [-1, 1]."""

    text: str
    fit: Callable[[Tensor], Tensor]


def tensorflow(images: Tensor) -> Tensor:
    """Heusel et al. 2017 and torch-fidelity: TensorFlow 1's bilinear; then (x - 128) / 128."""
    from torch_fidelity import interpolate_compat_tensorflow as compat  # slow to import

    x: Tensor = compat.interpolate_bilinear_2d_like_tensorflow1x(
        images.float(), size=(SIDE, SIDE), align_corners=False
    )
    return (x - 128) / 128


def clean(images: Tensor) -> Tensor:
    """clean-fid (arXiv:2104.11222): bicubic as Pillow's for floats, antialiased, not rounded."""
    # With antialias, torch's kernel is Pillow's (a = -1/2), also where the picture grows.
    x = F.interpolate(images.float(), size=(SIDE, SIDE), mode="bicubic", antialias=True)
    return (x.clamp(0, 255) - 128) / 128


def pytorch(images: Tensor) -> Tensor:
    """pytorch-fid: bilinear without antialiasing; then 2 x / 255 - 1."""
    x = F.interpolate(images.float() / 255, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return 2 * x - 1


RESIZES: dict[str, Resize] = {
    USUAL: Resize(
        "299x299, bilinear as in TensorFlow 1, no antialiasing; grey repeated to 3 channels",
        tensorflow,
    ),
    "clean": Resize(
        "299x299, bicubic, antialiased, not rounded, as in clean-fid; grey repeated to 3 channels",
        clean,
    ),
    "pytorch": Resize(
        "299x299, bilinear as in PyTorch, no antialiasing, 2x/255 - 1, as in pytorch-fid; "
        "grey repeated to 3 channels",
        pytorch,
    ),
}


def unusual(text: str) -> str:
    """The row that a protocol's `resize` is of; empty where that is the usual one, or none."""
    return next((name for name, row in RESIZES.items() if row.text == text and name != USUAL), "")
