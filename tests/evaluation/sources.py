"""Small in-memory sources, and a small feature network, for the tests of the evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from safelight.evaluation.network import Network


@dataclass
class Stored:
    """Stored pictures; `asked` counts how many images were ever asked for."""

    name: str
    pixels: Tensor  # (n, c, h, w) uint8
    targets: Tensor | None = None  # (n,)
    classes: tuple[str, ...] = ()
    asked: int = 0

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.pixels.numpy().tobytes()).hexdigest()

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.pixels.shape[1:]
        return c, h, w

    @property
    def count(self) -> int | None:
        return len(self.pixels)

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        self.asked += len(seeds)
        return self.pixels[torch.tensor(list(seeds), dtype=torch.int64)]

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        if self.targets is None:
            return None
        return self.targets[torch.tensor(list(seeds), dtype=torch.int64)]


@dataclass
class Model:
    """A generator: image i is noise from seed i, brighter with its class; labels in turn."""

    name: str = "model"
    shape: tuple[int, int, int] = (1, 8, 8)
    classes: tuple[str, ...] = ("dark", "bright")
    fingerprint: str = "model-1"
    count: int | None = None
    seen: list[int] = field(default_factory=list)

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        self.seen += list(seeds)
        assert labels is not None
        drawn = [
            torch.randint(0, 100, self.shape, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        return (torch.stack(drawn) + 150 * labels[:, None, None, None]).to(torch.uint8)

    def labels(self, seeds: Sequence[int]) -> Tensor:
        return torch.tensor([seed % len(self.classes) for seed in seeds])


def stored(name: str, n: int, seed: int, shape: tuple[int, int, int] = (1, 8, 8)) -> Stored:
    """Real pictures of the same two classes as Model's."""
    rng = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (n,), generator=rng)
    pixels = torch.randint(0, 100, (n, *shape), generator=rng) + 150 * targets[:, None, None, None]
    return Stored(name, pixels.to(torch.uint8), targets, ("dark", "bright"))


def pixels(dimension: int = 4, weights: str = "pixels-1") -> Network:
    """A feature network that is quick to check: the first few pixels themselves."""
    return Network(
        name="pixels",
        dimension=dimension,
        resize="none",
        weights=weights,
        published=False,
        extract=lambda images: images.flatten(1)[:, :dimension].float() / 255,
    )


def rows(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Correlated, rectified features as networks give them: (n, d) float32."""
    mixing = np.random.default_rng(99).standard_normal((d, d)) / np.sqrt(d)
    drawn = np.random.default_rng(seed).standard_normal((n, d)) @ mixing
    return np.maximum(drawn * scale + shift + 0.3, 0).astype(np.float32)
