"""Comparisons as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from safelight.console import wrapped
from safelight.evaluation.compare import Comparison
from safelight.evaluation.estimate import Estimate, Interval
from safelight.images import pieces

COLUMNS = 3  # of classes beside one another: as many as 80 characters hold


def tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """One for each metric; where it is of classes too, one with a column for each.

    With more classes than COLUMNS leaves room for there are several. What the intervals cover is
    said below the last.
    """
    metrics: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        metrics.setdefault(comparison.estimates[0][1].overall, []).append(comparison)
    shown = [
        by_class(name, found[part], found[0])
        if any(each.of_class for each in found)
        else table(found[0])
        for name, found in metrics.items()
        for part in pieces(len(found), COLUMNS)
    ]
    covers = dict.fromkeys(said for comparison in comparisons for said in comparison.covers)
    shown[-1].caption = Text("\n".join((str(shown[-1].caption), *map(wrapped, covers))))
    return shown


def table(comparison: Comparison) -> Table:
    columns = ("", "value", "95 % interval", "real images instead")
    shown = _empty(comparison.name, comparison.sentences, columns)
    for name, found in comparison.estimates:
        floor = found.show(found.floor.value) if found.floor else "none"
        interval = f"{found.show(found.low)} to {found.show(found.high)}"
        called = _called(name, comparison)
        shown.add_row(*map(Text, (called, found.show(found.value), interval, floor)))
    return shown


def by_class(name: str, compared: Sequence[Comparison], first: Comparison) -> Table:
    """The sources below one another as in `first`, the classes side by side."""
    said = [sentence for each in compared for sentence in each.sentences]
    shown = _empty(name, said, ["", *(each.of_class or "all" for each in compared)])
    columns = [dict(each.estimates) for each in compared]
    for source, _ in first.estimates:
        cells = [_cell(column[source], column[source]) for column in columns]
        shown.add_row(*map(Text, (_called(source, first), *cells)))
    floors = [(held, held.floor) for each in compared for _, held in each.estimates[:1]]
    real = [_cell(held, floor) if floor else "none" for held, floor in floors]
    shown.add_row(*map(Text, ("real images instead", *real)))
    return shown


def _cell(estimate: Estimate, of: Estimate | Interval) -> str:
    return f"{estimate.show(of.value)}\n{estimate.show(of.low)} to {estimate.show(of.high)}"


def _called(source: str, comparison: Comparison) -> str:
    trainings = comparison.trainings.get(source)
    said = f"mean of {len(trainings)} trainings" if trainings else ""
    return "\n".join(filter(None, (source, said, comparison.drawn.get(source))))


def _empty(title: str, said: Sequence[str], columns: Sequence[str]) -> Table:
    shown = Table(
        title=Text(title),
        caption=Text("\n".join(map(wrapped, said))),
        caption_justify="left",
        box=None,
        padding=(0, 2),
    )
    for column in columns:
        shown.add_column(
            Text(column),
            justify="right" if column else "left",
            no_wrap=bool(column),
            overflow="fold",  # names are not cut short: their ends tell them apart
        )
    return shown
