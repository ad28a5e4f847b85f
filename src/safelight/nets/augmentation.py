"""Augmentation that gradients go through, for what a discriminator is shown: arXiv:2006.10738."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

SHIFT = 1 / 8  # of the image's side, at most
HOLE = 1 / 2  # of the image's side
DRAWS = 7  # uniform numbers that each image takes


def colour(x: Tensor, u: Tensor) -> Tensor:
    """Brightness by up to 0.5 either way, saturation 0 to 2 times, contrast 0.5 to 1.5 times."""
    return recoloured(x, u[:, :3], brightness=0.5, saturation=1.0, contrast=0.5)


def recoloured(
    x: Tensor, u: Tensor, brightness: float, saturation: float, contrast: float
) -> Tensor:
    """Brightness by up to so much either way, saturation and contrast by up to such shares.

    By u (b, 3) in [0, 1), of which one half leaves an image as it is.
    """
    more, purer, starker = (2 * u[:, :, None, None, None] - 1).unbind(1)
    x = x + brightness * more
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + saturation * purer)
    middle = x.mean((1, 2, 3), keepdim=True)
    return middle + (x - middle) * (1 + contrast * starker)


def translation(x: Tensor, u: Tensor) -> Tensor:
    """Moved by up to an eighth of the side either way; what comes in is 0."""
    h, w = x.shape[2:]
    reach = (max(1, round(h * SHIFT)), max(1, round(w * SHIFT)))
    padded = pad(x, (reach[1], reach[1], reach[0], reach[0]))
    rows = _places(u[:, 3], 2 * reach[0] + 1)[:, None] + torch.arange(h, device=x.device)
    columns = _places(u[:, 4], 2 * reach[1] + 1)[:, None] + torch.arange(w, device=x.device)
    each = torch.arange(len(x), device=x.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """A rectangle of half the side, anywhere, is 0; it may reach over the edge."""
    h, w = x.shape[2:]
    return x.masked_fill(hole(u[:, 5:7], (h, w), (round(h * HOLE), round(w * HOLE))), 0.0)


def hole(u: Tensor, sides: Sequence[int], hidden: Sequence[int]) -> Tensor:
    """(b, 1, h, w) bool: a rectangle of these sides, its middle anywhere by u (b, 2)."""
    inside = []
    for side, length, draw in zip(sides, hidden, u.unbind(1), strict=True):
        first = _places(draw, side + 1)[:, None] - length // 2
        place = torch.arange(side, device=u.device)
        inside.append((place >= first) & (place < first + length))
    return inside[0][:, None, :, None] & inside[1][:, None, None, :]


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}


def augment(x: Tensor, u: Tensor, how: Sequence[Callable[[Tensor, Tensor], Tensor]]) -> Tensor:
    """Images (b, c, h, w), each varied by its own numbers u (b, DRAWS) in [0, 1)."""
    for vary in how:
        x = vary(x, u)
    return x


def _places(u: Tensor, count: int) -> Tensor:
    """Evenly one of 0..count-1."""
    return (u * count).long().clamp(max=count - 1)
