"""What `safelight presets` prints."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from safelight.presets import PRESETS, RECIPES
from safelight.training.learners import build_denoiser
from safelight.training.options import chosen


def listing() -> Group:
    """The presets, as they are for colour pictures of 64x64; and the recipes."""
    networks = _table("preset", "widths", "attention at", "batch", "learning rate", "parameters")
    for name, config in PRESETS.items():
        denoiser = build_denoiser(config, (3, 64, 64), 0, 0.5)
        parameters = sum(p.numel() for p in denoiser.parameters())
        net, optimiser = config.net, config.optimiser
        widths = " ".join(map(str, net.widths))
        attention = net.attention if net.attention == "coarsest" else str(net.attention)
        row = (name, widths, attention, str(optimiser.batch), f"{optimiser.lr:g}")
        networks.add_row(*row, f"{parameters / 1e6:.1f} M")
    mathematics = _table("recipe", "path", "prediction", "objective", "times", "weight")
    for name, recipe in RECIPES.items():
        prediction, times, weight = chosen(recipe)
        mathematics.add_row(name, recipe.path, prediction, recipe.objective, times, weight)
    return Group(networks, "", mathematics)


def _table(*headers: str) -> Table:
    """Every name whole within 80 columns: it may be what somebody wants to type."""
    return Table(*headers, box=None, padding=(0, 2, 0, 0), pad_edge=False)
