"""Configurations by name: presets are networks, recipes the mathematics of the literature."""

from __future__ import annotations

import math
from typing import Any

from safelight.config import Autoencoder, Config, Data, Diffusion, Gan, Net, Optimiser
from safelight.errors import UserError, lookup

AUTO = "auto"  # the preset for pictures of this size
SIZES = ((16, "tiny"), (32, "small"), (64, "medium"))  # up to so many pixels; else large


def _with(net: Net, **changes: Any) -> Net:
    return net.model_copy(update=changes)


# The U-Net of many tutorials.
CLASSIC = Net(
    kind="classic",
    widths=(64, 128, 256, 256, 128, 64, 64),
    blocks=3,
    attention="all",
    heads=4,
    norm="layer",
    activation="gelu",
    down="max",
    up="bilinear",
    embedding="sinusoidal",
)
# The same as its authors have it, so that their weights fit (`nets.weights`): attention normalises
# each place by itself, the way up keeps the corners, and the time step is told.
TCAPELLE = _with(CLASSIC, attention_norm="place", up="corners", embedding="steps")
# The classic one without attention, as pairs of convolutions are in a first course.
SIMPLE = _with(CLASSIC, blocks=1, attention=(), heads=None, norm="batch", activation="relu")
# One resolution less, and attention everywhere but at the finest.
TWO = _with(CLASSIC, widths=(64, 128, 256, 128, 128), blocks=2, attention="coarser")
RESNET = Net(widths=(64, 128, 128), blocks=1, down="max")
# Those of another library in its default form: three resolutions, and those of the smaller network
# of arXiv:2006.11239 (its table of appendix B: 35.7 million parameters).
REFERENCE = Net(
    kind="reference",
    options={
        "block_out_channels": [64, 128, 256],
        "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
    },
)
REFERENCE_DDPM = Net(
    kind="reference",
    options={
        "block_out_channels": [128, 256, 256, 256],
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": None,
        "downsample_padding": 0,
        "dropout": 0.1,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
    },
)
# Ours. Few blocks and narrow at the finest resolution: that is where nearly all the time goes; and
# what is left out of a block or between the two ways pays for more steps (docs/speed.md).
LEAN = Net(block="lean", skip="sum")
# Many small steps: on two cores the same time teaches more in them. The rate does not fall to zero,
# so that the average has something to do.
FAST = Optimiser(name="muon", lr=3e-3, batch=16, final=0.3)
PRESETS: dict[str, Config] = {
    "tiny": Config(net=_with(LEAN, widths=(48, 96)), optimiser=FAST),
    "small": Config(net=_with(LEAN, widths=(32, 64, 128), blocks=1), optimiser=FAST),
    "medium": Config(net=_with(LEAN, widths=(32, 64, 128, 128), blocks=1), optimiser=FAST),
    "large": Config(net=_with(LEAN, widths=(32, 64, 128, 128, 256), blocks=1), optimiser=FAST),
    "transformer": Config(net=Net(kind="transformer", widths=(192,), blocks=6, patch=4)),
    # Those of others.
    "simple": Config(net=_with(SIMPLE, widths=(64, 128, 128, 64, 32))),
    "simple-wide": Config(net=_with(SIMPLE, widths=(128, 256, 256, 128, 64))),
    "conv": Config(net=_with(RESNET, block="plain", attention=())),
    "resnet": Config(net=RESNET),
    "classic": Config(net=CLASSIC),
    "tcapelle": Config(net=TCAPELLE),
    "classic-short": Config(net=_with(CLASSIC, blocks=2)),
    "classic-half": Config(net=_with(CLASSIC, widths=(32, 64, 128, 128, 64, 32, 32))),
    "classic-two-long": Config(net=_with(TWO, blocks=3)),
    "classic-two": Config(net=TWO),
    "classic-two-half": Config(net=_with(TWO, widths=(32, 64, 128, 64, 64))),
    "plain": Config(net=Net(kind="plain", widths=(64, 128, 256))),
    "ddpm": Config(net=Net(widths=(64, 128, 256), blocks=2, embedding="sinusoidal")),
    "keras": Config(
        net=Net(
            widths=(32, 64, 96, 128),
            attention=(),
            norm="batch",
            down="average",
            up="bilinear",
            embedding="sinusoidal",
            frequencies=16,
            spread=1000.0,
        )
    ),
    "reference": Config(net=REFERENCE),
    "reference-ddpm": Config(net=REFERENCE_DDPM),
    "lucidrains": Config(
        data=Data(conditional=False),
        net=Net(kind="lucidrains", options={"dim": 64, "dim_mults": [1, 2, 4, 8]}),
    ),
}
# DCGAN of arXiv:1511.06434, as the tutorials train it, and what is done to it.
DCGAN = Config(
    family="gan",
    optimiser=Optimiser(
        name="adam", lr=2e-4, betas=(0.5, 0.999), batch=128, warmup=0, decay="none", clip=math.inf
    ),
)


