"""Randomness as an argument: every random number is a function of a seed and of what it is for.

A training batch depends on (seed, step) and an image on its own seed alone, so that a resumed run
equals an uninterrupted one, and image 17 can be made again without images 0 to 16.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for this purpose, e.g. derive(0, "epoch", 3)."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on the CPU, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


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
