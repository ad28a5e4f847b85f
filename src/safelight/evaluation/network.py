"""What a feature network is: uint8 images to vectors, in one documented way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from safelight.errors import UserError

MICRO_BATCH = 16  # images at once: the activations of 64 miss a CPU's caches, 6 times slower


@dataclass(frozen=True)
class Head:
    """The last layer of a network that tells classes apart, float64.

    weight: (classes, d), bias: (classes,).
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def scores(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """(b, d) -> (b, classes); their softmax are probabilities."""
        scores: NDArray[np.float64] = features @ self.weight.T + self.bias
        return scores


def head_of(layer: nn.Module, biased: bool = True) -> Head:
    """What a linear layer holds; without its bias where `biased` is False."""
    weight = layer.get_parameter("weight").detach().cpu().double().numpy()
    if not biased:
        return Head(weight, np.zeros(len(weight)))
    return Head(weight, layer.get_parameter("bias").detach().cpu().double().numpy())


@dataclass(frozen=True)
class Network:
    """A feature network, ready to use.

    extract: uint8 (b, c, h, w) -> float32 (b, dimension), b at most MICRO_BATCH.
    weights: the sha256 of the file that holds them. resize: what happens to the images first.
    published: whether these are the weights that "FID" and "KID" mean.
    head: what makes classes of the features, where the network was trained to tell some.
    variant: the resize, where there are several and it is not the one that these mean.
    units: of the features, where they have some, and no network has brought them to one scale.
    """

    name: str
    dimension: int
    resize: str
    weights: str
    published: bool
    extract: Callable[[Tensor], Tensor]
    head: Head | None = None
    variant: str = ""
    units: str = ""

    @property
    def called(self) -> str:
        return f"{self.name}, {self.variant}" if self.variant else self.name

    @property
    def key(self) -> tuple[str, str, str]:
        return self.called, self.weights, self.resize


def require_colours(network: str, channels: int) -> None:
    """Raise UserError where a network of photographs would be shown other channels than theirs."""
    if channels not in (1, 3):
        raise UserError(
            f"{network} looks at pictures in grey or in colour, and these have {channels} "
            "channels; choose the features pixels (or classifier, where there are classes), or the "
            "metrics spectrum and colour"
        )


def three_channels(images: Tensor) -> Tensor:
    """(b, 1 or 3, h, w) -> (b, 3, h, w): grey is repeated, as red = green = blue.

    Other numbers of channels are no colours: `require_colours` refuses them before the work.
    """
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
