"""One pass over all pictures: their light, their colours, their means; in constant memory.

A picture has three measures, each in levels of 0..255:
    brightness   the mean of its luma Y = 0.299 R + 0.587 G + 0.114 B
    contrast     the standard deviation of Y over its pixels
    saturation   the mean over its pixels of max(R, G, B) - min(R, G, B); of grey ones 0
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safelight.console import progress
from safelight.data.cache import Cache
from safelight.data.prints import of_one_colour, without_colour
from safelight.data.splits import SPLITS
from safelight.evaluation.moments import Floats
from safelight.profiling.groups import Groups
from safelight.profiling.view import at_most, visible

MEASURES = ("brightness", "contrast", "saturation")
LUMA = torch.tensor([0.299, 0.587, 0.114])
LEVELS = 256
BINS = 64  # of a channel's histogram
SIDE = 64  # pixels of the mean pictures: larger ones are made smaller first
PIXELS = 1024  # of each picture are counted in the histograms of channels, evenly spread
# Pictures at once: sums of so many squared levels, 256 * 255², are exact in float32.
BLOCK = 256
VALUES = 2**22  # of the pictures at once
LISTED = 24  # constant pictures whose places are kept


@dataclass
class Survey:
    """The sums over all pictures, by group g (those shown, then the rest) and split s.

    counts (g, s); sums, squares (g, s, measures) of the measures and levels (g, s, measures, 256)
    their histograms; channels (g, s, c, BINS) counts of values; pixels and pixel_squares (g, c, h,
    w) sums over the pictures, at most SIDE pixels a side. constant: how many are of one colour all
    over, and `empty` the places of the first of them; grey: how many have no colour.
    """

    counts: NDArray[np.int64]
    sums: Floats
    squares: Floats
    levels: NDArray[np.int64]
    channels: NDArray[np.int64]
    pixels: Floats
    pixel_squares: Floats
    constant: int
    empty: list[int]
    grey: int

    @classmethod
    def nothing(cls, groups: int, shape: tuple[int, int, int]) -> Survey:
        """Before the first picture; shape is (c, h, w) of the mean pictures."""
        parts, m = (groups, len(SPLITS)), len(MEASURES)
        return cls(
            np.zeros(parts, np.int64),
            np.zeros((*parts, m)),
            np.zeros((*parts, m)),
            np.zeros((*parts, m, LEVELS), np.int64),
            np.zeros((*parts, shape[0], BINS), np.int64),
            np.zeros((groups, *shape)),
            np.zeros((groups, *shape)),
            0,
            [],
            0,
        )

    def mean(self, group: int | None) -> Floats:
        """The mean picture of a group, or of all, (c, h, w) in levels."""
        total, n = self._of(self.pixels, group)
        return total / n

    def deviation(self, group: int | None) -> Floats:
        """The standard deviation of each value over the pictures, (c, h, w) in levels."""
        squares, n = self._of(self.pixel_squares, group)
        variance = squares / n - self.mean(group) ** 2
        spread: Floats = np.sqrt(np.maximum(variance, 0))
        return spread

    def _of(self, sums: Floats, group: int | None) -> tuple[Floats, int]:
        if group is None:
            return sums.sum(0), int(self.counts.sum())
        return sums[group], int(self.counts[group].sum())

    def add(self, at: int, images: Tensor, groups: NDArray[np.int64], splits: Tensor) -> None:
        """Pictures (b, 1 or 3, h, w) uint8 from place `at` on; groups and splits (b,)."""
        which = torch.from_numpy(groups) * len(SPLITS) + splits
        self._add_measures(images, which)
        self._add_flags(at, images.numpy())
        self._add_channels(images, which)
        self._add_pixels(images, torch.from_numpy(groups))

    def _add_measures(self, images: Tensor, which: Tensor) -> None:
        values = measured(images)
        shape = self.sums.shape
        for sums, each in ((self.sums, values), (self.squares, values.square())):
            added = torch.zeros(shape[0] * shape[1], shape[2], dtype=torch.float64)
            sums += added.index_add_(0, which, each).view(shape).numpy()
        levels = values.round().clamp(0, LEVELS - 1).long()
        place = (which[:, None] * shape[2] + torch.arange(shape[2])) * LEVELS + levels
        self.levels += _counted(place, self.levels.shape)
        self.counts += _counted(which, self.counts.shape)

    def _add_flags(self, at: int, pixels: NDArray[np.uint8]) -> None:
        self.grey += int(without_colour(pixels).sum())
        flat = np.flatnonzero(of_one_colour(pixels))
        self.constant += len(flat)
        self.empty += (at + flat).tolist()[: LISTED - len(self.empty)]

    def _add_channels(self, images: Tensor, which: Tensor) -> None:
        c, h, w = images.shape[1:]
        step = max(1, round((h * w / PIXELS) ** 0.5))
        down, right = min(step, h), min(step, w)  # of a single row there is no second
        values = images[:, :, down // 2 :: down, right // 2 :: right].flatten(2).long()
        place = which[:, None] * c + torch.arange(c)
        self.channels += _counted(
            place[..., None] * BINS + values * BINS // LEVELS, self.channels.shape
        )

    def _add_pixels(self, images: Tensor, groups: Tensor) -> None:
        small = at_most(images, SIDE).flatten(1)
        one = torch.nn.functional.one_hot(groups, len(self.pixels)).T.float()
        self.pixels += (one @ small).double().view(self.pixels.shape).numpy()
        self.pixel_squares += (one @ small.square()).double().view(self.pixels.shape).numpy()


def measured(images: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) uint8 -> the MEASURES of each, (b, 3) float64."""
    x = images.float()
    luma = x[:, 0] if x.shape[1] == 1 else torch.tensordot(x, LUMA, dims=([1], [0]))
    luma = luma.flatten(1).double()
    mean = luma.mean(1, keepdim=True)
    saturation = (images.amax(1) - images.amin(1)).flatten(1).double().mean(1)
    return torch.stack([mean[:, 0], (luma - mean).square().mean(1).sqrt(), saturation], 1)


def survey(cache: Cache, groups: Groups) -> Survey:
    """The pass over all of the cache's pictures, with progress."""
    found: Survey | None = None
    count = len(groups.shown) + bool(groups.folded)
    splits = torch.from_numpy(groups.splits.astype(np.int64))
    with progress(f"measuring {cache.name}", cache.count) as advance:
        for part in blocks(cache):
            images = visible(cache.images(range(part.start, part.stop)))
            if found is None:
                found = Survey.nothing(count, _size(images))
            found.add(part.start, images, groups.of[part], splits[part])
            advance(len(images))
    assert found is not None  # a cache has pictures
    return found


def blocks(cache: Cache) -> Iterator[slice]:
    """The places of pictures that are looked at together."""
    rows = max(1, min(BLOCK, VALUES // int(np.prod(cache.shape))))
    for start in range(0, cache.count, rows):
        yield slice(start, min(start + rows, cache.count))


def _size(images: Tensor) -> tuple[int, int, int]:
    c, h, w = at_most(images[:1], SIDE).shape[1:]
    return c, h, w


def _counted(places: Tensor, shape: tuple[int, ...]) -> NDArray[np.int64]:
    counts = torch.bincount(places.flatten(), minlength=int(np.prod(shape)))
    return np.asarray(counts.numpy().reshape(shape))
