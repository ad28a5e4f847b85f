"""How the pictures of a batch are varied before they are learnt from."""

from __future__ import annotations

import torch
from torch import Tensor

from safelight.config import Data
from safelight.data.augment import crop, flip, turn
from safelight.errors import UserError
from safelight.images import Pixels, dequantise, quantise
from safelight.nets import nonleaky
from safelight.nets.augmentation import hole, recoloured
from safelight.seeding import Draws

BELOW_ONE = 1 - 2.0**-24  # the largest float32 there is
GREY = dequantise(torch.tensor(128, dtype=torch.uint8)).item()


def varied(
    images: Pixels, options: Data, draws: Draws, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Pictures (b, c, h, w) -> float32 in [-1, 1] on the device, still of 256 levels.

    And with `augment` the labels (b, LABELS) that a network is told of it.
    """

    def u(purpose: str, n: int) -> Tensor:
        drawn = torch.from_numpy(draws.uniform(purpose, n)).to(device, torch.float32)
        return drawn.clamp_(max=BELOW_ONE)  # one in 30 million would be rounded to 1

    x = dequantise(torch.from_numpy(placed(images, options, draws)).to(device))
    labels = None
    if options.jitter:
        brightness = 2 * options.jitter  # pixels span 2
        x = recoloured(x, u("jitter", 3), brightness, options.jitter, options.jitter)
        x = dequantise(quantise(x))
    if options.augment:
        change = nonleaky.drawn(
            u("augment", nonleaky.DRAWS),
            options.augment,
            sideways=not options.flip,  # which is not told: there is nothing left to tell
            upside_down=options.upside_down,
        )
        x, labels = dequantise(quantise(nonleaky.changed(x, change))), change.labels
    if options.cutout:
        side = options.cutout
        x = x.masked_fill(hole(u("cutout", 2), x.shape[2:], (side, side)), GREY)
    return x, labels


def placed(images: Pixels, options: Data, draws: Draws) -> Pixels:
    """Cropped, mirrored and turned."""
    height, width = options.window or images.shape[2:]
    if options.shift or (height, width) != images.shape[2:]:
        images = crop(images, draws.uniform("crop", 2), height, width, pad=options.shift)
    if options.flip:
        images = flip(images, draws.uniform("flip", 1)[:, 0])
    if options.turn:
        images = turn(images, draws.uniform("turn", 1)[:, 0])
    return images


def require_fitting(options: Data, shape: tuple[int, int, int]) -> None:
    """Raises UserError where pictures (c, h, w) can't be varied so, or would stay what they are."""
    _, h, w = shape
    height, width = options.window or (h, w)
    if options.window == (h, w):
        raise UserError(
            f"--data.crop {options.crop} is all of each picture; leave it out, or prepare the "
            "pictures a little larger"
        )
    if options.turn and height != width:
        raise UserError(
            f"--data.turn needs square pictures, and these are {width}x{height}; leave it out, or "
            f"learn from square parts of them with --data.crop {min(height, width)}"
        )
    if options.cutout >= min(height, width):
        raise UserError(
            f"--data.cutout {options.cutout} would hide most of a picture of {width}x{height}; "
            f"give less, such as {min(height, width) // 4}"
        )
