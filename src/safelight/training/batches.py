"""Training batches: each a function of (seed, step), wherever and in however many pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safelight.config import Data
from safelight.data.augment import flip, shift
from safelight.data.cache import Cache
from safelight.images import dequantise, pieces
from safelight.seeding import ImageNoise, derive, generator


@dataclass(frozen=True)
class Batch:
    images: Tensor  # (b, c, h, w) float32 in [-1, 1]
    labels: Tensor | None  # (b,) int64


class Batches:
    """The batches of a run.

    Epoch e visits every image once, in an order drawn from (seed, e); batches run on over the
    ends of epochs. The randomness of an image in a batch comes from (seed, step, its place), so
    that it is the same in micro-batches and on several processes (but for dropout, which draws
    inside the network).

    Args:
        cache: the training images.
        size: images in a step, over all processes.
        rank, processes: this process takes places rank, rank + processes, ... of each batch.
    """

    def __init__(
        self,
        cache: Cache,
        options: Data,
        *,
        size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._cache, self._options = cache, options
        self._size, self._seed, self._device = size, seed, device
        self.rank = rank
        self._places = np.arange(rank, size, processes)
        labels = cache.class_labels() if options.conditional else None
        self._labels = None if labels is None else torch.from_numpy(labels)
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def at(self, step: int, micro_batch: int) -> Iterator[tuple[Batch, ImageNoise]]:
        """This process's share of step 0, 1, ..., at most `micro_batch` images at a time."""
        for piece in pieces(len(self._places), micro_batch):
            places = self._places[piece]
            seeds = [derive(self._seed, "step", step, int(place)) for place in places]
            yield self._batch(self._positions(step, places), ImageNoise(seeds, self._device))

    def _batch(self, positions: NDArray[np.int64], noise: ImageNoise) -> tuple[Batch, ImageNoise]:
        images = torch.from_numpy(self._cache.read(positions))
        u = noise.uniform(3).cpu()
        if self._options.flip:
            images = flip(images, u[:, 0])
        images = shift(images, u[:, 1:], self._options.shift).to(self._device)
        labels = None if self._labels is None else self._labels[positions].to(self._device)
        return Batch(dequantise(images), labels), noise

    def _positions(self, step: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        count = self._cache.count
        visits = step * self._size + places
        return np.array([self._epoch(v // count)[v % count] for v in visits], dtype=np.int64)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            drawn = torch.randperm(
                self._cache.count, generator=generator(self._seed, "epoch", epoch)
            )
            self._order = (epoch, drawn.numpy())
        return self._order[1]
