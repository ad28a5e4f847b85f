"""Changes that a network is told of, so that what it draws untold does not have them.

Appendix F.2 of arXiv:2206.00364, with the transformations and strengths of its table 6.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

LABELS = 9  # numbers that tell of a change
DRAWS = 15  # uniform numbers that each image takes
OCTAVES = 0.2  # deviation of the scale and of the stretch
REACH = 1 / 8  # deviation of the translation, in sides of the image


class Change(NamedTuple):
    """What is done to each image, (b,) each; an image for which all but `axis` are 0 stays.

    Scaled by 2^(0.2 scale), turned by `angle`, stretched by 2^(0.2 stretch) along the axis at an
    angle of `axis` and squeezed by as much across it, moved by `right` and `down` eighths of a
    side. Angles are clockwise; flips are 0 or 1.
    """

    flip_x: Tensor
    flip_y: Tensor
    scale: Tensor
    angle: Tensor
    stretch: Tensor
    axis: Tensor
    right: Tensor
    down: Tensor

    @property
    def labels(self) -> Tensor:
        """(b, LABELS), zero if and only if the image stays what it is.

        Two changes have the same labels only if they do the same: that is why those of a stretch
        have twice the angle. With the angle itself, as in the paper, stretching by 1 along an axis
        and by -1 along the same axis the other way round would be told alike.
        """
        told = [
            *(self.flip_x, self.flip_y, self.scale, self.angle.cos() - 1, self.angle.sin()),
            *(self.stretch * (2 * self.axis).cos(), self.stretch * (2 * self.axis).sin()),
            *(self.right, self.down),
        ]
        return torch.stack(told, dim=1)

    @property
    def moves(self) -> Tensor:
        """(b,) bool: whether more than flips is done."""
        parts = torch.stack([self.scale, self.angle, self.stretch, self.right, self.down])
        return (parts != 0).any(0)


def drawn(u: Tensor, p: float, *, sideways: bool = True, upside_down: bool = False) -> Change:
    """A change for each row of u (b, DRAWS) in [0, 1): each part with probability p.

    But for the flip left to right, which half of the images have, as in its authors' code.

    sideways, upside_down: whether there are flips left to right, and top to bottom.
    """
    applied = [(u[:, i] < p).to(u) for i in range(5)]
    flip_x, flip_y = ((u[:, i] < 0.5).to(u) for i in (5, 6))
    scale, _ = _normal(u[:, 7:9])
    stretch, _ = _normal(u[:, 9:11])
    right, down = _normal(u[:, 11:13])
    angle, axis = (math.pi * (2 * u[:, i] - 1) for i in (13, 14))
    return Change(
        flip_x=flip_x * sideways,
        flip_y=flip_y * applied[0] * upside_down,
        scale=scale * applied[1],
        angle=angle * applied[2],
        stretch=stretch * applied[3],
        axis=axis,
        right=right * applied[4],
        down=down * applied[4],
    )


def changed(x: Tensor, change: Change) -> Tensor:
    """Images (b, c, h, w) after their changes; beyond the edges they are mirrored.

    Bicubic, which is exact where pixels fall on pixels.
    """
    for axis, flips in ((3, change.flip_x), (2, change.flip_y)):
        x = torch.where(flips.bool()[:, None, None, None], x.flip(axis), x)
    moves = change.moves
    if moves.any():
        theta = _places(Change(*(part[moves] for part in change)), *x.shape[2:]).to(x)
        some = x[moves]
        grid = affine_grid(theta, list(some.shape), align_corners=True)
        some = grid_sample(some, grid, "bicubic", "reflection", align_corners=True)
        x = x.index_copy(0, moves.nonzero()[:, 0], some)
    return x


def _places(change: Change, h: int, w: int) -> Tensor:
    """(b, 2, 3): where each pixel of the result comes from, (x, y) in [-1, 1] between the centres
    of the corner pixels.

    With o = L s + t for a pixel s about the centre: s = inverse(L) (o - t).
    """
    length = (OCTAVES * change.stretch).exp2()
    along, across = torch.stack([length, 1 / length]), _turn(change.axis)
    stretch = across * along.T[:, None, :] @ across.mT
    size = (OCTAVES * change.scale).exp2()[:, None, None]
    back = torch.linalg.inv(stretch @ _turn(change.angle) * size)
    moved = torch.stack([change.right * w * REACH, change.down * h * REACH], dim=1)
    half = torch.tensor([max(w - 1, 1), max(h - 1, 1)], device=moved.device).to(moved) / 2
    linear = back * half / half[:, None]
    offset = -(back @ moved[:, :, None]) / half[:, None]
    return torch.cat([linear, offset], dim=2)


def _turn(angle: Tensor) -> Tensor:
    """(b, 2, 2), of (x, y) with y down: clockwise."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)


def _normal(u: Tensor) -> tuple[Tensor, Tensor]:
    """Two standard normal numbers of two uniform ones (b, 2): Box and Muller, 1958."""
    radius, angle = (-2 * torch.log1p(-u[:, 0])).sqrt(), 2 * math.pi * u[:, 1]
    return radius * angle.cos(), radius * angle.sin()
