"""The two networks of DCGAN, arXiv:1511.06434, for pictures of any size that can be halved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from safelight.errors import UserError

FINEST = 64  # channels at the finest map unless given; each halving doubles them
SMALLEST = 4  # height in pixels of the coarsest map unless widths are given
SLOPE = 0.2  # of the leaky ReLU, section 4 of the paper
SPREAD = 0.02  # standard deviation of the first weights, section 4 of the paper


def usual_widths(height: int, width: int) -> tuple[int, ...]:
    """64, 128, ...: one for each time that pictures of this size halve to no less than 4 pixels."""
    found: list[int] = []
    while not (height % 2 or width % 2) and min(height, width) // 2 >= SMALLEST:
        height, width = height // 2, width // 2
        found.append(FINEST * 2 ** len(found))
    return tuple(found)


def coarsest(height: int, width: int, widths: Sequence[int]) -> tuple[int, int]:
    """(height, width) of the map with widths[-1] channels: halved once for each of them.

    Raises UserError where that is no whole number, or there is no halving.
    """
    depth = 2 ** len(widths)
    if not widths or height % depth or width % depth:
        possible = len(usual_widths(height, width))
        raise UserError(
            f"{len(widths)} widths halve a picture {len(widths)} times, and {width}x{height} "
            f"pixels halve {possible} times to no less than {SMALLEST}; give as many "
            "--gan.widths, or prepare the pictures at another --size"
        )
    return height // depth, width // depth


class Generator(nn.Module):
    """z (b, latent) and y (b,) -> images (b, c, h, w) in [-1, 1].

    A map of the coarsest size from z, and transposed convolutions that double it, with batch
    normalisation and ReLU. The class is an embedding that joins z's channels.

    Args:
        shape: (c, h, w) of the images.
        classes: 0 for none.
        latent: numbers that an image is made of.
        widths: channels of the maps, that of half the image's size first.
        label_channels: of the class.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        latent: int,
        widths: Sequence[int],
        label_channels: int,
    ) -> None:
        super().__init__()
        c, h, w = shape
        self.latent, self.widths = latent, tuple(widths)
        self.labels = nn.Embedding(classes, label_channels) if classes else None
        given = latent + (label_channels if classes else 0)
        fine = tuple(reversed(widths))
        self.begin = _normed(
            nn.ConvTranspose2d(given, fine[0], coarsest(h, w, widths), bias=False), fine[0]
        )
        self.doublings = nn.Sequential(
            *(_normed(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False), b) for a, b in pairwise(fine))
        )
        self.end = nn.ConvTranspose2d(fine[-1], c, 4, 2, 1, bias=False)
        self.apply(_draw)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = z if self.labels is None else torch.cat([z, self.labels(y)], dim=1)
        out: Tensor = self.end(self.doublings(self.begin(x[:, :, None, None])))
        return out.tanh()


class Discriminator(nn.Module):
    """Images (b, c, h, w) and y (b,) -> logits (b,) of being real.

    Strided convolutions with leaky ReLU, and batch normalisation between the first and the last.
    The class is an embedding, each of its numbers a channel of the image's size.

    Args:
        spectral: divide each layer's weights by their spectral norm, arXiv:1802.05957, in place of
            batch normalisation.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        widths: Sequence[int],
        label_channels: int,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        c, h, w = shape
        self.labels = nn.Embedding(classes, label_channels) if classes else None
        ends = (c + (label_channels if classes else 0), *widths)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip(ends, widths, strict=False)):
            layers.append(nn.Conv2d(a, b, 4, 2, 1, bias=False))
            if i and not spectral:
                layers.append(nn.BatchNorm2d(b))
            layers.append(nn.LeakyReLU(SLOPE))
        layers.append(nn.Conv2d(widths[-1], 1, coarsest(h, w, widths), bias=False))
        self.layers = nn.Sequential(*layers)
        self.apply(_draw)
        if self.labels is not None:
            # Many constant channels as large as the picture's would drown it in the first layer.
            nn.init.normal_(self.labels.weight, 0.0, SPREAD)
        if spectral:
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.labels is not None:
            tiled = self.labels(y)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, tiled], dim=1)
        out: Tensor = self.layers(x)
        return out.flatten()


def _normed(convolution: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


def _draw(module: nn.Module) -> None:
    """First weights as in section 4 of the paper; those of normalisation are about 1."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, SPREAD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, SPREAD)
