"""How a network is told the noise level: numbers (b,) become vectors (b, e)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from safelight.errors import lookup


class FourierEmbedding(nn.Module):
    """cos and sin of 2 pi f c_noise at fixed random frequencies f ~ N(0, spread²).

    Section 4 of arXiv:2006.10739, as used for noise levels in arXiv:2011.13456.
    """

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

    frequencies: Tensor

    def __init__(self, width: int, spread: float = 10_000.0, factor: float = 250.0) -> None:
        super().__init__()
        exponent = torch.arange(width // 2) / (width // 2)
        self.register_buffer("frequencies", factor * spread**-exponent, persistent=False)

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = c_noise[:, None].float() * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1)


EMBEDDINGS: dict[str, Callable[..., nn.Module]] = {
    "fourier": FourierEmbedding,
    "sinusoidal": SinusoidalEmbedding,
}


def level_embedding(
    name: str, frequencies: int, spread: float | None, width: int, act: nn.Module
) -> nn.Sequential:
    """c_noise (b,) -> (b, width): so many frequencies and two layers.

    name: a row of `EMBEDDINGS`; spread: of its frequencies, its own unless given.
    """
    make, both = lookup(EMBEDDINGS, name, "embedding"), 2 * frequencies  # cosines and sines
    waves = make(both) if spread is None else make(both, spread)
    return nn.Sequential(waves, nn.Linear(both, width), act, nn.Linear(width, width))


def with_class(embedding: Tensor, classes: nn.Embedding | None, y: Tensor | None) -> Tensor:
    """The embedding (b, e) and that of the classes y (b,); the last row stands for "no class".

    Unchanged where the network knows no classes.
    """
    if classes is None:
        return embedding
    if y is None:
        y = embedding.new_full((len(embedding),), classes.num_embeddings - 1, dtype=torch.long)
    return embedding + classes(y)  # type: ignore[no-any-return]
