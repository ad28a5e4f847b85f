"""How a network is told the noise level: numbers (b,) become vectors (b, e).

Each says which number it wants, a row of `diffusion.denoiser.TOLD`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from safelight.errors import lookup


class FourierEmbedding(nn.Module):
    """cos and sin of 2 pi f c_noise at fixed random frequencies f ~ N(0, spread²).

    Section 4 of arXiv:2006.10739, as used for noise levels in arXiv:2011.13456.
    """

    told: ClassVar[str] = "level"
    frequencies: Tensor

    def __init__(self, width: int, spread: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        frequencies = torch.randn(width // 2, generator=generator) * spread
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = 2 * math.pi * c_noise[:, None].float() * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class SinusoidalEmbedding(nn.Module):
    """cos and sin at geometric frequencies, section 3.5 of arXiv:1706.03762.

    The highest frequency is `spread` times the lowest (but for the last of their steps). c_noise
    spans a few units where that paper's positions span a thousand, hence the factor.
    """

    told: ClassVar[str] = "level"
    frequencies: Tensor

    def __init__(self, width: int, spread: float = 10_000.0, factor: float = 250.0) -> None:
        super().__init__()
        exponent = torch.arange(width // 2) / (width // 2)
        self.register_buffer("frequencies", factor * spread**-exponent, persistent=False)

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = c_noise[:, None].float() * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class StepEmbedding(nn.Module):
    """sin and cos of the number of the time step, as most code for arXiv:2006.11239 has them.

    The same geometric frequencies from 1 down, by `spread` (but for the last of their steps).
    """

    told: ClassVar[str] = "step"
    frequencies: Tensor

    def __init__(self, width: int, spread: float = 10_000.0) -> None:
        super().__init__()
        exponent = torch.arange(width // 2) / (width // 2)
        self.register_buffer("frequencies", spread**-exponent, persistent=False)

    def forward(self, step: Tensor) -> Tensor:
        angle = step[:, None].float() * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1)


Embedding = FourierEmbedding | SinusoidalEmbedding | StepEmbedding
EMBEDDINGS: dict[str, type[Embedding]] = {
    "fourier": FourierEmbedding,
    "sinusoidal": SinusoidalEmbedding,
    "steps": StepEmbedding,
}


def waves(name: str, frequencies: int, spread: float | None) -> Embedding:
    """The row of `EMBEDDINGS`, (b,) -> (b, 2 frequencies); its own spread unless given."""
    make, both = lookup(EMBEDDINGS, name, "embedding"), 2 * frequencies  # cosines and sines
    return make(both) if spread is None else make(both, spread)


def level_embedding(
    name: str, frequencies: int, spread: float | None, width: int, act: nn.Module
) -> nn.Sequential:
    """(b,) -> (b, width): `waves` and two layers."""
    first = waves(name, frequencies, spread)
    return nn.Sequential(first, nn.Linear(2 * frequencies, width), act, nn.Linear(width, width))


def told(embedding: str) -> str:
    """What a network with this embedding is told, a row of `diffusion.denoiser.TOLD`."""
    return lookup(EMBEDDINGS, embedding, "embedding").told


def with_class(embedding: Tensor, classes: nn.Embedding | None, y: Tensor | None) -> Tensor:
    """The embedding (b, e) and that of the classes y (b,); the last row stands for "no class".

    Unchanged where the network knows no classes.
    """
    if classes is None:
        return embedding
    if y is None:
        y = embedding.new_full((len(embedding),), classes.num_embeddings - 1, dtype=torch.long)
    return embedding + classes(y)  # type: ignore[no-any-return]


def embed_change(labels: int, width: int) -> nn.Linear | None:
    """For what the network is told of how images were varied; None where it is told nothing.

    Without a constant: what is told as zeros adds nothing, as if there were no such layer.
    """
    return nn.Linear(labels, width, bias=False) if labels else None


def with_change(embedding: Tensor, change: nn.Linear | None, varied: Tensor | None) -> Tensor:
    """The embedding (b, e) and that of how images were varied (b, labels); None is not at all."""
    if change is None or varied is None:
        return embedding
    return embedding + change(varied)  # type: ignore[no-any-return]
