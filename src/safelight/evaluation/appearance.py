"""Feature networks without a network: the colours of a picture, and its spectrum."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from safelight.errors import UserError
from safelight.evaluation.network import Network

MOST_RINGS = 32
ROUNDING = 1.0 / 12.0  # the power that rounding to whole levels adds at each frequency


def colour(shape: tuple[int, int, int]) -> Network:
    """The means of a picture's channels and their deviations, and those of their differences.

    All in levels of 0..255: for (c, h, w) 2 c numbers, and one more for each pair of channels. The
    covariances of channels follow from them, Var(r - g) = Var r + Var g - 2 Cov(r, g).
    """
    pairs = list(combinations(range(shape[0]), 2))

    def extract(images: Tensor) -> Tensor:
        x = images.double().flatten(2)
        apart = [x[:, i] - x[:, j] for i, j in pairs]
        spread = torch.stack([*x.unbind(1), *apart], 1).std(2, correction=0)
        return torch.cat([x.mean(2), spread], 1).float()

    dimension = 2 * shape[0] + len(pairs)
    weights = "none: moments of channels"
    return Network("colour", dimension, "none", weights, False, extract, units="levels of 0..255")


def spectrum(shape: tuple[int, int, int]) -> Network:
    """How much of a picture is coarse and how much fine, in decibels (arXiv:2003.01826).

    The power |F|² / h w of the levels at each frequency, the channels' mean, is averaged over rings
    of equal width from frequency 0, which is left out, to the corner's. One number a ring,
        10 log10(power + 1/12),
    where 1/12 is the power of rounding to levels, so that a picture of one level has one too.
    Raises UserError for pictures of one pixel a side.
    """
    if min(shape[1:]) < 2:
        raise UserError("a picture of one pixel a side has no spectrum; leave spectrum out")
    rings, count = ring_of(shape[1:])
    sizes = torch.bincount(rings.flatten(), minlength=count + 1)[1:]

    def extract(images: Tensor) -> Tensor:
        power = torch.fft.fft2(images.double(), norm="ortho").abs().square().mean(1)
        summed = torch.zeros(len(images), count + 1, dtype=power.dtype)
        summed.index_add_(1, rings.flatten(), power.flatten(1))
        return (10.0 * (summed[:, 1:] / sizes + ROUNDING).log10()).float()

    weights = f"none: means over {count} rings of frequencies"
    return Network("spectrum", count, "none", weights, False, extract, units="decibels")


def ring_of(size: tuple[int, ...]) -> tuple[Tensor, int]:
    """The ring of each frequency, (h, w) in 0..count, and their count; 0 is frequency 0 alone.

    Half the shorter side and at most MOST_RINGS of them, so that none is empty.
    """
    count = min(min(size) // 2, MOST_RINGS)
    fy, fx = (torch.fft.fftfreq(side, dtype=torch.float64) for side in size)
    radius = torch.hypot(fy[:, None], fx[None, :])
    # A frequency on the edge of two rings is of the inner one, whichever way it was rounded.
    rings = (radius / radius.max() * count - 1e-9).ceil().long().clamp(min=0)
    return rings, count
