"""The plots of what was measured of the model's images while it was trained."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator, SymmetricalLogLocator

from safelight.evaluation.estimate import Estimate, Evaluation
from safelight.reporting import words
from safelight.reporting.collect import ReportData
from safelight.reporting.plots import (
    INKS,
    LOG_FROM,
    Floats,
    Key,
    Plot,
    drawing,
    name_axes,
    plain,
    stretch,
    told,
)

Point = tuple[int, Estimate]
MOST_BARS = 50  # more intervals can't be told apart at this size


def curves(data: ReportData) -> list[Plot]:
    """One for each number that the last evaluation has."""
    if not data.judged:
        return []
    newest = data.judged[-1][1]
    return [_plot(data, newest, estimate) for estimate in newest.estimates]


def _plot(data: ReportData, newest: Evaluation, last: Estimate) -> Plot:
    points = [
        (step, estimate)
        for step, evaluation in data.judged
        for estimate in evaluation.estimates
        if estimate.name == last.name
    ]
    like = [point for point in points if point[1].protocol.hash == last.protocol.hash]
    keys = [Key("first", "averaged weights (EMA), with 95 % interval")]
    if last.floor is not None:
        keys.append(Key("second", "real pictures instead"))
    note = _note(newest, last, len(points) - len(like))
    return Plot(f"{last.name} while it learned", distance(like), keys, note)


def _note(newest: Evaluation, last: Estimate, others: int) -> str:
    """What the points are of; `others` have another protocol and are not drawn."""
    protocol = last.protocol
    drawn = f", by {newest.drawn}" if newest.drawn else ""
    left_out = f" {words.plural(others, 'point')} of another protocol left out." if others else ""
    return (
        f"{words.count(last.n)} pictures of the same seeds{drawn}, against "
        f"{words.count(protocol.reference)} of {newest.against}. Last: {last}. Intervals cover the "
        f"sampling of pictures.{left_out}"
    )


def distance(points: list[Point]) -> Markup:
    """Value and interval against the step, and the band of real images; of one protocol."""
    step = np.array([step for step, _ in points], dtype=np.float64)
    rows = [(e.low, e.value, e.high) for _, e in points]
    low, value, high = np.array(rows, dtype=np.float64).T
    last = points[-1][1]

    def draw(axes: Axes) -> None:
        if last.floor is not None:
            ends = last.floor.low, last.floor.high
            axes.axhspan(*ends, color=INKS["second"], alpha=0.25, linewidth=0)
        axes.fill_between(step, low, high, color=INKS["first"], alpha=0.2, linewidth=0)
        marker = None
        if len(step) <= MOST_BARS:
            marker = "o"
            axes.vlines(step, low, high, color=INKS["first"], alpha=0.5, linewidth=1)
        axes.plot(step, value, color=INKS["first"], linewidth=1.8, marker=marker, markersize=3.5)
        name_axes(axes, "step", last.name)
        stretch(axes)
        _see_both_ends(axes, value, last.high - last.value)

    return drawing(draw, f"judged-{_slug(last.name)}", told(last.name, step, value))


def _see_both_ends(axes: Axes, value: Floats, reach: float) -> None:
    """Where the first points dwarf the last: linear within what the last interval can tell from
    nothing, for a distance may be estimated below nothing, and logarithmic beyond."""
    if reach > 0 and value.max() > LOG_FROM * max(value.min(), reach):
        axes.set_yscale("symlog", linthresh=reach)
        locator = SymmetricalLogLocator(base=10, linthresh=reach, subs=[1, 3])
        axes.yaxis.set_major_locator(locator)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
