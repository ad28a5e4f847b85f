"""The page's plots: SVG that takes its colours and its typeface from the page around it.

Drawn with matplotlib in colours of `INKS`, which stand for the page's own: so one drawing is right
in light and in dark. Each plot is 460 units wide, the width of its column on a wide screen.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from safelight.evaluation.estimate import Estimate, Interval
from safelight.reporting import words

Record = Mapping[str, Any]
Floats = NDArray[np.float64]

INKS = {
    "ink": "#010101",
    "quiet": "#020202",  # axes, labels, raw values
    "line": "#030303",  # the grid
    "first": "#040404",  # the accent: what the plot is about
    "second": "#050505",
    "red": "#060606",  # the channels of pictures
    "green": "#070707",
    "blue": "#080808",
}
STYLE: Any = {  # Any: matplotlib's type for these lists every name that there is
    "svg.fonttype": "none",
    "font.size": 11.5,
    "axes.edgecolor": INKS["line"],
    "axes.labelcolor": INKS["quiet"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INKS["line"],
    "grid.linewidth": 0.7,
    "xtick.color": INKS["quiet"],
    "ytick.color": INKS["quiet"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}
MOST_POINTS = 500  # of a raw curve: more can't be told apart at this size
WINDOW = 50  # the smoothed curve averages over this part of the records
LOG_FROM = 8  # an axis that spans more than this factor is logarithmic
TICKS = ((30, (1, 2, 5)), (1000, (1, 3)), (float("inf"), (1,)))
MOST_CURVES = 4  # validations that are drawn by noise level


@dataclass(frozen=True)
class Key:
    """One entry of a plot's legend: the role names its colour in the style sheet."""

    role: str
    text: str
    strength: str = ""


@dataclass(frozen=True)
class Plot:
    title: str
    svg: Markup
    keys: list[Key]
    note: str = ""


def drawing(draw: Callable[[Axes], None], name: str, alt: str) -> Markup:
    """Run `draw` on fresh axes and give the SVG, its ids made the page's own by `name`."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(460 / 72, 280 / 72), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inlined(buffer.getvalue(), name, alt)


def _inlined(svg: str, name: str, alt: str) -> Markup:
    """The <svg> element alone, scalable, with the page's colours, typeface and own ids."""
    body = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="[^"]*"', body)
    assert view is not None
    inner = body[body.index(">") + 1 :]
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r"font-family: [^;\"]*;?", "", inner)
    inner = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", inner)
    inner = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", inner)
    for role, colour in INKS.items():
        inner = inner.replace(colour, f"var(--{role})")
    title = Markup("<title>{}</title>").format(alt)
    return Markup(f'<svg class="plot" role="img" {view[0]}>') + title + Markup(inner)


