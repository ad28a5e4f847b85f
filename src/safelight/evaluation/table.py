"""An evaluation as a table for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from safelight.evaluation.estimate import COVERS, Estimate, Evaluation, Interval

COLUMNS = ("", "value", "95 % interval", "real images", "n", "protocol")


def table(evaluation: Evaluation) -> Table:
    """One row for each estimate; what the intervals cover stands below."""
    shown = Table(
        title=Text(f"{evaluation.source} against {evaluation.against}"),
        caption=Text(COVERS),
        caption_justify="left",
    )
    for column in COLUMNS:
        shown.add_column(column, justify="right" if column else "left")
    for estimate in evaluation.estimates:
        shown.add_row(*map(Text, _cells(estimate)))
    return shown


def _cells(estimate: Estimate) -> tuple[str, ...]:
    def span(low: float, high: float) -> str:
        return f"{estimate.show(low)} to {estimate.show(high)}"

    def real(floor: Interval | None) -> str:
        if floor is None:
            return estimate.protocol.floor_images or "not known"
        return f"{estimate.show(floor.value)} ({span(floor.low, floor.high)})"

    return (
        estimate.name,
        estimate.show(estimate.value),
        span(estimate.low, estimate.high),
        real(estimate.floor),
        f"{estimate.n:,}",
        estimate.protocol.hash,
    )
