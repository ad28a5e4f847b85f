"""What is written down of every image to find what is wrong with it: its signature.

It is a network like those that give features: the images are looked at in the same pass, and it is
kept as they are. It has NAMES and a small picture, 204 numbers of an image of any size.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from safelight.evaluation.moments import Features
from safelight.evaluation.network import Network, three_channels

THUMBNAIL = 8  # pixels a side
BLOCK = 8  # of JPEG
BLOCK_ROWS = 4096  # of signatures that are read at once
CONSTANT = 1.0  # levels of standard deviation below which there is nothing in a picture
# Levels: a model draws the empty ground of a picture a little above 0, which is no fault of either.
END = 8
VERSION = "version 3"

# The numbers of a picture and where they stand: (b, c, h, w) in levels of 0..255.
NAMES = (
    *("hash0", "hash1", "hash2", "hash3"),  # 64 bits of its content, 16 in each
    *("deviation", "lowest", "highest"),  # deviation: of the values of a channel
    *("black", "white"),  # the shares of its values within END of 0 and of 255
    "colour",  # mean difference of green from red and blue; 0 of grey
    "detail",  # log10 of the share of its variance in the finest detail, see `_detail`
    "blocks",  # what JPEG leaves, see `_blocks`
)
COLUMNS = {name: i for i, name in enumerate(NAMES)}
DIMENSION = len(NAMES) + 3 * THUMBNAIL**2


def _cosines() -> Tensor:
    """What gives a block's cosine coefficients of its values, (64, 63): all but their mean."""
    k = torch.arange(BLOCK)
    one = 0.5 * torch.cos(torch.pi / BLOCK * k[:, None] * (k + 0.5))
    one[0] = 0.125**0.5
    return torch.kron(one, one)[1:].T.contiguous()


COSINES = _cosines()


def signature() -> Network:
    """uint8 (b, c, h, w) -> float32 (b, DIMENSION): NAMES, then the picture at 8x8 in colour."""
    return Network("signature", DIMENSION, "none", VERSION, published=False, extract=_extract)


@dataclass(frozen=True)
class Signatures:
    """Those of some images. In memory is a number of each image for each name that is asked for."""

    features: Features

    def __len__(self) -> int:
        return len(self.features)

    def column(self, name: str) -> NDArray[np.float32]:
        """One number of each image, (n,)."""
        return self._columns([name])[:, 0]

    def hashes(self) -> NDArray[np.uint64]:
        """64 bits of each image's content, (n,): equal for equal images, and else not."""
        pieces = self._columns(NAMES[:4]).astype(np.uint64)
        return pieces @ np.array([1 << 48, 1 << 32, 1 << 16, 1], np.uint64)

    def thumbnails(self, start: int, stop: int) -> NDArray[np.float32]:
        """Of the images start..stop, (b, 3 * 8 * 8), in levels."""
        return self.features[start:stop][:, len(NAMES) :]

    def _columns(self, names: Sequence[str]) -> NDArray[np.float32]:
        chosen = [COLUMNS[name] for name in names]
        starts = range(0, len(self), BLOCK_ROWS)
        parts = [self.features[start : start + BLOCK_ROWS][:, chosen] for start in starts]
        return np.concatenate(parts)


def _extract(images: Tensor) -> Tensor:
    flat = images.flatten(1)
    colour = _three(images.float())
    numbers = [
        _variance(images.float().flatten(2)).mean(1).sqrt(),
        flat.amin(1),
        flat.amax(1),
        (flat <= END).sum(1) / flat.shape[1],
        (flat >= 255 - END).sum(1) / flat.shape[1],
        (colour[:, :2] - colour[:, 1:]).abs().mean((1, 2, 3)),
        _detail(colour.mean(1)),
        _blocks(colour),
    ]
    thumbnail = F.adaptive_avg_pool2d(colour, THUMBNAIL).flatten(1)
    return torch.cat([_hashes(images), torch.stack(numbers, 1), thumbnail], 1)


def _three(images: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, 3, h, w): of two channels, and of more than three, means of neighbouring
    ones, so that all count."""
    if images.shape[1] in (1, 3):
        return three_channels(images)
    pooled: Tensor = F.adaptive_avg_pool1d(images.flatten(2).mT, 3).mT
    return pooled.reshape(len(images), 3, *images.shape[2:])


def _variance(values: Tensor) -> Tensor:
    """Of the last axis; torch's own is five times slower on a CPU."""
    return (values - values.mean(-1, keepdim=True)).square().mean(-1)


def _hashes(images: Tensor) -> Tensor:
    """(b, 4): 16 bits in each, which float32 holds exactly."""
    digests = [
        hashlib.blake2b(image.tobytes(), digest_size=8).digest()
        for image in images.contiguous().numpy()
    ]
    return torch.tensor([[*np.frombuffer(digest, ">u2")] for digest in digests]).float()


def _detail(grey: Tensor) -> Tensor:
    """log10 of the power of the finest diagonal detail over the variance, (b,); 0 of a constant.

    The detail is d = x[i,j] - x[i+1,j] - x[i,j+1] + x[i+1,j+1], which enlarging takes away: of a
    picture that was enlarged smoothly it is small everywhere, and of one whose pixels were repeated
    it is nothing at every other place. So it is taken at even and odd places each by itself, and
    the least of the four counts.
    """
    if min(grey.shape[1:]) < 2:
        return torch.zeros(len(grey))
    variance = _variance(grey.flatten(1))
    d = grey.diff(dim=1).diff(dim=2).square()
    places = [d[:, i::2, j::2].mean((1, 2)) for i in (0, 1) for j in (0, 1)]
    least = torch.stack(places).nan_to_num(math.inf).amin(0)
    share = torch.log10(least.clamp(min=1e-3) / variance.clamp(min=CONSTANT**2))
    return torch.where(variance < CONSTANT**2, 0.0, share)


def _blocks(colour: Tensor) -> Tensor:
    """How many more of the luma's cosine coefficients are 0 in JPEG's blocks than between, (b,).

    JPEG rounds the coefficients in blocks that begin in the corner, most of them to 0. In blocks
    that begin half a block further nothing was rounded. Of a picture that was not compressed, or
    was resized since, both shares are alike. 0 of pictures with less than 2x2 blocks.
    """
    if min(colour.shape[2:]) < 2 * BLOCK:
        return torch.zeros(len(colour))
    luma = torch.tensordot(colour, torch.tensor([0.299, 0.587, 0.114]), dims=([1], [0])) - 128
    half = BLOCK // 2
    return _zeros(luma) - _zeros(luma[:, half:, half:])


def _zeros(luma: Tensor) -> Tensor:
    """The share of cosine coefficients, but for the first, that round to 0, (b,).

    Blocks count by their contrast: an empty one is no sign of how a picture was kept.
    """
    h, w = (size // BLOCK for size in luma.shape[1:])
    blocks = luma[:, : h * BLOCK, : w * BLOCK].reshape(-1, h, BLOCK, w, BLOCK).transpose(2, 3)
    coefficients = (blocks.reshape(-1, BLOCK**2) @ COSINES).view(len(luma), h * w, -1)
    contrast = coefficients.square().mean(2).sqrt()
    zeros = (coefficients.abs() < 0.5).float().mean(2)
    return (contrast * zeros).sum(1) / contrast.sum(1).clamp(min=1e-3)
