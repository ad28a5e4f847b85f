"""Pictures as an eye, and a network for photographs, can take them: grey, or three channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from safelight.data.cache import Cache
from safelight.images import in_colour


def visible(images: Tensor) -> Tensor:
    """(b, c, h, w) uint8 -> (b, 1 or 3, h, w), see `images.in_colour`."""
    return torch.from_numpy(in_colour(images.numpy()))


class Visible:
    """An ImageSource: the pictures of a cache, each as `visible` makes it."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.name, self.classes, self.count = cache.name, cache.classes, cache.count
        c, h, w = cache.shape
        self.shape: tuple[int, int, int] = (1 if c == 1 else 3, h, w)

    @property
    def fingerprint(self) -> str:
        """That of the cache where nothing is changed, so that features are shared."""
        same = self.shape == self.cache.shape
        return self.cache.fingerprint if same else f"{self.cache.fingerprint} in colour"

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        return visible(self.cache.images(seeds))

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return self.cache.labels(seeds)


def at_most(images: Tensor, side: int) -> Tensor:
    """The same no larger than `side` pixels a side, by the means of areas; float32."""
    h, w = images.shape[2:]
    scale = side / max(h, w, side)
    size = (max(1, round(h * scale)), max(1, round(w * scale)))
    x = images.float()
    return x if size == (h, w) else F.adaptive_avg_pool2d(x, size)


def thumbnails(images: Tensor, side: int) -> Tensor:
    """Small pictures whatever their brightness and contrast, (b, c side²) float32.

    Each has mean 0 and, unless there is next to nothing in it, mean square 1: so the mean squared
    difference of two is 0 where they are the same but for light, and 2 where nothing is alike.
    """
    small = F.adaptive_avg_pool2d(images.float(), side).flatten(1)
    small = small - small.mean(1, keepdim=True)
    contrast = small.square().mean(1, keepdim=True).sqrt()
    return small / contrast.clamp(min=LEAST_CONTRAST)


LEAST_CONTRAST = 4.0  # levels: below, rounding would be taken for a picture


def mirrored(images: Tensor) -> Tensor:
    return torch.flip(images, (3,))
