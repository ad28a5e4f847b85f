"""What `safelight presets` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Group
from rich.table import Table

from safelight.config import Autoencoder, Gan, Net
from safelight.console import progress
from safelight.errors import MissingLibrary
from safelight.images import spelled
from safelight.machine import device, keep_memory
from safelight.nets.gan import Generator
from safelight.nets.reference import Lucidrains, Reference
from safelight.presets import PRESETS, RECIPES, natural_shape
from safelight.training.costs import STEPS, Cost, Speed, Trial
from safelight.training.devices import best_precision, describe
from safelight.training.networks import heeded
from safelight.training.options import chosen

BUSY = 10.0  # percent of the processors: with more in others' hands a time is marked
WIDTH = 80  # columns


@dataclass(frozen=True)
class Price:
    """What a preset costs with the pictures that it was made for."""

    widths: Sequence[int]
    cost: Cost
    speed: Speed | None  # where it was not measured, or does not fit into memory


@dataclass(frozen=True)
class Prices:
    """Of all presets; none where the library that has the network is not installed."""

    rows: Mapping[str, Price | None]
    machine: str
    precision: str
    measured: bool

    def to_json(self) -> dict[str, Any]:
        rows = {
            name: price and {"shape": natural_shape(name), **asdict(price.cost), **_speed(price)}
            for name, price in self.rows.items()
        }
        return {**asdict(self), "rows": rows}


def find_prices(measure: bool) -> Prices:
    """Build every preset and count; time it too, if that is asked for."""
    place, rows = device(), {}
    if measure:
        keep_memory()  # as `train` does
    with progress("presets", len(PRESETS)) as advance:
        for name in PRESETS:
            rows[name] = _price(name, place, measure)
            advance(note=name)
    return Prices(rows, describe(place), best_precision(place), measure)


def _price(name: str, place: torch.device, measure: bool) -> Price | None:
    config = PRESETS[name]
    try:
        trial = Trial(config, natural_shape(name), place)
    except MissingLibrary:
        return None
    return Price(_widths(trial), trial.cost(), trial.speed() if measure else None)


def _widths(trial: Trial) -> Sequence[int]:
    """Of a diffusion model's network, of a GAN's generator, or of an autoencoder."""
    net, _ = trial.family.call(trial.learner.model, torch.zeros(1, *trial.shape))
    if isinstance(net, Reference | Lucidrains | Generator):
        return net.widths
    config = trial.config
    return config.autoencoder.widths if config.family == "autoencoder" else config.net.widths


def listing(prices: Prices) -> Group:
    """What the presets are, what they cost, and the recipes."""
    networks = _table("preset", "network", "widths", "attention")
    gans = _table("preset", "widths", "loss", "labels", "noise", "augmentation")
    coders = _table("preset", "widths", "latents", "pixels in one", "loss")
    for name, config in PRESETS.items():
        price = prices.rows[name]
        widths = " ".join(map(str, price.widths)) if price else "not installed"
        if config.family == "gan":
            gans.add_row(name, widths, *_game(config.gan))
        elif config.family == "autoencoder":
            coders.add_row(name, widths, *_coder(config.autoencoder))
        else:
            networks.add_row(name, config.net.kind, widths, _attention(config.net))
    mathematics = _table("recipe", "path", "prediction", "objective", "times", "weight")
    for name, recipe in RECIPES.items():
        prediction, times, weight = chosen(recipe)
        mathematics.add_row(name, recipe.path, prediction, recipe.objective, times, weight)
    return Group(
        networks, "", gans, "", coders, "", _costs(prices), *_explained(prices), "", mathematics
    )


def _costs(prices: Prices) -> Table:
    headers = ("pictures", "parameters", "GFLOPs", "memory")
    table = _table("preset", *headers, *(["images/s"] if prices.measured else []))
    for column in table.columns[2:]:
        column.justify = "right"
    installed = {name: price for name, price in prices.rows.items() if price}
    for name, price in installed.items():
        cost = price.cost
        table.add_row(
            name,
            spelled(natural_shape(name)),
            f"{cost.parameters:,}",
            f"{cost.flops / 1e9:.2f}",
            f"{cost.memory / 2**20:,.0f} MB",
            *([_shown(price.speed)] if prices.measured else []),
        )
    return table


def _shown(speed: Speed | None) -> str:
    if speed is None:
        return "too large"
    median, low, high = (
        f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
        for rate in (speed.median, speed.low, speed.high)
    )
    return f"{median} ({low}-{high}){'*' if speed.others >= BUSY else ' '}"


def _speed(price: Price) -> dict[str, Any]:
    return {"speed": None if price.speed is None else asdict(price.speed)}


def _explained(prices: Prices) -> list[str]:
    """What the numbers mean, in lines that fit."""
    lines = [
        "pictures: channels, width and height that it was made for; it takes others too.",
        "GFLOPs: convolutions and matrix products of one forward pass of one picture, a",
        "multiply-add as two. memory: of a training step with the whole batch, in",
        f"{prices.precision}; where that is not free, the batch goes through in pieces.",
    ]
    if not prices.measured:
        return [*lines, "--measure times them here, which takes a minute or more."]
    lines += [
        f"images/s: forwards and backwards, the median (and extremes) of {STEPS} steps, on",
        prices.machine[:WIDTH],
    ]
    others = [price.speed.others for price in prices.rows.values() if price and price.speed]
    if max(others, default=0) >= BUSY:
        lines += [
            f"* while others had {BUSY:.0f} to {max(others):.0f} % of the processors. "
            "A quiet machine may be many",
            "times faster: close what else is at work, and measure again.",
        ]
    return lines


def _attention(net: Net) -> str:
    heeds = heeded(net.kind)
    if "options" in heeds:
        return "options"
    if "attention" not in heeds:
        return "all" if "heads" in heeds else "none"
    return net.attention if isinstance(net.attention, str) else str(net.attention or "none")


def _game(gan: Gan) -> tuple[str, str, str, str]:
    told = f"{1 - gan.smoothing:g} {gan.smoothing:g}"  # of real images and of generated ones
    labels = "none" if gan.loss == "hinge" else told
    return gan.loss, labels, f"{gan.noise:g}", " ".join(gan.augment) or "none"


def _coder(options: Autoencoder) -> tuple[str, str, str]:
    side = 2 ** len(options.widths)
    return f"{options.channels} channels", f"{side}x{side}", options.loss


def _table(*headers: str) -> Table:
    """Every name whole within 80 columns: it may be what somebody wants to type."""
    return Table(*headers, box=None, padding=(0, 2, 0, 0), pad_edge=False)
