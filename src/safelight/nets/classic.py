"""The U-Net as it began, arXiv:1505.04597: one shortcut at each resolution; here told the noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, starmap

import torch
from torch import Tensor, nn

from safelight.errors import UserError, lookup
from safelight.nets.blocks import ACTIVATIONS, NORMS, SelfAttention
from safelight.nets.embedding import embed_change, told, waves, with_change, with_class
from safelight.nets.resampling import DOWNS, UPS
from safelight.nets.unet import attention_heights, check_shape


class ClassicUNet(nn.Module):
    """Predicts F(x, c_noise, y).

    With the options of the preset `classic` it is the network of many tutorials on diffusion.

    Args:
        shape: (c, h, w) of the images; h and w have to halve as often as there are resolutions
            besides the first.
        classes: number of classes; 0 for none. Label `classes` stands for "no class".
        answers: how many images the network gives, one after another in the channels.
        varied: how many numbers tell it how images were varied; 0 where it is not told.
        widths: channels at each resolution on the way down and, without the coarsest, up again:
            64 128 256 128 64 has three resolutions.
        blocks: pairs of convolutions between the ways.
        middle: how many times as wide as the coarsest resolution all but the last of these are.
        attention, heads: at which resolutions (heights in pixels) attention follows, and its heads.
        attention_norm: its normalisation, a row of `NORMS`; as `norm` unless given.
        norm, activation, down, up, embedding: rows of the tables of these names.
        frequencies: how many of them the embedding has; 128 unless given.
        spread: of the embedding's frequencies; the embedding's own unless given.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int = 0,
        answers: int = 1,
        varied: int = 0,
        *,
        widths: Sequence[int] = (64, 128, 256, 256, 128, 64, 64),
        blocks: int = 3,
        middle: int = 2,
        attention: Sequence[int] | str = (),
        heads: int | None = None,
        attention_norm: str | None = None,
        norm: str = "layer",
        activation: str = "gelu",
        down: str = "max",
        up: str = "bilinear",
        embedding: str = "sinusoidal",
        frequencies: int | None = None,
        spread: float | None = None,
    ) -> None:
        super().__init__()
        depth = resolutions(widths)
        channels, height, _ = shape
        attends_at = attention_heights(attention, height, depth)
        check_shape(shape, depth, attends_at, fewer)
        self.classes, self.told = classes, told(embedding)
        e = 2 * (frequencies or 128)
        self.embed_level = waves(embedding, e // 2, spread)
        self.embed_class = nn.Embedding(classes + 1, e) if classes else None
        pair = _Pairs(norm, activation)
        smaller, larger = lookup(DOWNS, down, "down-sampling"), lookup(UPS, up, "up-sampling")

        def attend(width: int, depth: int) -> nn.Module:
            if height >> depth not in attends_at:
                return nn.Identity()
            return SelfAttention(width, attention_norm or norm, heads, feedforward=1)

        self.stem = pair(channels, widths[0])
        down_widths, up_widths = widths[:depth], widths[depth - 1 :]
        self.down = nn.ModuleList(
            Level(smaller(i), [pair(i, i, residual=True), pair(i, o)], e, o, attend(o, d))
            for d, (i, o) in enumerate(pairwise(down_widths), 1)
        )
        w = down_widths[-1]
        self.middle = nn.Sequential(*starmap(pair, pairwise([w, *[middle * w] * (blocks - 1), w])))
        self.up = nn.ModuleList()
        for d, (i, o) in zip(reversed(range(depth - 1)), pairwise(up_widths), strict=True):
            both = widths[d] + i
            pairs = [pair(both, both, residual=True), pair(both, o, both // 2)]
            self.up.append(Level(larger(i), pairs, e, o, attend(o, d)))
        self.head = nn.Conv2d(widths[-1], answers * channels, 1)
        self.embed_change = embed_change(varied, e)  # last: no other draw moves

    def forward(
        self, x: Tensor, c_noise: Tensor, y: Tensor | None = None, varied: Tensor | None = None
    ) -> Tensor:
        """x (b, c, h, w), c_noise (b,), y (b,) int64 or None -> F (b, answers c, h, w).

        varied (b, labels): how the images were; None is not at all.
        """
        embedding = with_class(self.embed_level(c_noise), self.embed_class, y)
        embedding = with_change(embedding, self.embed_change, varied)
        embedding = nn.functional.silu(embedding)
        h = self.stem(x)
        skips = []
        for level in self.down:
            skips.append(h)
            h = level(h, embedding)
        h = self.middle(h)
        for level in self.up:
            h = level(h, embedding, skips.pop())
        return self.head(h)  # type: ignore[no-any-return]


class Level(nn.Module):
    """Another resolution, two pairs of convolutions, the noise level's shift, and attention."""

    def __init__(
        self,
        scale: nn.Module,
        convolutions: Sequence[nn.Module],
        embedding: int,
        outputs: int,
        attend: nn.Module,
    ) -> None:
        super().__init__()
        self.scale, self.attend = scale, attend
        self.convolutions = nn.Sequential(*convolutions)
        self.shift = nn.Linear(embedding, outputs)

    def forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None = None) -> Tensor:
        """x (b, c, h, w), embedding (b, e), skip: what the way down had at this resolution."""
        h = self.scale(x)
        h = self.convolutions(h if skip is None else torch.cat([skip, h], dim=1))
        return self.attend(h + self.shift(embedding)[:, :, None, None])  # type: ignore[no-any-return]


class Pair(nn.Module):
    """norm(conv(act(norm(conv(x))))); with a way around it act(x + that)."""

    def __init__(
        self, inputs: int, between: int, outputs: int, norm: str, activation: str, residual: bool
    ) -> None:
        super().__init__()
        make_norm = lookup(NORMS, norm, "normalisation")
        self.act = lookup(ACTIVATIONS, activation, "activation")()
        self.residual = residual
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, between, 3, padding=1, bias=False),
            make_norm(between),
            self.act,
            nn.Conv2d(between, outputs, 3, padding=1, bias=False),
            make_norm(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.layers(x)
        return self.act(x + h) if self.residual else h  # type: ignore[no-any-return]


class _Pairs:
    """Makes pairs with one normalisation and activation."""

    def __init__(self, norm: str, activation: str) -> None:
        self.norm, self.activation = norm, activation

    def __call__(
        self, inputs: int, outputs: int, between: int | None = None, residual: bool = False
    ) -> Pair:
        return Pair(inputs, between or outputs, outputs, self.norm, self.activation, residual)


def fewer(depth: int) -> str:
    """How to ask for a network of so many resolutions."""
    if depth == 1:
        return "1 width with --net.kind unet --net.widths 64"  # nothing here goes down and up
    return f"{2 * depth - 1} widths with --net.widths"


def resolutions(widths: Sequence[int]) -> int:
    """How many there are; raises UserError where the way up does not fit the way down."""
    if len(widths) % 2 == 0 or len(widths) < 3:
        raise UserError(
            f"the network classic goes down and up again, which takes an odd number of widths of "
            f"3 or more, and there are {len(widths)}; give --net.widths such as 64 128 256 128 64"
        )
    return len(widths) // 2 + 1
