"""Whether pictures can be told from their mirror images: only where not, these are pictures too."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from safelight.data.cache import Cache
from safelight.images import pieces
from safelight.seeding import generator

# Of scikit-learn's digits and MNIST's 96.8 and 98.5 % are told, and of CIFAR-10 and flowers5, where
# left and right mean nothing, 51.4 and 50.5 %. Of 100 photographs it may be 62 % by chance, and of
# 400 57 %.
LIMIT = 0.6
FEWEST, MOST = 400, 4_000  # pictures
FEWEST_OF_A_CLASS = 10
SIDE = 8  # pixels of a thumbnail
BLOCK = 256  # pictures in memory


class Symmetry(NamedTuple):
    """What was found of so many pictures; the share is None where they are too few."""

    pictures: int
    told: float | None

    @property
    def mirrored(self) -> bool:
        return self.told is not None and self.told <= LIMIT

    def sentence(self) -> str:
        if self.told is None:
            return (
                f"pictures are not mirrored: {self.pictures:,} are too few to see whether their "
                "sides matter; --data.flip mirrors half of them all the same"
            )
        seen = f"{100 * self.told:.1f} % of {self.pictures:,} can be told from their mirror images"
        if self.mirrored:
            return (
                f"half of the pictures are mirrored: {seen}, hardly more than by guessing; "
                "--data.no-flip leaves them as they are"
            )
        return f"pictures are not mirrored: {seen}; --data.flip mirrors half of them all the same"


def symmetry(cache: Cache) -> Symmetry:
    """By at most 4,000 pictures, always the same ones."""
    count = min(MOST, cache.count)
    if count < FEWEST:
        return Symmetry(count, None)
    order = torch.randperm(cache.count, generator=generator(0, "symmetry"))[:count]
    positions = order.sort().values
    differences = torch.cat(
        [
            difference(torch.from_numpy(cache.read(positions[part].numpy())))
            for part in pieces(count, BLOCK)
        ]
    )
    fold = torch.randperm(count, generator=generator(0, "folds")) % 2
    labels = cache.labels(positions.tolist())
    by_class = 0.0 if labels is None else told_by_class(differences, labels, fold)
    return Symmetry(count, max(told(differences, fold), by_class))


def difference(images: Tensor) -> Tensor:
    """What a small view of each (b, c, h, w) uint8 has more than that of its mirror image, (b, d).

    The colours of a thumbnail, and where there are edges and how they slant: these do not turn
    round where a picture is white on black.
    """
    return _view(images) - _view(images.flip(-1))


def _view(images: Tensor) -> Tensor:
    x = images.float() / 255
    grey = x.mean(1, keepdim=True)
    across, along = (grey.roll(-1, axis) - grey.roll(1, axis) for axis in (-1, -2))
    maps = torch.cat([x, across**2 + along**2, across * along], dim=1)
    h, w = images.shape[2:]
    return adaptive_avg_pool2d(maps, (min(SIDE, h), min(SIDE, w))).flatten(1)


def told(differences: Tensor, fold: Tensor) -> float:
    """The share of pictures that a linear classifier tells from their mirror images.

    It has learnt from the other fold (n,) of 0 and 1. A mirror image has the same differences with
    the other sign, so that it asks for the sign of one projection, and has no constant.
    """
    right = 0.0
    for held_out in (0, 1):
        w = _ridge(differences[fold != held_out])
        right += float((differences[fold == held_out] @ w).sign().sum())
    return (1 + right / len(differences)) / 2  # of what is neither, as of blank pictures, one half


def told_by_class(differences: Tensor, labels: Tensor, fold: Tensor) -> float:
    """The same by a classifier for each class: b and d are each other's mirror images.

    0 where the classes that are large enough have too few pictures between them to see it.
    """
    right, n = 0.0, 0
    for label in range(int(labels.max()) + 1):
        own = labels == label
        if min((own & (fold == 0)).sum(), (own & (fold == 1)).sum()) >= FEWEST_OF_A_CLASS // 2:
            right += told(differences[own], fold[own]) * int(own.sum())
            n += int(own.sum())
    return right / n if n >= FEWEST else 0.0


def _ridge(x: Tensor) -> Tensor:
    """The weights that take the rows of x (n, d), scaled, nearest to 1, with a penalty of 1."""
    scale = x.square().mean(0).sqrt() + 1e-9
    z = (x / scale).double()
    n, d = z.shape
    if d < n:
        w = torch.linalg.solve(z.T @ z / n + torch.eye(d).double(), z.mean(0))
    else:  # the same, by the smaller matrix
        each = torch.linalg.solve(z @ z.T / n + torch.eye(n).double(), torch.ones(n).double())
        w = z.T @ each / n
    weights: Tensor = w.float() / scale
    return weights
