"""Varying stored pictures, a whole batch at once, from uniform numbers: uint8 in, uint8 out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from safelight.images import Pixels

Uniform = NDArray[np.floating]  # in [0, 1), a row for each picture


def flip(images: Pixels, u: Uniform) -> Pixels:
    """Mirror left to right those of (b, c, h, w) whose u (b,) is under one half."""
    mirrored, out = u < 0.5, images.copy()
    out[mirrored] = torch.from_numpy(images[mirrored]).flip(-1).numpy()  # numpy takes twice as long
    return out


def turn(images: Pixels, u: Uniform) -> Pixels:
    """Each of (b, c, s, s) by a number of quarter turns, anticlockwise, from u (b,)."""
    quarters, out = (4 * u).astype(np.int64), images.copy()
    for k in (1, 2, 3):
        out[quarters == k] = np.rot90(images[quarters == k], k, axes=(2, 3))
    return out


def crop(images: Pixels, u: Uniform, height: int, width: int, pad: int = 0) -> Pixels:
    """(b, c, height, width): a part of each picture, anywhere in it, from u (b, 2).

    pad: as many pixels are put around each picture first, its edges repeated.
    """
    parts = sliding_window_view(padded(images, pad), (height, width), axis=(2, 3))
    row, column = (np.array(parts.shape[2:4]) * u).astype(np.int64).T
    return parts[np.arange(len(images)), :, row, column]


def padded(images: Pixels, pad: int) -> Pixels:
    """With so many pixels around each picture, its edges repeated; in half the time of np.pad."""
    if pad == 0:
        return images
    b, c, h, w = images.shape
    out = np.empty((b, c, h + 2 * pad, w + 2 * pad), np.uint8)
    inside = out[:, :, pad:-pad]
    inside[..., pad:-pad] = images
    for k in range(pad):  # column by column: few long copies in place of many short ones
        inside[..., k], inside[..., -1 - k] = images[..., 0], images[..., -1]
    out[:, :, :pad], out[:, :, -pad:] = inside[:, :, :1], inside[:, :, -1:]
    return out
