"""A comparison drawn: one panel a metric, one line a source, real images as a band."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from safelight.errors import UserError
from safelight.evaluation.compare import Comparison
from safelight.files import require_file
from safelight.reporting.paper import COLOURS, PAPER, save

REAL = "#0a6ebd"
ABREAST = 3  # panels in a row
WIDTH, TITLE, ROW = 3.2, 1.05, 0.38  # inches of a panel; the height beside its rows; of each
LETTERS = 34  # of a source's name: its end says most
LETTERS_AN_INCH = 16  # of the words below
LEGEND = "Red: the best value, and what can't be told from it. Blue: real images in their place."


def require_png(path: Path) -> None:
    """Raise UserError where a plot is called otherwise."""
    if path.suffix.lower() != ".png":
        raise UserError(f"a plot is written as PNG; end its name, {path.name}, in .png")
    require_file(path)


def draw(comparisons: Sequence[Comparison], path: Path, wrong: Sequence[str] = ()) -> Path:
    """Write the intervals into `path`, a PNG, and below them what is wrong with the images.

    Raises UserError where it is called otherwise.
    """
    require_png(path)
    return save(lambda: figure(comparisons, wrong), path)


def figure(comparisons: Sequence[Comparison], wrong: Sequence[str] = ()) -> Figure:
    """A panel for each metric.

    Sources stand in the order of the first panel, each with its value and its 95 % interval, and
    the values of single trainings as small circles below. The band is the interval of real images
    in their place.
    """
    sources = [source for source, _ in comparisons[0].estimates]
    across = min(ABREAST, len(comparisons))
    down = math.ceil(len(comparisons) / across)
    size = (1.9 + WIDTH * across, 0.5 + down * (TITLE + ROW * len(sources)))
    drawn = Figure(figsize=size, layout="constrained", facecolor=PAPER)
    panels = drawn.subplots(down, across, squeeze=False, sharey=True).flatten()
    for panel, comparison in zip(panels, comparisons, strict=False):
        _panel(panel, comparison, sources)
    for unused in panels[len(comparisons) :]:
        unused.set_axis_off()
    told = [LEGEND, *dict.fromkeys(said for each in comparisons for said in each.covers)]
    lines = [" ".join(told), *(f"Look out: {each}." for each in wrong)]
    words = "\n".join(textwrap.fill(line, round(LETTERS_AN_INCH * size[0])) for line in lines)
    drawn.supxlabel(words, fontsize=7.5, color=COLOURS["quiet"])
    return drawn


def _panel(axes: Axes, comparison: Comparison, sources: Sequence[str]) -> None:
    found = dict(comparison.estimates)
    first = comparison.estimates[0][1]
    axes.set_facecolor(PAPER)
    if first.floor is not None:
        axes.axvspan(first.floor.low, first.floor.high, color=REAL, alpha=0.13, linewidth=0)
        axes.axvline(first.floor.value, color=REAL, linewidth=1.2)
    for row, source in enumerate(sources):
        each, colour = found[source], COLOURS["first" if source in comparison.foremost else "ink"]
        axes.plot([each.low, each.high], [row, row], color=colour, linewidth=2.2)
        axes.plot(each.value, row, "o", color=colour, markersize=6)
        single = [one.value for one in comparison.trainings.get(source, {}).values()]
        below = [row + 0.22] * len(single)
        axes.plot(single, below, "o", color=PAPER, markeredgecolor=colour, markersize=3.5)
    axes.set_title(comparison.name, fontsize=10, color=COLOURS["ink"], loc="left")
    better = "higher is better" if first.higher_is_better else "lower is better"
    axes.set_xlabel(better, fontsize=8)
    axes.set_yticks(range(len(sources)), [_shown(source, comparison) for source in sources])
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set_ylim(len(sources) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: first.show(value)))


def _shown(source: str, comparison: Comparison) -> str:
    name = source if len(source) <= LETTERS else f"…{source[1 - LETTERS :]}"
    trainings = comparison.trainings.get(source)
    return f"{name}\n({len(trainings)} trainings)" if trainings else name
