"""What a feature network is: uint8 images to vectors, in one documented way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

MICRO_BATCH = 16  # images at once: the activations of 64 miss a CPU's caches, 6 times slower


@dataclass(frozen=True)
class Network:
    """A feature network, ready to use.

    extract: uint8 (b, c, h, w) -> float32 (b, dimension), b at most MICRO_BATCH.
    weights: the sha256 of the file that holds them. resize: what happens to the images first.
    published: whether these are the weights and the resize that "FID" and "KID" mean.
    """

    name: str
    dimension: int
    resize: str
    weights: str
    published: bool
    extract: Callable[[Tensor], Tensor]

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.weights


def three_channels(images: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) -> (b, 3, h, w): grey is repeated, as red = green = blue."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