def training_loss(records: Sequence[Record], column: str = "loss") -> Markup:
    """Loss of the logged steps against the step: each record, and smoothed."""
    step, loss = _columns(records, "step", column)

    def draw(axes: Axes) -> None:
        keep = np.unique(np.linspace(0, len(step) - 1, MOST_POINTS).astype(int))
        axes.plot(step[keep], loss[keep], color=INKS["quiet"], linewidth=0.8, alpha=0.35)
        smooth = smoothed(loss, max(1, len(loss) // WINDOW))
        axes.plot(step[keep], smooth[keep], color=INKS["first"], linewidth=1.8)
        name_axes(axes, "step", "training loss")
        stretch(axes)
        # the noise of single records must not set the scale
        low, high = np.quantile(loss, 0.005), max(np.quantile(loss, 0.995), smooth.max())
        axes.set_ylim(*_widened(axes, low, high))

    name = f"training-{column.replace(' ', '-')}"
    return drawing(draw, name, told(f"Training {column}", step, loss))


def validation(records: Sequence[Record], column: str, label: str) -> Markup:
    """What validation found, against the step: averaged weights, and raw ones where measured."""
    averaged = _columns([r for r in records if r["weights"] == "ema"], "step", column)
    raw = _columns([r for r in records if r["weights"] == "raw"], "step", column)

    def draw(axes: Axes) -> None:
        for points, role in ((raw, "second"), (averaged, "first")):
            axes.plot(*points, color=INKS[role], linewidth=1.8, marker="o", markersize=3.5)
        name_axes(axes, "step", label)
        stretch(axes)

    return drawing(draw, f"validation-{column}", told(label.capitalize(), *averaged))


def loss_by_noise(records: Sequence[Record]) -> Markup:
    """Validation loss (averaged weights) against sigma/alpha, one curve a validation."""

    def draw(axes: Axes) -> None:
        for record, opacity in zip(records, opacities(len(records)), strict=True):
            last = record is records[-1]
            axes.plot(
                record["sigma"],
                record["loss"],
                color=INKS["first"],
                alpha=opacity,
                linewidth=2.0 if last else 1.4,
                marker="o" if last else None,
                markersize=3.5,
            )
        name_axes(axes, "noise level σ/α", "validation loss")
        stretch(axes)

    last = records[-1]
    alt = (
        f"Validation loss by noise level at step {words.count(last['step'])}: "
        f"{words.significant(last['loss'][0], 3)} at {words.significant(last['sigma'][0], 2)}, "
        f"{words.significant(last['loss'][-1], 3)} at {words.significant(last['sigma'][-1], 2)}"
    )
    return drawing(draw, "noise", alt)


def speed(records: Sequence[Record]) -> Markup:
    """Images a second against the minutes of training."""
    seconds, rate = _columns(records, "seconds", "images_per_second")

    def draw(axes: Axes) -> None:
        keep = np.unique(np.linspace(0, len(rate) - 1, MOST_POINTS).astype(int))
        axes.plot(seconds[keep] / 60, rate[keep], color=INKS["first"], linewidth=1.4)
        name_axes(axes, "minutes of training", "images a second")
        axes.set_ylim(0, 1.1 * rate.max())

    alt = f"Median speed {words.count(float(np.median(rate)))} images a second"
    return drawing(draw, "speed", alt)


def distances(samples: Floats, held_out: Floats | None) -> Markup:
    """How far samples, and held-out pictures, are from their nearest training picture."""
    every = samples if held_out is None else np.concatenate([samples, held_out])
    bins = np.linspace(0, every.max() * 1.05 or 1, 31).tolist()

    def draw(axes: Axes) -> None:
        for values, colour in ((held_out, INKS["second"]), (samples, INKS["first"])):
            if values is None:
                continue
            share = np.full(len(values), 100 / len(values))
            axes.hist(values, bins, weights=share, color=colour, alpha=0.3)
            axes.hist(values, bins, weights=share, color=colour, histtype="step", linewidth=1.6)
        axes.set_xlim(0, bins[-1])
        name_axes(axes, "distance to the nearest training picture", "% of pictures")
        axes.grid(axis="x", visible=False)

    alt = f"Median distance of samples {words.significant(float(np.median(samples)), 3)}"
    if held_out is not None:
        alt += f", of held-out pictures {words.significant(float(np.median(held_out)), 3)}"
    return drawing(draw, "distances", alt)


def measured(name: str, points: Sequence[tuple[int, Estimate]]) -> Markup:
    """A metric of several checkpoints against the step, with intervals and real images' values."""
    steps = np.array([step for step, _ in points], dtype=np.float64)
    found = [estimate for _, estimate in points]
    real = [(step, each.floor) for step, each in points if each.floor]

    def draw(axes: Axes) -> None:
        ends = [(each.low, each.high) for each in found]
        axes.vlines(steps, *np.array(ends).T, color=INKS["first"], linewidth=1.2)
        values = [each.value for each in found]
        axes.plot(steps, values, color=INKS["first"], linewidth=1.8, marker="o", markersize=3.5)
        if real:
            at = [step for step, _ in real]
            bounds = [floor.low for _, floor in real], [floor.high for _, floor in real]
            axes.fill_between(at, *bounds, color=INKS["second"], alpha=0.2, linewidth=0)
            floors = [floor.value for _, floor in real]
            axes.plot(at, floors, color=INKS["second"], linewidth=1.4)
        name_axes(axes, "step", found[0].overall)
        show = found[0].show
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: show(v).replace("-", "−")))

    first, last = found[0], found[-1]
    alt = (
        f"{first.name} from {first.show(first.value)} at step {words.count(steps[0])} to "
        f"{last.show(last.value)} at step {words.count(steps[-1])}"
    )
    return drawing(draw, name, alt)


