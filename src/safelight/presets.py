"""Configurations by name: presets are networks, recipes the mathematics of the literature."""

from __future__ import annotations

from safelight.config import Config, Diffusion, Net, Optimiser
from safelight.errors import lookup

AUTO = "auto"  # the preset for pictures of this size
SIZES = ((16, "tiny"), (32, "small"), (64, "medium"))  # up to so many pixels; else large
# Few blocks and narrow at the finest resolution: that is where nearly all of the time goes.
PRESETS: dict[str, Config] = {
    "tiny": Config(net=Net(widths=(48, 96)), optimiser=Optimiser(lr=2e-3)),
    "small": Config(net=Net(widths=(32, 64, 128), blocks=1)),
    "medium": Config(net=Net(widths=(32, 64, 128, 128), blocks=1)),
    "large": Config(net=Net(widths=(32, 64, 128, 128, 256), blocks=1)),
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


def with_recipe(config: Config, recipe: str | None) -> Config:
    if recipe is None:
        return config
    return config.model_copy(update={"diffusion": lookup(RECIPES, recipe, "recipe")})


def described(shape: tuple[int, int, int], name: str, recipe: str | None) -> tuple[str, Config]:
    """The preset's name and its configuration; AUTO stands for the one that fits the pictures."""
    return fitting(shape, recipe) if name == AUTO else (name, preset(name, recipe))


def fitting(shape: tuple[int, int, int], recipe: str | None = None) -> tuple[str, Config]:
    """The preset meant for pictures of this shape, with no more resolutions than they can halve."""
    _, height, width = shape
    name = next((name for largest, name in SIZES if height <= largest), "large")
    config = preset(name, recipe)
    depth = len(config.net.widths)
    while height % 2 ** (depth - 1) or width % 2 ** (depth - 1):
        depth -= 1
    net = config.net.model_copy(update={"widths": config.net.widths[:depth]})
    return name, config.model_copy(update={"net": net})
