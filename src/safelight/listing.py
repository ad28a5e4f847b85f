"""What `safelight presets` prints."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from safelight.config import Net
from safelight.errors import MissingLibrary
from safelight.nets.reference import Lucidrains, Reference
from safelight.presets import PRESETS, RECIPES
from safelight.training.networks import build_net, heeded
from safelight.training.options import chosen

SHAPE = (3, 64, 64)  # of the pictures that the parameters are counted for


def listing() -> Group:
    """The presets, as they are for colour pictures of 64x64; and the recipes."""
    networks = _table("preset", "network", "widths", "attention", "parameters")
    for name, config in PRESETS.items():
        net = config.net
        networks.add_row(name, net.kind, *_described(net))
    mathematics = _table("recipe", "path", "prediction", "objective", "times", "weight")
    for name, recipe in RECIPES.items():
        prediction, times, weight = chosen(recipe)
        mathematics.add_row(name, recipe.path, prediction, recipe.objective, times, weight)
    return Group(networks, "", mathematics)


def _described(net: Net) -> tuple[str, str, str]:
    """Its widths, attention and parameters."""
    try:
        made = build_net(net, SHAPE, classes=0)
    except MissingLibrary:
        return "", "", "not installed"
    parameters = sum(p.numel() for p in made.parameters())
    widths = made.widths if isinstance(made, Reference | Lucidrains) else net.widths
    return " ".join(map(str, widths)), _attention(net), f"{parameters / 1e6:.1f} M"


def _attention(net: Net) -> str:
    if net.options:
        return "options"
    if "attention" not in heeded(net.kind):
        return "all"
    return net.attention if isinstance(net.attention, str) else str(net.attention or "none")


def _table(*headers: str) -> Table:
    """Every name whole within 80 columns: it may be what somebody wants to type."""
    return Table(*headers, box=None, padding=(0, 2, 0, 0), pad_edge=False)
