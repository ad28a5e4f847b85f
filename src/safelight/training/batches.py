"""Training batches: each a function of (seed, step), wherever and in however many pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.profiler import record_function

from safelight.config import Data
from safelight.data.cache import Cache
from safelight.images import pieces
from safelight.seeding import Draws, ImageNoise
from safelight.training.order import visited
from safelight.training.step_kinds import BATCHES
from safelight.training.variation import varied


@dataclass(frozen=True)
class Batch:
    images: Tensor  # (b, c, h, w) float32, pictures in [-1, 1] or latents
    labels: Tensor | None  # (b,) int64
    varied: Tensor | None = None  # (b, LABELS), what a network is told of how images were varied


class Examples(Protocol):
    """What is learnt from, in the form in which it is learnt."""

    @property
    def count(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Where they are wanted."""
        ...

    @property
    def labels(self) -> Tensor | None:
        """The class of each (count,) int64; None where the model is not to know it."""
        ...

    def read(
        self, positions: NDArray[np.int64], draws: Draws, noise: ImageNoise
    ) -> tuple[Tensor, Tensor | None]:
        """(b, c, h, w) float32 on the device, varied as `draws` and `noise` have it.

        And what a network is told of how they were varied, if it is to be.
        """
        ...


class Pictures:
    """The pictures of a split in [-1, 1], varied as the options say."""

    def __init__(self, cache: Cache, options: Data, device: torch.device) -> None:
        self._cache, self._options, self.device = cache, options, device
        self.labels = labels_told(cache, options)

    @property
    def count(self) -> int:
        return self._cache.count

    def read(
        self, positions: NDArray[np.int64], draws: Draws, noise: ImageNoise
    ) -> tuple[Tensor, Tensor | None]:
        return varied(self._cache.read(positions), self._options, draws, self.device)


def centred(cache: Cache, options: Data) -> Cache:
    """The pictures as all but the training sees them: their centres, where it learns from parts."""
    return cache if options.window is None else cache.cropped(*options.window)


def labels_told(cache: Cache, options: Data) -> Tensor | None:
    """The classes (count,) that a model is to know; None where it is not."""
    labels = cache.class_labels() if options.conditional else None
    return None if labels is None else torch.from_numpy(labels)


class Batches:
    """The batches of a run.

    Epoch e visits every image once, in an order that (seed, e) decides; batches run on over the
    ends of epochs. The randomness of an image in a batch comes from (seed, step, its place), so
    that it is the same in micro-batches and on several processes (but for dropout, which draws
    inside the network).

    Args:
        size: images in a step, over all processes.
        rank, processes: this process takes places rank, rank + processes, ... of each batch.
    """

    def __init__(
        self, examples: Examples, *, size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self._examples, self._size, self._seed = examples, size, seed
        self.rank = rank
        self._places = np.arange(rank, size, processes)

    def at(self, step: int, micro_batch: int) -> Iterator[tuple[Batch, ImageNoise]]:
        """This process's share of step 0, 1, ..., at most `micro_batch` images at a time."""
        examples = self._examples
        for piece in pieces(len(self._places), micro_batch):
            with record_function(BATCHES):
                places = self._places[piece]
                draws = Draws(self._seed, step, places)
                noise = ImageNoise(draws.seeds(), examples.device)
                positions, labels = self._positions(step, places), examples.labels
                told = None if labels is None else labels[positions].to(examples.device)
                images, how = examples.read(positions, draws, noise)
            yield Batch(images, told, how), noise

    def _positions(self, step: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return visited(step * self._size + places, self._examples.count, self._seed)
