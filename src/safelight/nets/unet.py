"""The U-Net: down through coarser resolutions, up again, with a shortcut at every block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from safelight.errors import UserError, lookup
from safelight.nets.blocks import ACTIVATIONS, BLOCKS, NORMS, SelfAttention, zeroed
from safelight.nets.embedding import embed_change, level_embedding, told, with_change, with_class
from safelight.nets.resampling import DOWNS, UPS, check_tiles

RESOLUTIONS: dict[str, Callable[[Sequence[int]], Sequence[int]]] = {
    "coarsest": lambda heights: heights[-1:],
    "coarser": lambda heights: heights[1:],
    "all": lambda heights: heights,
}
# Channels in, channels out, depth -> a block and its attention, if there is one.
MakeBlock = Callable[[int, int, int], nn.ModuleList]


class UNet(nn.Module):
    """Predicts F(x, c_noise, y), section 3.3 and appendix B of arXiv:2006.11239.

    Args:
        shape: (c, h, w) of the images; h and w have to halve len(widths) - 1 times.
        classes: number of classes; 0 for none. Label `classes` stands for "no class".
        answers: how many images the network gives, one after another in the channels.
        varied: how many numbers tell it how images were varied; 0 where it is not told.
        widths: channels at each resolution, finest first; their number is the depth.
        fold: height and width in pixels of what the first layer takes as one place, its values as
            channels (space to depth, arXiv:1609.05158); the finest resolution is h / fold.
        blocks: blocks at each resolution on the way down (one more on the way up).
        block: what they are, a row of `BLOCKS`.
        attention: resolutions (heights in pixels) at which self-attention follows each block; or
            a row of `RESOLUTIONS`.
        heads, feedforward: of the attention, see `SelfAttention`.
        attention_norm: its normalisation, a row of `NORMS`; as `norm` unless given.
        norm, activation, down, up, embedding: rows of the tables of these names.
        skip: how a block on the way up takes the one of its height on the way down, a row of
            `SKIPS`.
        frequencies: how many of them the embedding has; half of the first width unless given.
        spread: of the embedding's frequencies; the embedding's own unless given.
        dropout: share of a block's features that is forgotten at random while training.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int = 0,
        answers: int = 1,
        varied: int = 0,
        *,
        widths: Sequence[int] = (64, 128, 128),
        fold: int = 1,
        blocks: int = 2,
        block: str = "residual",
        attention: Sequence[int] | str = (),
        heads: int | None = None,
        attention_norm: str | None = None,
        feedforward: float | None = None,
        norm: str = "group",
        activation: str = "silu",
        down: str = "strided",
        up: str = "nearest",
        skip: str = "concat",
        embedding: str = "fourier",
        frequencies: int | None = None,
        spread: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_tiles(shape[1:], fold, "fold")
        channels, height, width = shape[0] * fold**2, shape[1] // fold, shape[2] // fold
        attends_at = attention_heights(attention, height, len(widths))
        check_shape((channels, height, width), len(widths), attends_at)
        self.classes, self.told = classes, told(embedding)
        e = 4 * widths[0]
        act = lookup(ACTIVATIONS, activation, "activation")()
        half = -(-widths[0] // 2)
        self.embed_level = level_embedding(embedding, frequencies or half, spread, e, act)
        self.embed_class = nn.Embedding(classes + 1, e) if classes else None
        self.act = act
        self.fold, self.unfold = nn.PixelUnshuffle(fold), nn.PixelShuffle(fold)
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        make_block = lookup(BLOCKS, block, "block")

        def make(inputs: int, outputs: int, depth: int) -> nn.ModuleList:
            layer = make_block(inputs, outputs, e, norm, activation, dropout)
            attends = height >> depth in attends_at
            attend = (
                SelfAttention(outputs, attention_norm or norm, heads, feedforward or 0)
                if attends
                else nn.Identity()
            )
            return nn.ModuleList([layer, attend])

        self.down, skips = _way_down(widths, blocks, make, lookup(DOWNS, down, "down-sampling"))
        self.middle = make(widths[-1], widths[-1], len(widths) - 1)
        take = lookup(SKIPS, skip, "skip")
        self.up, self.skips = _way_up(
            widths, blocks + 1, skips, make, take, lookup(UPS, up, "up-sampling")
        )
        self.head = nn.Sequential(
            lookup(NORMS, norm, "normalisation")(widths[0]),
            act,
            zeroed(nn.Conv2d(widths[0], answers * channels, 3, padding=1)),
        )
        self.embed_change = embed_change(varied, e)  # last: no other draw moves
        # Convolutions keep the channels of a place together: without it they reorder all they see.
        self.to(memory_format=torch.channels_last)

    def forward(
        self, x: Tensor, c_noise: Tensor, y: Tensor | None = None, varied: Tensor | None = None
    ) -> Tensor:
        """x (b, c, h, w), c_noise (b,), y (b,) int64 or None -> F (b, answers c, h, w).

        varied (b, labels): how the images were; None is not at all.
        """
        embedding = with_class(self.embed_level(c_noise), self.embed_class, y)
        embedding = with_change(embedding, self.embed_change, varied)
        embedding = self.act(embedding)
        h = self.stem(self.fold(x))
        skips = [h]
        for layer in self.down:
            h = _apply(layer, h, embedding)
            skips.append(h)
        h = _apply(self.middle, h, embedding)
        takes = iter(self.skips)
        for layer in self.up:
            if isinstance(layer, nn.ModuleList):
                h = next(takes)(h, skips.pop())
            h = _apply(layer, h, embedding)
        return self.unfold(self.head(h))  # type: ignore[no-any-return]


class Concat(nn.Module):
    """Both, one after the other in the channels."""

    def __init__(self, width: int, skip: int) -> None:
        super().__init__()
        self.outputs = width + skip

    def forward(self, h: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([h, skip], dim=1)


class Sum(nn.Module):
    """Both added up; by a 1x1 convolution where they have not as many channels."""

    def __init__(self, width: int, skip: int) -> None:
        super().__init__()
        self.outputs = width
        self.fit = nn.Identity() if width == skip else nn.Conv2d(skip, width, 1)

    def forward(self, h: Tensor, skip: Tensor) -> Tensor:
        return h + self.fit(skip)  # type: ignore[no-any-return]


Skip = Callable[[int, int], Concat | Sum]
SKIPS: dict[str, Skip] = {"concat": Concat, "sum": Sum}


def _way_down(
    widths: Sequence[int], blocks: int, make: MakeBlock, down: Callable[[int], nn.Module]
) -> tuple[nn.ModuleList, list[int]]:
    """So many blocks at each resolution; and the channels of what is remembered on the way."""
    layers, skips, width = nn.ModuleList(), [widths[0]], widths[0]
    for depth, outputs in enumerate(widths):
        if depth:
            layers.append(down(width))
            skips.append(width)
        for _ in range(blocks):
            layers.append(make(width, outputs, depth))
            width = outputs
            skips.append(width)
    return layers, skips


def _way_up(
    widths: Sequence[int],
    blocks: int,
    skips: list[int],
    make: MakeBlock,
    take: Skip,
    up: Callable[[int], nn.Module],
) -> tuple[nn.ModuleList, nn.ModuleList]:
    """So many blocks at each resolution; and how each takes the last of `skips` besides."""
    layers, takes, width = nn.ModuleList(), nn.ModuleList(), widths[-1]
    for depth, outputs in reversed(list(enumerate(widths))):
        for _ in range(blocks):
            joined = take(width, skips.pop())
            takes.append(joined)
            layers.append(make(joined.outputs, outputs, depth))
            width = outputs
        if depth:
            layers.append(up(width))
    return layers, takes


def _apply(layer: nn.Module, h: Tensor, embedding: Tensor) -> Tensor:
    if isinstance(layer, nn.ModuleList):
        residual, attend = layer
        return attend(residual(h, embedding))  # type: ignore[no-any-return]
    return layer(h)  # type: ignore[no-any-return]


def attention_heights(attention: Sequence[int] | str, height: int, depth: int) -> Sequence[int]:
    """Where there is attention, in pixels: as given, or a row of `RESOLUTIONS`."""
    if not isinstance(attention, str):
        return attention
    return lookup(RESOLUTIONS, attention, "attention")([height >> d for d in range(depth)])


def several_widths(n: int) -> str:
    return f"{n} width{'s' if n > 1 else ''} with --net.widths"


def check_shape(
    shape: tuple[int, int, int],
    depth: int,
    attention: Sequence[int] = (),
    fewer: Callable[[int], str] = several_widths,
) -> None:
    """Refuse an image size that the depth cannot halve, or attention where no layer is.

    fewer: how to ask for a network of so many resolutions.
    """
    _, h, w = shape
    factor = 2 ** (depth - 1)
    if h % factor or w % factor:
        nearest = [max(1, round(side / factor)) * factor for side in (h, w)]
        fits = next(d for d in range(depth, 0, -1) if h % 2 ** (d - 1) == w % 2 ** (d - 1) == 0)
        times = f"{depth - 1} time{'s' if depth > 2 else ''}"
        raise UserError(
            f"images of {w}x{h} cannot be halved {times}; prepare them at "
            f"{nearest[1]}x{nearest[0]}, or give {fewer(fits)}"
        )
    resolutions = [h >> d for d in range(depth)]
    for resolution in attention:
        if resolution not in resolutions:
            raise UserError(
                f"no layer works at resolution {resolution}; "
                f"choose --net.attention from {', '.join(map(str, resolutions))}"
            )
