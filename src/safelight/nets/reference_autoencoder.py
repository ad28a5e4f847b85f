"""Diffusers' autoencoders, those of Stable Diffusion, behind the interface of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from safelight.errors import UserError, lookup
from safelight.nets.autoencoder import check_sides, mean_and_std
from safelight.nets.reference import Foreign, Shape


class Kind(NamedTuple):
    """A class of autoencoders."""

    foreign: Foreign
    levels: str
    """The option with a number for each resolution of its encoder."""
    encode: Callable[[Any, Tensor], tuple[Tensor, Tensor]]
    echoed: Sequence[str] = ()
    """What it writes into config.json besides the options that it is made with."""


def _distribution(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    return mean_and_std(net.encode(x).latent_dist.parameters)


def _point(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    z: Tensor = net.encode(x).latents.float()
    return z, torch.zeros_like(z)


def _foreign(name: str) -> Foreign:
    return Foreign("diffusers", name, "reference", {}, (), where="its config.json")


KINDS = {
    "AutoencoderKL": Kind(_foreign("AutoencoderKL"), "block_out_channels", _distribution),
    "AutoencoderTiny": Kind(
        _foreign("AutoencoderTiny"), "encoder_block_out_channels", _point, ("block_out_channels",)
    ),
}


class ReferenceAutoencoder(nn.Module):
    """An autoencoder of diffusers, its weights random until others are loaded.

    Grey pictures go through one that was made for three channels: as all three on the way in, and
    as their mean on the way out. Its latents are as the encoder gives them, without its config's
    scaling_factor. AutoencoderTiny has no distribution: its standard deviation is 0.

    Args:
        kind: a row of `KINDS`.
        options: as in its config.json; the usual ones unless given.
        shape: (c, h, w) of the pictures; h and w are multiples of `factor`, and those of pictures
            that it is given later may be other ones.

    Attributes:
        factor: pixels along a side for one place of the latents.
        latent: (channels, h / factor, w / factor).

    Raises UserError for options that can't be and for pictures that do not fit, and MissingLibrary
    where diffusers can't be imported.
    """

    def __init__(self, kind: str, options: Mapping[str, Any], shape: Shape) -> None:
        super().__init__()
        row = lookup(KINDS, kind, "autoencoder of diffusers")
        self.kind, self.options, self.shape = kind, dict(options), shape
        chosen = row.foreign.given(options)
        self.factor = 2 ** (len(row.foreign.several(chosen, row.levels)) - 1)
        check_sides(shape, self.factor, "; or choose another autoencoder")
        self.channels = check_channels(shape, chosen)
        x = torch.zeros(1, self.channels, *shape[1:])
        if (answer := row.foreign.tried(chosen, x).sample.shape) != x.shape:
            raise UserError(
                f"this {kind} makes pictures of {answer[3]}x{answer[2]} of those of "
                f"{shape[2]}x{shape[1]}; choose an autoencoder that gives them back as large"
            )
        self.latent = chosen["latent_channels"], shape[1] // self.factor, shape[2] // self.factor
        self._encode = row.encode
        self.net = row.foreign.make()(**chosen)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (b, c, h, w) in [-1, 1] -> mean and standard deviation of z, each (b, *latent)."""
        return self._encode(self.net, x.expand(-1, self.channels, -1, -1))

    def decode(self, z: Tensor) -> Tensor:
        """z (b, *latent) -> (b, c, h, w), about in [-1, 1] and not clipped."""
        x: Tensor = self.net.decode(z).sample
        return x if self.shape[0] == self.channels else x.mean(dim=1, keepdim=True)


def check_channels(shape: Shape, options: Mapping[str, Any]) -> int:
    """How many channels the autoencoder takes and gives: the pictures', or 3 for grey ones."""
    c, takes, gives = shape[0], options["in_channels"], options["out_channels"]
    if takes != gives or takes not in ((1, 3) if c == 1 else (c,)):
        raise UserError(
            f"the autoencoder takes pictures of {takes} channels and gives {gives}, and these "
            f"have {c}; choose one for {c}{' or 3' if c == 1 else ''}"
        )
    return c if takes == c else 3


def options_in(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What an autoencoder of this kind is made with, of what its config.json says."""
    echoed = lookup(KINDS, kind, "autoencoder of diffusers").echoed
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in echoed}
