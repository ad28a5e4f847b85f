"""Half and twice the resolution: (b, c, h, w) -> (b, c, h/2, w/2) and (b, c, 2h, 2w)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from safelight.errors import UserError

DOWNS: dict[str, Callable[[int], nn.Module]] = {
    "strided": lambda channels: nn.Conv2d(channels, channels, 3, stride=2, padding=1),
    "max": lambda channels: nn.MaxPool2d(2),
    "average": lambda channels: nn.AvgPool2d(2),
}
UPS: dict[str, Callable[[int], nn.Module]] = {
    "nearest": lambda channels: nn.Upsample(scale_factor=2, mode="nearest"),
    "bilinear": lambda channels: nn.Upsample(scale_factor=2, mode="bilinear"),
    # Corner pixels stay at the corners, so that the others lie a little denser than twice.
    "corners": lambda channels: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    # A kernel that the stride divides: others lay a chequered pattern.
    "transposed": lambda channels: nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1),
}


def check_tiles(sides: Sequence[int], tile: int, option: str) -> None:
    """Refuse squares that do not tile the image. option: the one of `Net` that asks for them."""
    if any(side % tile for side in sides):
        fits = [n for n in range(1, min(sides) + 1) if not any(side % n for side in sides)]
        raise UserError(
            f"squares of {tile} do not tile images of {sides[1]}x{sides[0]}; choose --net.{option} "
            f"from {', '.join(map(str, fits))}"
        )
