"""Varying training images, a whole batch at once, from one uniform number for each choice."""

from __future__ import annotations

import torch
from torch import Tensor


def flip(images: Tensor, u: Tensor) -> Tensor:
    """Mirror left to right the images whose u (b,) in [0, 1) is under one half."""
    return torch.where((u < 0.5)[:, None, None, None], images.flip(-1), images)


def shift(images: Tensor, u: Tensor, pixels: int) -> Tensor:
    """Move each image by up to `pixels` in each direction, edges repeated; u is (b, 2)."""
    if pixels == 0:
        return images
    _, _, h, w = images.shape
    offset = ((2 * pixels + 1) * u).floor().long() - pixels  # (b, 2)
    rows = (torch.arange(h) + offset[:, :1]).clamp(0, h - 1)  # (b, h)
    columns = (torch.arange(w) + offset[:, 1:]).clamp(0, w - 1)
    batch = torch.arange(len(images))[:, None, None]
    # Indices apart from each other put the channels last.
    return images[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
