"""An evaluation as a table for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from safelight.console import wrapped
from safelight.evaluation.estimate import COVERS, Estimate, Evaluation

COLUMNS = ("", "value, 95 % interval", "real images instead", "n, protocol")


def table(evaluation: Evaluation) -> Table:
    """Two lines for each estimate, to fit 80 columns.

    Below stands what is wrong with the images, a line each, and what the intervals cover.
    """
    drawn = f" ({evaluation.drawn})" if evaluation.drawn else ""
    wrong = [f"Look out: {finding.text}." for finding in evaluation.findings]
    shown = Table(
        title=Text(f"{evaluation.source}{drawn} against {evaluation.against}"),
        caption=Text("\n".join(map(wrapped, (*wrong, COVERS)))),
        caption_justify="left",
        box=None,
        padding=(0, 2, 1, 0),
        pad_edge=False,
    )
    for column in COLUMNS:
        shown.add_column(column, justify="right" if column else "left")
    for estimate in evaluation.estimates:
        shown.add_row(*map(Text, _cells(estimate)))
    return shown


def curves(evaluation: Evaluation) -> list[Table]:
    """For each extrapolated number what it comes from: its values at fewer images."""
    return [_curve(estimate) for estimate in evaluation.estimates if estimate.curve]


def _curve(estimate: Estimate) -> Table:
    shown = Table(title=Text(f"{estimate.name}, and at fewer"), box=None, padding=(0, 2))
    for column in ("images", "value", "real images instead"):
        shown.add_column(column, justify="right")
    real = dict(estimate.floor.curve) if estimate.floor else {}
    for n, value in estimate.curve:
        floor = estimate.show(real[n]) if n in real else "none"
        shown.add_row(*map(Text, (f"{n:,}", estimate.show(value), floor)))
    limits = (estimate, estimate.floor)
    ends = [f"{estimate.show(held.value)}" if held else "none" for held in limits]
    shown.add_row(*map(Text, ("at infinity", *ends)))
    return shown


def _cells(estimate: Estimate) -> tuple[str, ...]:
    def shown(value: float, low: float, high: float) -> str:
        return f"{estimate.show(value)}\n{estimate.show(low)} to {estimate.show(high)}"

    floor = estimate.floor
    return (
        estimate.name.replace(" (", "\n("),
        shown(estimate.value, estimate.low, estimate.high),
        shown(floor.value, floor.low, floor.high) if floor else estimate.protocol.floor_images,
        f"{estimate.n:,}\n{estimate.protocol.hash}",
    )