def _gan(batch: int = 128, **changes: Any) -> Config:
    optimiser = DCGAN.optimiser.model_copy(update={"batch": batch})
    return DCGAN.model_copy(update={"optimiser": optimiser, "gan": Gan(**changes)})


PRESETS |= {
    "dcgan": DCGAN,
    "dcgan-smoothed": _gan(smoothing=0.1),
    "dcgan-noised": _gan(noise=0.1, noise_until=1.0),
    # The generator keeps its channels longer.
    "dcgan-wide": _gan(latent=128, widths=(64, 256, 256), discriminator_widths=(64, 128, 256)),
    "gan": _gan(batch=64, loss="hinge", augment=("colour", "translation")),
}
# Of arXiv:2112.10752: a place of the latents stands for 4x4 pixels, or for 8x8.
PRESETS |= {
    "autoencoder": Config(family="autoencoder", optimiser=Optimiser(batch=32)),
    "autoencoder-8": Config(
        family="autoencoder",
        autoencoder=Autoencoder(channels=16, widths=(48, 96, 96)),
        optimiser=Optimiser(batch=32),
    ),
}
# Channels, height and width, of the pictures that a preset was made for, where they are not USUAL.
# It takes others too: its first and last layers are made for the channels that there are.
USUAL = (3, 32, 32)
SHAPES = {
    "tiny": (3, 16, 16),
    "medium": (3, 64, 64),
    "large": (3, 128, 128),
    "simple": (1, 28, 28),
    "ddpm": (3, 64, 64),
    "keras": (3, 64, 64),
    "reference": (3, 64, 64),
    "autoencoder": (3, 64, 64),
    "autoencoder-8": (3, 128, 128),
}
# What the literature means by a name: a path, and what is not as usual with it.
RECIPES: dict[str, Diffusion] = {
    "flow": Diffusion(),  # arXiv:2209.03003, with the times of arXiv:2403.03206
    "edm": Diffusion(path="edm"),  # arXiv:2206.00364
    "ddpm": Diffusion(path="linear"),  # arXiv:2006.11239
    "improved-ddpm": Diffusion(  # arXiv:2102.09672
        path="cosine", objective="hybrid", variance="learned"
    ),
    "v": Diffusion(path="cosine-continuous", prediction="v"),  # arXiv:2202.00512
    # arXiv:2006.09011, and its continuous form and the variance-preserving one of arXiv:2011.13456.
    "smld": Diffusion(path="exploding"),
    "ve": Diffusion(path="exploding-continuous"),
    "vp": Diffusion(path="linear-continuous"),
}


def preset(name: str, recipe: str | None = None) -> Config:
    """The configuration called `name`, with the mathematics of `recipe` if one is given."""
    return with_recipe(lookup(PRESETS, name, "preset"), recipe)


def natural_shape(name: str) -> tuple[int, int, int]:
    """(c, h, w) of the pictures that the preset was made for."""
    return SHAPES.get(name, USUAL)


def with_recipe(config: Config, recipe: str | None) -> Config:
    """Raises UserError for an unknown recipe, or where it is of another family."""
    if recipe is None:
        return config
    if config.family != "diffusion":
        raise UserError(
            f"--recipe {recipe} is the mathematics of a diffusion model, and this preset is of the "
            f"family {config.family}; leave one of the two out"
        )
    return config.model_copy(update={"diffusion": lookup(RECIPES, recipe, "recipe")})


def in_latents(config: Config, autoencoder: str) -> Config:
    """The same for the latents of this autoencoder."""
    diffusion = config.diffusion.model_copy(update={"autoencoder": autoencoder})
    return config.model_copy(update={"diffusion": diffusion})


def described(shape: tuple[int, int, int], name: str, recipe: str | None) -> tuple[str, Config]:
    """The preset's name and its configuration; AUTO stands for the one that fits the pictures."""
    return fitting(shape, recipe) if name == AUTO else (name, preset(name, recipe))


def fitting(shape: tuple[int, int, int], recipe: str | None = None) -> tuple[str, Config]:
    """The preset meant for pictures of this shape, with no more resolutions than they can halve."""
    _, height, width = shape
    name = next((name for largest, name in SIZES if max(height, width) <= largest), "large")
    config = preset(name, recipe)
    depth = len(config.net.widths)
    while height % 2 ** (depth - 1) or width % 2 ** (depth - 1):
        depth -= 1
    net = config.net.model_copy(update={"widths": config.net.widths[:depth]})
    return name, config.model_copy(update={"net": net})