def against_count(estimate: Estimate, name: str) -> Markup:
    """An extrapolated number at fewer images, of generated and of real ones, against 1 / n.

    The line is through the last point and the value at infinity, which has its interval.
    """
    sides: list[tuple[Estimate | Interval, str]] = [(estimate, INKS["first"])]
    if estimate.floor and estimate.floor.curve:
        sides.insert(0, (estimate.floor, INKS["second"]))

    def draw(axes: Axes) -> None:
        for held, colour in sides:
            places = [1 / n for n, _ in held.curve]
            values = [value for _, value in held.curve]
            rise = (values[-1] - held.value) / places[-1] * places[0]
            axes.plot(places, values, color=colour, marker="o", markersize=3.5, linestyle="")
            axes.plot([0, places[0]], [held.value, held.value + rise], color=colour, linewidth=1.4)
            axes.plot([0, 0], [held.low, held.high], color=colour, linewidth=4, alpha=0.5)
        name_axes(axes, "images", estimate.name)
        counts = [n for n, _ in estimate.curve]
        axes.set_xticks([0, *(1 / n for n in counts)], ["∞", *map(words.count, counts)])

    (fewest, first), limit = estimate.curve[0], estimate.show(estimate.value)
    alt = (
        f"{estimate.name}: {estimate.show(first)} of {words.count(fewest)} images, "
        f"{limit} of infinitely many"
    )
    return drawing(draw, name, alt)


def smoothed(values: Floats, window: int) -> Floats:
    """The mean of the last `window` values, or of all so far where they are fewer."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    means: Floats = (total[end] - total[start]) / (end - start)
    return means


def chosen_validations(records: Sequence[Record]) -> list[Record]:
    """At most MOST_CURVES validations of the averaged weights, doubling in steps up to the last."""
    averaged = [r for r in records if r["weights"] == "ema"]
    wanted = [len(averaged) * 2.0**-i for i in range(MOST_CURVES)]
    return [averaged[i] for i in sorted({max(0, round(w) - 1) for w in wanted}) if averaged]


def opacities(n: int) -> list[float]:
    """From faint for the oldest of n curves to full for the newest."""
    return [1.0] if n == 1 else [0.25 + 0.75 * (i / (n - 1)) ** 2 for i in range(n)]


def _columns(records: Sequence[Record], x: str, y: str) -> tuple[Floats, Floats]:
    return (
        np.array([r[x] for r in records], dtype=np.float64),
        np.array([r[y] for r in records], dtype=np.float64),
    )


def _widened(axes: Axes, low: float, high: float) -> tuple[float, float]:
    """The range with a margin of a twentieth, on a linear or a logarithmic scale."""
    if axes.get_yscale() == "log":
        margin = (high / low) ** 0.05
        return low / margin, high * margin
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Name the axes, and give them few and plain numbers."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def stretch(axes: Axes) -> None:
    """Make an axis logarithmic where its data span more than LOG_FROM."""
    span = axes.dataLim
    for axis, set_scale, (low, high) in (
        (axes.xaxis, axes.set_xscale, span.intervalx),
        (axes.yaxis, axes.set_yscale, span.intervaly),
    ):
        if low > 0 and low * LOG_FROM < high:
            set_scale("log")
            axis.set_major_locator(LogLocator(subs=_ticks(high / low)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def _ticks(ratio: float) -> tuple[int, ...]:
    """Which multiples of the powers of ten are labelled on an axis that spans this ratio."""
    return next(ticks for limit, ticks in TICKS if ratio < limit)


def plain(value: float) -> str:
    """An axis' number as a person writes it: 10000 -> "10 k", 0.001 -> "0.001"."""
    if abs(value) >= 10_000:
        return words.large(value).replace(".0 ", " ")
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


def told(what: str, step: Floats, loss: Floats) -> str:
    return (
        f"{what} from {words.significant(float(loss[0]), 3)} at step {words.count(step[0])} "
        f"to {words.significant(float(loss[-1]), 3)} at step {words.count(step[-1])}"
    )
