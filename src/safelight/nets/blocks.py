"""The pieces that networks are built of. Feature maps are (b, c, h, w), embeddings (b, e)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from safelight.errors import lookup

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}


def group_norm(channels: int) -> nn.Module:
    # 8 groups: 32 is six to ten times slower in bf16 and channels_last on a CPU.
    return nn.GroupNorm(math.gcd(8, channels), channels)


def no_norm(channels: int) -> nn.Module:
    return nn.Identity()


NORMS: dict[str, Callable[[int], nn.Module]] = {"group": group_norm, "none": no_norm}


class FourierEmbedding(nn.Module):
    """cos and sin of 2 pi f c_noise at fixed random frequencies f ~ N(0, scale²).

    Section 4 of arXiv:2006.10739, as used for noise levels in arXiv:2011.13456.
    """

    frequencies: Tensor

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        frequencies = torch.randn(width // 2, generator=generator) * scale
        self.register_buffer("frequencies", frequencies)

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = 2 * math.pi * c_noise[:, None].float() * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1)


class SinusoidalEmbedding(nn.Module):
    """cos and sin at geometric frequencies, section 3.5 of arXiv:1706.03762.

    c_noise spans a few units where that paper's positions span a thousand, hence the factor.
    """

    frequencies: Tensor

    def __init__(self, width: int, longest: float = 10_000.0, factor: float = 250.0) -> None:
        super().__init__()
        exponent = torch.arange(width // 2) / (width // 2)
        self.register_buffer("frequencies", factor * longest**-exponent)

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = c_noise[:, None].float() * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=1)


EMBEDDINGS: dict[str, Callable[[int], nn.Module]] = {
    "fourier": FourierEmbedding,
    "sinusoidal": SinusoidalEmbedding,
}


Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def zeroed(layer: Layer) -> Layer:
    """Start at zero, so that a residual block is the identity before it has learnt anything."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """x + conv(drop(act(modulate(norm(conv(act(norm(x)))))))), modulated by the embedding.

    The scale and shift of the noise level's and class's embedding follow arXiv:2105.05233 (AdaGN).
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, norm: str, activation: str, dropout: float
    ) -> None:
        super().__init__()
        make_norm = lookup(NORMS, norm, "normalisation")
        self.act = lookup(ACTIVATIONS, activation, "activation")()
        self.norm1 = make_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm2 = make_norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(self.act(self.norm1(x)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm2(h), scale + 1)
        return self.shortcut(x) + self.conv2(self.dropout(self.act(h)))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Every position attends to all others, arXiv:1706.03762 eq. (1), with a residual connection.

    Few wide heads, and the product written out: on a CPU fused attention with heads of 8 takes
    half of a training step, this form a tenth of that.
    """

    def __init__(self, channels: int, norm: str, head_width: int = 64) -> None:
        super().__init__()
        most = max(1, channels // head_width)
        self.heads = next(heads for heads in range(most, 0, -1) if channels % heads == 0)
        self.norm = lookup(NORMS, norm, "normalisation")(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = self.qkv(self.norm(x)).flatten(2)  # (b, 3c, h w)
        q, k, v = tokens.reshape(b, 3, self.heads, c // self.heads, h * w).unbind(1)
        scores = (q.transpose(-1, -2) @ k) * (c // self.heads) ** -0.5  # (b, heads, h w, h w)
        mixed = v @ scores.softmax(dim=-1).transpose(-1, -2).to(v.dtype)
        return x + self.out(mixed.reshape(b, c, h, w))  # type: ignore[no-any-return]
