"""A source of images that knows how long it has drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from safelight.training.source import DiffusionSource


class Timed:
    def __init__(self, source: DiffusionSource) -> None:
        self._source, self.seconds = source, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        began = time.monotonic()
        drawn = self._source.images(seeds, labels)
        self.seconds += time.monotonic() - began
        return drawn
