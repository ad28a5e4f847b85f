"""The plots of the data's page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from safelight.profiling.drawn import drawn_evenly
from safelight.profiling.originals import Originals
from safelight.reporting import words
from safelight.reporting.plots import INKS, drawing, name_axes, stretch

CHANNELS = ("red", "green", "blue")
DASHES = ("solid", "dashed", "dotted")  # so that no eye needs the colours
LIGHT = ("ink", "first", "second")
BINS = ((2000, 4), (200, 8), (0, 16))  # from so many pictures on, levels in a bin
MOST_POINTS = 600  # originals in the plot of sizes
SPARK = (64.0, 20.0)  # the view of a small histogram


def channels(counts: NDArray[np.int64]) -> Markup:
    """How often each level is there, of the channels (c, bins), in % of a channel's values."""
    c, bins = counts.shape
    levels = (np.arange(bins) + 0.5) * 256 / bins
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)

    def draw(axes: Axes) -> None:
        for i in range(c):
            ink = INKS[CHANNELS[i] if c > 1 else "first"]
            axes.plot(levels, shares[i], color=ink, linewidth=1.7, linestyle=DASHES[i])
        axes.set_xlim(0, 256)
        axes.set_ylim(0, 1.05 * np.quantile(shares, 0.99))  # black or white borders tower above
        name_axes(axes, "level", "% of values")

    mean = ", ".join(words.count(float(levels @ each / 100)) for each in shares)
    return drawing(draw, "channels", f"Histogram of levels; the channels' means are {mean}")


def light(levels: NDArray[np.int64], names: Sequence[str]) -> Markup:
    """How many pictures have which brightness and so on, (measures, 256), in % of all."""
    count = int(levels[0].sum())
    width = next(width for fewest, width in BINS if count >= fewest)
    shares = 100 * levels.reshape(len(levels), -1, width).sum(2) / max(1, count)
    middles = (np.arange(shares.shape[1]) + 0.5) * width

    def draw(axes: Axes) -> None:
        for i in range(len(names)):
            ink, dash = INKS[LIGHT[i]], DASHES[i]
            axes.plot(middles, shares[i], color=ink, linewidth=1.7, linestyle=dash)
        axes.set_xlim(0, 256)
        axes.set_ylim(bottom=0)
        name_axes(axes, "level", "% of pictures")

    halves = [np.searchsorted(np.cumsum(each), each.sum() / 2) for each in levels]
    told = ", ".join(f"{name} {half}" for name, half in zip(names, halves, strict=True))
    return drawing(draw, "light", f"Histogram of the pictures' light; medians: {told}")


def spark(counts: NDArray[np.int64]) -> Markup:
    """The same of one class, as small as a word."""
    c, bins = counts.shape
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    top = max(float(np.quantile(shares, 0.98)), 1e-9)
    width, height = SPARK
    lines = []
    for i in range(c):
        y = height - 1 - (height - 2) * np.minimum(shares[i] / top, 1)
        x = (np.arange(bins) + 0.5) * width / bins
        points = " ".join(f"{a:g},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
        role = CHANNELS[i] if c > 1 else "first"
        lines.append(f'<polyline class="{role}" points="{points}"/>')
    view = f'viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none"'
    return Markup(f'<svg class="spark" aria-hidden="true" {view}>{"".join(lines)}</svg>')


def sizes(found: Originals) -> Markup:
    """Width and height of the originals, and the cache's own size as a cross."""
    chosen = drawn_evenly(np.zeros(len(found.sizes), np.int64), MOST_POINTS, "sizes")
    w, h = found.sizes[chosen].astype(np.float64).T

    def draw(axes: Axes) -> None:
        axes.plot(w, h, "o", color=INKS["first"], markersize=4.5, alpha=0.35, markeredgewidth=0)
        axes.plot(*found.target, "x", color=INKS["second"], markersize=8, markeredgewidth=2)
        name_axes(axes, "width (pixels)", "height (pixels)")
        stretch(axes)
        ends = [min(axes.get_xlim()[0], axes.get_ylim()[0]), max(w.max(), h.max()) * 1.1]
        axes.plot(ends, ends, color=INKS["line"], linewidth=1)

    middle = np.median(found.sizes, axis=0)
    alt = f"Sizes of the originals; the median is {middle[0]:g} wide and {middle[1]:g} high"
    return drawing(draw, "sizes", alt)


def aspects(found: Originals) -> Markup:
    """How many originals have which aspect, in % of them."""
    values = np.log2(found.aspects)
    reach = max(1.0, float(np.quantile(abs(values), 0.995)))
    bins = np.linspace(-reach, reach, 42).tolist()
    named = {"1:2": -1.0, "3:4": np.log2(3 / 4), "1:1": 0.0, "4:3": np.log2(4 / 3), "2:1": 1.0}

    def draw(axes: Axes) -> None:
        share = np.full(len(values), 100 / len(values))
        within = np.clip(values, -reach, reach)
        axes.hist(within, bins, weights=share, color=INKS["first"], alpha=0.75)
        own = float(np.log2(found.target[0] / found.target[1]))
        axes.axvline(own, color=INKS["second"], linewidth=1.6, linestyle="dashed")
        name_axes(axes, "width : height", "% of originals")
        axes.set_xticks(list(named.values()), list(named))
        axes.grid(axis="x", visible=False)

    middle = float(np.median(found.aspects))
    return drawing(draw, "aspects", f"Aspects of the originals; the median is {middle:.2f}")
