"""A cache's pictures as a page shows them: small, each with what hovering over it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safelight.data.splits import SPLITS
from safelight.profiling.profile import Profile
from safelight.profiling.view import at_most
from safelight.reporting import words
from safelight.reporting.pictures import Picture, picture

SIDE = 96  # pixels: none is shown much larger
LIMIT = 3_000  # bytes that a picture may take exactly: there are hundreds of them


@dataclass(frozen=True)
class Thumb:
    """A picture, what hovering over it tells, and what stands under it."""

    picture: Picture
    title: str
    caption: str = ""


class Thumbs:
    """Makes them of a profile's pictures, by their positions in the cache."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._labels = profile.cache.class_labels()

    def of(
        self, positions: NDArray[np.int64] | Sequence[int], captions: Sequence[str] = ()
    ) -> list[Thumb]:
        """In the order of the positions."""
        places = np.asarray(positions, np.int64)
        images = self.images(places)
        names = self.names(places)
        titles = [self._title(i, name) for i, name in zip(places.tolist(), names, strict=True)]
        under = captions or [""] * len(places)
        return [
            Thumb(picture(image, title, LIMIT), title, caption)
            for image, title, caption in zip(images, titles, under, strict=True)
        ]

    def images(self, positions: NDArray[np.int64]) -> Tensor:
        """(m, 1 or 3, h, w) uint8, at most SIDE pixels a side."""
        if not len(positions):
            return torch.empty((0, *self._profile.source.shape), dtype=torch.uint8)
        small = at_most(self._profile.source.images(positions.tolist()), SIDE)
        return small.round().to(torch.uint8)

    def names(self, positions: NDArray[np.int64]) -> list[str]:
        """The files of these pictures; empty where they are not known."""
        return self._profile.cache.names_of(positions) or [""] * len(positions)

    def of_class(self, position: int) -> str:
        """The class and the split of a picture, in words."""
        parts = (
            [] if self._labels is None else [self._profile.groups.classes[self._labels[position]]]
        )
        return ", ".join([*parts, SPLITS[self._profile.groups.splits[position]]])

    def _title(self, position: int, name: str) -> str:
        said = f"picture {words.count(position)}, {self.of_class(position)}"
        return f"{said}: {name}" if name else said
