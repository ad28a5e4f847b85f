"""A source of images that knows how long it has drawn, and how often it asked the network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from safelight.training.source import DiffusionSource


class Timed:
    def __init__(self, source: DiffusionSource) -> None:
        self._source = source
        self.seconds, self._drawn, self._asked = 0.0, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        began = time.monotonic()
        with self._source.counting() as asked:
            drawn = self._source.images(seeds, labels)
        self.seconds += time.monotonic() - began
        self._drawn, self._asked = self._drawn + len(drawn), self._asked + sum(asked)
        return drawn

    @property
    def calls(self) -> float:
        """Of the network, for each image drawn."""
        return round(self._asked / self._drawn, 1)
