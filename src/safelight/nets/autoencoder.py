"""Pictures in fewer numbers, and back: what latent diffusion works in, arXiv:2112.10752."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from safelight.errors import UserError, lookup
from safelight.nets.blocks import ACTIVATIONS, NORMS, ResidualBlock, SelfAttention

Shape = tuple[int, int, int]
LEAST, MOST = -30.0, 20.0  # of the logarithm of the variance, as in the code of arXiv:2112.10752
FIRST = -5.0  # the same before training: as much noise as signal would have to be learnt away


class Autoencoder(nn.Module):
    """A variational autoencoder with places: q(z | x) = N(mean(x), std(x)²), arXiv:1312.6114.

    Nothing is done at the pictures' own resolution: four pixels become the channels of one place
    at once, and the last convolution answers with them again. On a CPU that is most of the time.

    Args:
        shape: (c, h, w) of the pictures; h and w are multiples of `factor`, and those of pictures
            that it is given later may be other ones.
        channels: of the latents.
        widths: channels at half of the pictures' resolution, at a quarter, and so on.
        blocks: residual blocks at each of these on the way down, and as many on the way up.
        norm, activation: rows of `NORMS` and `ACTIVATIONS`.
        attention: whether all places of the latents attend to each other, once on either way.

    Attributes:
        factor: pixels along a side for one place of the latents.
        latent: (channels, h / factor, w / factor).

    Raises UserError where h or w is no multiple of `factor`.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        channels: int = 4,
        widths: Sequence[int] = (64, 128),
        blocks: int = 2,
        norm: str = "group",
        activation: str = "silu",
        attention: bool = False,
    ) -> None:
        super().__init__()
        c, h, w = shape
        self.factor = 2 ** len(widths)
        check_sides(shape, self.factor, fewer(shape, len(widths)))
        self.latent = channels, h // self.factor, w // self.factor
        parts = _Parts(blocks, norm, activation)
        last = widths[-1]
        attend = [SelfAttention(last, norm)] if attention else []
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * c, widths[0], 3, padding=1),
            *parts.way_down(widths),
            *attend,
            *parts.head(last),
            narrowed(nn.Conv2d(last, 2 * channels, 3, padding=1)),
        )
        attend = [SelfAttention(last, norm)] if attention else []
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, last, 3, padding=1),
            *attend,
            *parts.way_up(widths),
            *parts.head(widths[0]),
            nn.Conv2d(widths[0], 4 * c, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (b, c, h, w) in [-1, 1] -> mean and standard deviation of z, each (b, *latent)."""
        return mean_and_std(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """z (b, *latent) -> (b, c, h, w), about in [-1, 1] and not clipped."""
        return self.decoder(z)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstructions from z = mean + std eps (section 2.4 of arXiv:1312.6114), mean, std.

        x (b, c, h, w) in [-1, 1], eps (b, *latent) of N(0, 1).
        """
        mean, std = self.encode(x)
        return self.decode(mean + std * eps), mean, std


class _Parts:
    """Makes the layers of both ways with one normalisation and activation."""

    def __init__(self, blocks: int, norm: str, activation: str) -> None:
        self.blocks, self.norm, self.activation = blocks, norm, activation

    def same(self, width: int) -> list[nn.Module]:
        return [
            ResidualBlock(width, width, 0, self.norm, self.activation, dropout=0)
            for _ in range(self.blocks)
        ]

    def way_down(self, widths: Sequence[int]) -> list[nn.Module]:
        layers = self.same(widths[0])
        for fine, coarse in pairwise(widths):
            layers += [nn.Conv2d(fine, coarse, 3, stride=2, padding=1), *self.same(coarse)]
        return layers

    def way_up(self, widths: Sequence[int]) -> list[nn.Module]:
        layers = self.same(widths[-1])
        for coarse, fine in pairwise(reversed(widths)):
            # The channels first: they are fewer, and there are a quarter of the places.
            doubled = [nn.Conv2d(coarse, fine, 1), nn.Upsample(scale_factor=2, mode="nearest")]
            layers += [*doubled, *self.same(fine)]
        return layers

    def head(self, width: int) -> list[nn.Module]:
        return [
            lookup(NORMS, self.norm, "normalisation")(width),
            lookup(ACTIVATIONS, self.activation, "activation")(),
        ]


def narrowed(layer: nn.Conv2d) -> nn.Conv2d:
    """Let the variance, the second half of its channels, begin at exp(FIRST) everywhere."""
    variance = slice(layer.out_channels // 2, None)
    with torch.no_grad():
        layer.weight[variance] = 0
        if layer.bias is not None:
            layer.bias[variance] = FIRST
    return layer


def mean_and_std(moments: Tensor) -> tuple[Tensor, Tensor]:
    """(b, 2c, h, w): the mean, then the logarithm of the variance -> both as (b, c, h, w).

    In float32 whatever the layers work in, since small deviations are lost in less.
    """
    mean, log_variance = moments.float().chunk(2, dim=1)
    return mean, torch.exp(0.5 * log_variance.clamp(LEAST, MOST))


def check_sides(shape: Shape, factor: int, otherwise: str) -> None:
    """Refuse pictures whose sides are no multiple of the factor; otherwise: another way out."""
    _, h, w = shape
    if h % factor or w % factor:
        fit = [[max(1, side // factor), -(-side // factor)] for side in (w, h)]
        wide, high = ([n * factor for n in places] for places in fit)
        sizes = " or ".join(dict.fromkeys(map(_size, wide, high)))
        raise UserError(
            f"pictures of {w}x{h} cannot be divided into places of {factor}x{factor} pixels, as "
            f"the autoencoder does; prepare them with --size {sizes}{otherwise}"
        )


def _size(width: int, height: int) -> str:
    """As `prepare` takes it."""
    return str(width) if width == height else f"{width}x{height}"


def fewer(shape: Shape, depth: int) -> str:
    """How to ask for a factor that divides these pictures, where there is one."""
    _, h, w = shape
    fits = next(d for d in range(depth, -1, -1) if h % 2**d == w % 2**d == 0)
    some = f"{fits} width{'s' if fits > 1 else ''}"
    return f", or give {some} with --autoencoder.widths" if fits else ""
