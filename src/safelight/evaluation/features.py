"""The table of feature networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from safelight.errors import UserError
from safelight.evaluation.appearance import colour, spectrum
from safelight.evaluation.classifier import classifier
from safelight.evaluation.lpips import lpips
from safelight.evaluation.network import Network
from safelight.evaluation.pretrained import efficientnet, inception
from safelight.images import ImageSource, dequantise

MOST_VALUES = 3 * 64 * 64  # of a picture whose pixels are its features


@dataclass(frozen=True)
class Material:
    """What a feature network may be made of.

    shape: (c, h, w) of the images to come. train: labelled images, for a network that is trained on
    the spot. store: where such a one is kept.
    """

    shape: tuple[int, int, int]
    train: ImageSource | None
    store: Path


Loader = Callable[[Material], Network]


def pixels(material: Material) -> Network:
    """The picture itself: its values in [-1, 1], (b, c h w). Raises UserError for large ones."""
    values = math.prod(material.shape)
    if values > MOST_VALUES:
        raise UserError(
            f"pixels as features are meant for pictures of at most 3x64x64 = {MOST_VALUES:,} "
            f"values, and these have {values:,}; use another network with --features"
        )

    def extract(images: Tensor) -> Tensor:
        return dequantise(images).flatten(1)

    return Network("pixels", values, "none", "none: the values themselves", False, extract)


FEATURES: dict[str, Loader] = {
    "inception": lambda material: inception(),
    "efficientnet-lite0": lambda material: efficientnet(),
    "classifier": lambda material: classifier(material.train, material.store).network,
    "pixels": pixels,
    "colour": lambda material: colour(material.shape),
    "spectrum": lambda material: spectrum(material.shape),
    "lpips": lambda material: lpips(material.shape),
}
