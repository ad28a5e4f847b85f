"""Randomness as an argument: every random number is a function of a seed and of what it is for.

A training batch depends on (seed, step) and an image on its own seed alone, so that a resumed run
equals an uninterrupted one, and image 17 can be made again without images 0 to 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for this purpose, e.g. derive(0, "epoch", 3)."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on the CPU, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


def scattered(keys: NDArray[np.uint64], n: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The n-th number, from 0, of the stream of SplitMix64 that begins at each key.

    Steele, Lea and Flood, OOPSLA 2014: its state counts up, so that no number has to be drawn to
    know the next. Keys and n broadcast.
    """
    z: NDArray[np.uint64] = keys + (n + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Draws:
    """Uniform numbers for the pictures of a batch, all at once.

    Each is a function of (seed, step, what it is for, the picture's place in the batch) alone.
    """

    def __init__(self, seed: int, step: int, places: NDArray[np.int64]) -> None:
        self._seed, self._step, self._places = seed, step, places.astype(np.uint64)

    def uniform(self, purpose: str, n: int) -> NDArray[np.float64]:
        """(b, n), uniform in [0, 1)."""
        return (self._numbers(purpose, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def seeds(self) -> list[int]:
        """One for each picture, for what a learner draws."""
        return (self._numbers("noise", 1)[:, 0] >> np.uint64(1)).tolist()  # type: ignore[no-any-return]

    def _numbers(self, purpose: str, n: int) -> NDArray[np.uint64]:
        """(b, n), of 64 bits."""
        key = np.array([derive(self._seed, "step", self._step, purpose)], np.uint64)
        columns = np.arange(n, dtype=np.uint64)
        index: NDArray[np.uint64] = self._places[:, None] * np.uint64(n) + columns
        return scattered(key, index)


class Noise(Protocol):
    """Where samplers and learners draw from; row i is the draw of image i."""

    def normal(self, *shape: int) -> Tensor:
        """(b, *shape), standard normal, float32."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """(b, *shape), uniform in [0, 1), float32."""
        ...


class ImageNoise:
    """A stream of random numbers for each image, from that image's seed alone.

    Draws come one after another: the k-th call gives each image the k-th piece of its stream,
    whatever other images are in the batch.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._device = torch.device(device)

    def normal(self, *shape: int) -> Tensor:
        drawn = [torch.randn(shape, generator=stream) for stream in self._streams]
        return torch.stack(drawn).to(self._device)

    def uniform(self, *shape: int) -> Tensor:
        drawn = [torch.rand(shape, generator=stream) for stream in self._streams]
        return torch.stack(drawn).to(self._device)


def image_noise(seeds: Sequence[int], device: torch.device) -> ImageNoise:
    """What a model draws the images of these seeds from."""
    return ImageNoise([derive(seed, "image") for seed in seeds], device)
