"""The pieces that networks are built of. Feature maps are (b, c, h, w), embeddings (b, e)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from safelight.errors import UserError, lookup

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "leaky-relu": lambda: nn.LeakyReLU(0.2),
}


def group_norm(channels: int) -> nn.Module:
    # 8 groups: 32 is six to ten times slower in bf16 and channels_last on a CPU.
    return nn.GroupNorm(math.gcd(8, channels), channels)


class PlaceNorm(nn.LayerNorm):
    """The channels of each place by themselves, arXiv:1607.06450."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def no_norm(channels: int) -> nn.Module:
    return nn.Identity()


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": group_norm,  # arXiv:1803.08494
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "place": PlaceNorm,
    "batch": nn.BatchNorm2d,  # arXiv:1502.03167
    "none": no_norm,
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
    Without an embedding (0 of its numbers) there is nothing to modulate by.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, norm: str, activation: str, dropout: float
    ) -> None:
        super().__init__()
        make_norm = lookup(NORMS, norm, "normalisation")
        self.act = lookup(ACTIVATIONS, activation, "activation")()
        self.norm1 = make_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs) if embedding else None
        self.norm2 = make_norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.norm2(self.conv1(self.act(self.norm1(x))))
        if self.modulation is not None:
            scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
            h = torch.addcmul(shift, h, scale + 1)
        return self.shortcut(x) + self.conv2(self.dropout(self.act(h)))  # type: ignore[no-any-return]


class LeanBlock(ResidualBlock):
    """The same but for the first normalisation: what comes in is taken at whatever scale it has.

    Half the normalisations, of which the first is the dearest: it sees what the way down remembers
    too.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, norm: str, activation: str, dropout: float
    ) -> None:
        super().__init__(inputs, outputs, embedding, norm, activation, dropout)
        self.norm1 = nn.Identity()


class PlainBlock(nn.Module):
    """act(norm(conv(act(modulate(norm(conv(x))))))), modulated as in `ResidualBlock`.

    The two convolutions of arXiv:1505.04597, without a way around them.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, norm: str, activation: str, dropout: float
    ) -> None:
        super().__init__()
        make_norm = lookup(NORMS, norm, "normalisation")
        self.act = lookup(ACTIVATIONS, activation, "activation")()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm1 = make_norm(outputs)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2 = make_norm(outputs)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm1(self.conv1(x)), scale + 1)
        return self.act(self.norm2(self.conv2(self.dropout(self.act(h)))))  # type: ignore[no-any-return]


# Channels in, channels out, width of the embedding, normalisation, activation, dropout.
BLOCKS: dict[str, Callable[[int, int, int, str, str, float], nn.Module]] = {
    "residual": ResidualBlock,
    "lean": LeanBlock,
    "plain": PlainBlock,
}


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v, eq. (1) of arXiv:1706.03762; all (b, heads, n, d)."""
    return ATTENTIONS.get(q.device.type, _written_out)(q, k, v)


def _written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores: Tensor = (q @ k.mT) / math.sqrt(q.shape[-1])  # (b, heads, n, n)
    return scores.softmax(dim=-1).to(v.dtype) @ v


# By kind of device. On a CPU fused attention with heads of 8 takes half of a training step, and as
# it is written out, with few wide heads, a tenth of that.
ATTENTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cpu": _written_out,
    "cuda": nn.functional.scaled_dot_product_attention,
}


class SelfAttention(nn.Module):
    """Every position attends to all others, with a residual connection.

    Args:
        heads: their number, which divides the channels; one for 64 channels unless given.
        feedforward: width of the two layers that follow at each position, in `channels`; 0: none.
    """

    def __init__(
        self, channels: int, norm: str, heads: int | None = None, feedforward: float = 0
    ) -> None:
        super().__init__()
        make_norm = lookup(NORMS, norm, "normalisation")
        self.heads = heads_of(channels, heads)
        self.norm = make_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))
        hidden = round(feedforward * channels)
        self.feedforward = (
            nn.Sequential(
                make_norm(channels),
                nn.Conv2d(channels, hidden, 1),
                nn.GELU(),
                zeroed(nn.Conv2d(hidden, channels, 1)),
            )
            if hidden
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = _everywhere(self.qkv, self.norm(x)).reshape(b, h * w, 3, self.heads, -1)
        q, k, v = tokens.permute(2, 0, 3, 1, 4)  # (b, heads, h w, c / heads) each
        seen = attend(q, k, v).transpose(1, 2).reshape(b, h, w, c).movedim(-1, 1)
        x = x + _everywhere(self.out, seen).movedim(-1, 1)
        return x if self.feedforward is None else x + self.feedforward(x)


def _everywhere(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution of 1x1 as the product that it is: (b, c, h, w) -> (b, h, w, c').

    Where a place's channels lie together nothing is moved for it, and its gradients take half.
    """
    return nn.functional.linear(x.movedim(1, -1), layer.weight.flatten(1), layer.bias)


def heads_of(channels: int, asked: int | None, width: int = 64) -> int:
    """How many heads: as asked, or one for so many channels."""
    if asked is None:
        most = max(1, channels // width)
        return next(heads for heads in range(most, 0, -1) if channels % heads == 0)
    if channels % asked:
        raise UserError(
            f"{asked} heads cannot share {channels} channels; choose --net.heads that divides them"
        )
    return asked
