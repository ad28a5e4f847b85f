"""The table of feature networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from safelight.errors import UserError, lookup
from safelight.evaluation.appearance import colour, spectrum
from safelight.evaluation.classifier import classifier
from safelight.evaluation.lpips import lpips
from safelight.evaluation.network import Network, require_colours
from safelight.evaluation.pretrained import efficientnet, efficientnet_bf16, inception
from safelight.evaluation.resizes import RESIZES, USUAL
from safelight.evaluation.transformers import CLIP, DINOV2
from safelight.images import ImageSource, dequantise

MOST_VALUES = 3 * 64 * 64  # of a picture whose pixels are its features


@dataclass(frozen=True)
class Material:
    """What a feature network may be made of.

    shape: (c, h, w) of the images to come. train: labelled images, for a network that is trained on
    the spot. store: where such a one is kept. resize: a row of RESIZES, for a network of RESIZED.
    """

    shape: tuple[int, int, int]
    train: ImageSource | None
    store: Path
    resize: str | None = None


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


def _of_photographs(name: str, load: Loader) -> Loader:
    """A network that learnt from photographs, of pictures in grey or in colour."""

    def loaded(material: Material) -> Network:
        require_colours(name, material.shape[0])
        return load(material)

    return loaded


OF_PHOTOGRAPHS: dict[str, Loader] = {
    "inception": lambda material: inception(material.resize or USUAL),
    "efficientnet-lite0": lambda material: efficientnet(),
    "efficientnet-lite0-bf16": lambda material: efficientnet_bf16(),
    "dinov2": lambda material: DINOV2.network(),
    "clip": lambda material: CLIP.network(),
    "lpips": lambda material: lpips(material.shape),
}
FEATURES: dict[str, Loader] = {
    **{name: _of_photographs(name, load) for name, load in OF_PHOTOGRAPHS.items()},
    "classifier": lambda material: classifier(material.train, material.store).network,
    "pixels": pixels,
    "colour": lambda material: colour(material.shape),
    "spectrum": lambda material: spectrum(material.shape),
}
RESIZED = "inception"  # the one network whose pictures are resized in several published ways


def require_resized(networks: Iterable[str], resize: str) -> None:
    """Raise UserError for a resize that there is not, or that no network of these heeds."""
    lookup(RESIZES, resize, "resize")
    if RESIZED not in networks:
        raise UserError(
            f"--resize {resize} says how pictures are made to fit {RESIZED}, and nothing is "
            f"measured on it; leave it out, or add --features {RESIZED}"
        )
