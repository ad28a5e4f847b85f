"""The U-Net: down through coarser resolutions, up again, with a shortcut at every block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from safelight.errors import UserError, lookup
from safelight.nets.blocks import (
    ACTIVATIONS,
    EMBEDDINGS,
    NORMS,
    ResidualBlock,
    SelfAttention,
    zeroed,
)

# Channels in, channels out, depth -> a residual block and its attention, if there is one.
Block = Callable[[int, int, int], nn.ModuleList]


class UNet(nn.Module):
    """Predicts F(x, c_noise, y), section 3.3 and appendix B of arXiv:2006.11239.

    Args:
        shape: (c, h, w) of the images; h and w have to halve len(widths) - 1 times.
        classes: number of classes; 0 for none. Label `classes` stands for "no class".
        widths: channels at each resolution, finest first; their number is the depth.
        blocks: residual blocks at each resolution on the way down (one more on the way up).
        attention: resolutions (heights in pixels) at which self-attention follows each block.
        answers: how many images the network gives, one after another in the channels.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int = 0,
        *,
        widths: Sequence[int] = (64, 128, 128),
        blocks: int = 2,
        attention: Sequence[int] = (),
        norm: str = "group",
        activation: str = "silu",
        dropout: float = 0.0,
        embedding: str = "fourier",
        answers: int = 1,
    ) -> None:
        super().__init__()
        check_shape(shape, len(widths), attention)
        channels, height, _ = shape
        self.classes = classes
        e = 4 * widths[0]
        act = lookup(ACTIVATIONS, activation, "activation")()
        even = widths[0] + widths[0] % 2  # a cosine and a sine for each frequency
        level = lookup(EMBEDDINGS, embedding, "embedding")(even)
        self.embed_level = nn.Sequential(level, nn.Linear(even, e), act, nn.Linear(e, e))
        self.embed_class = nn.Embedding(classes + 1, e) if classes else None
        self.act = act
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)

        def block(inputs: int, outputs: int, depth: int) -> nn.ModuleList:
            residual = ResidualBlock(inputs, outputs, e, norm, activation, dropout)
            attends = height >> depth in attention
            return nn.ModuleList(
                [residual, SelfAttention(outputs, norm) if attends else nn.Identity()]
            )

        self.down, skips = _way_down(widths, blocks, block)
        self.middle = block(widths[-1], widths[-1], len(widths) - 1)
        self.up = _way_up(widths, blocks + 1, skips, block)
        self.head = nn.Sequential(
            lookup(NORMS, norm, "normalisation")(widths[0]),
            act,
            zeroed(nn.Conv2d(widths[0], answers * channels, 3, padding=1)),
        )

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """x (b, c, h, w), c_noise (b,), y (b,) int64 or None -> F (b, answers c, h, w)."""
        embedding = self.embed_level(c_noise)
        if self.embed_class is not None:
            nobody = torch.full_like(c_noise, self.classes, dtype=torch.long)
            embedding = embedding + self.embed_class(nobody if y is None else y)
        embedding = self.act(embedding)
        h = self.stem(x)
        skips = [h]
        for layer in self.down:
            h = _apply(layer, h, embedding)
            skips.append(h)
        h = _apply(self.middle, h, embedding)
        for layer in self.up:
            if isinstance(layer, nn.ModuleList):
                h = torch.cat([h, skips.pop()], dim=1)
            h = _apply(layer, h, embedding)
        return self.head(h)  # type: ignore[no-any-return]


def _way_down(widths: Sequence[int], blocks: int, block: Block) -> tuple[nn.ModuleList, list[int]]:
    """So many blocks at each resolution; and the channels of what is remembered on the way."""
    layers, skips, width = nn.ModuleList(), [widths[0]], widths[0]
    for depth, outputs in enumerate(widths):
        if depth:
            layers.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
            skips.append(width)
        for _ in range(blocks):
            layers.append(block(width, outputs, depth))
            width = outputs
            skips.append(width)
    return layers, skips


def _way_up(widths: Sequence[int], blocks: int, skips: list[int], block: Block) -> nn.ModuleList:
    """So many blocks at each resolution, each of which takes the last of `skips` besides."""
    layers, width = nn.ModuleList(), widths[-1]
    for depth, outputs in reversed(list(enumerate(widths))):
        for _ in range(blocks):
            layers.append(block(width + skips.pop(), outputs, depth))
            width = outputs
        if depth:
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
    return layers


def _apply(layer: nn.Module, h: Tensor, embedding: Tensor) -> Tensor:
    if isinstance(layer, nn.ModuleList):
        residual, attend = layer
        return attend(residual(h, embedding))  # type: ignore[no-any-return]
    return layer(h)  # type: ignore[no-any-return]


def check_shape(shape: tuple[int, int, int], depth: int, attention: Sequence[int]) -> None:
    """Refuse an image size that the depth cannot halve, or attention where no layer is."""
    _, h, w = shape
    factor = 2 ** (depth - 1)
    if h % factor or w % factor:
        nearest = [max(1, round(side / factor)) * factor for side in (h, w)]
        fits = next(d for d in range(depth, 0, -1) if h % 2 ** (d - 1) == w % 2 ** (d - 1) == 0)
        raise UserError(
            f"images of {h}x{w} cannot be halved {depth - 1} times; prepare them at "
            f"{nearest[0]}x{nearest[1]}, or give {fits} widths with --net.widths"
        )
    resolutions = [h >> d for d in range(depth)]
    for resolution in attention:
        if resolution not in resolutions:
            raise UserError(
                f"no layer works at resolution {resolution}; "
                f"choose --net.attention from {', '.join(map(str, resolutions))}"
            )
