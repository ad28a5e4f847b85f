"""Brightness, contrast, saturation and colours, by class and by split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from safelight.data.splits import SPLITS
from safelight.profiling.profile import Profile
from safelight.profiling.survey import LEVELS, MEASURES
from safelight.reporting import words
from safelight.reporting.profile import plots

ENDS = (0.1, 0.5, 0.9)  # quantiles over the pictures: the bar's ends, and its dot


@dataclass(frozen=True)
class Reach:
    """A measure of some pictures: its mean, in words, and where the bar and dot stand, in %."""

    mean: str
    low: float
    middle: float
    high: float
    told: str


@dataclass(frozen=True)
class LightRow:
    """mean: the mean colour, for a style sheet."""

    name: str
    colour: str
    spark: Markup
    reaches: list[Reach]


@dataclass(frozen=True)
class LightShown:
    measures: tuple[str, ...]
    rows: list[LightRow]


@dataclass(frozen=True)
class ColoursShown:
    """overall: the histogram of all values, light: that of the pictures' measures. keys: (role,
    style, text) of their lines."""

    overall: Markup
    keys: list[tuple[str, str, str]]
    light: Markup
    light_keys: list[tuple[str, str, str]]
    by_class: LightShown


def colours_shown(profile: Profile) -> ColoursShown:
    found = profile.surveyed
    names = list(profile.groups.names)
    if profile.groups.folded:
        names.append(words.plural(profile.groups.folded, "further class", "further classes"))
    parts = [(name, (slice(g, g + 1), slice(None))) for g, name in enumerate(names)]
    if len(parts) > 1:
        parts.append(("all", (slice(None), slice(None))))
    c = found.channels.shape[2]
    keys = [("first", "solid", "grey")]
    if c > 1:
        keys = list(zip(plots.CHANNELS, plots.DASHES, plots.CHANNELS, strict=True))
    measures = _measures(c)
    return ColoursShown(
        plots.channels(found.channels.sum((0, 1))),
        keys,
        plots.light(found.levels.sum((0, 1))[: len(measures)], measures),
        list(zip(plots.LIGHT, plots.DASHES, measures, strict=False)),
        _shown(profile, parts),
    )


def _measures(c: int) -> tuple[str, ...]:
    """Those of pictures of c channels: grey ones have no saturation."""
    return MEASURES if c > 1 else MEASURES[:2]


def splits_shown(profile: Profile) -> LightShown:
    """The same of each split that has pictures."""
    there = profile.groups.counts.sum(0) > 0
    parts = [(name, (slice(None), slice(s, s + 1))) for s, name in enumerate(SPLITS) if there[s]]
    return _shown(profile, parts)


Part = tuple[str, tuple[slice, slice]]  # a name, and which groups and splits it is of


def _shown(profile: Profile, parts: Sequence[Part]) -> LightShown:
    found = profile.surveyed
    c = found.channels.shape[2]
    measures = _measures(c)
    held = [found.levels[part].sum((0, 1)) for _, part in parts]
    quantiles = np.array([[_quantiles(levels) for levels in row[: len(measures)]] for row in held])
    scale = np.maximum(quantiles[:, :, 2].max(0) * 1.05, 1.0)
    rows = []
    for i, (name, part) in enumerate(parts):
        n = max(1, int(found.counts[part].sum()))
        means = found.sums[part].sum((0, 1)) / n
        reaches = [
            _reach(means[m], quantiles[i, m], scale[m], measure)
            for m, measure in enumerate(measures)
        ]
        histogram = found.channels[part].sum((0, 1))
        rows.append(LightRow(name, _mean_colour(histogram), plots.spark(histogram), reaches))
    return LightShown(measures, rows)


def _quantiles(levels: NDArray[np.int64]) -> list[float]:
    """Of a histogram of LEVELS whole levels."""
    total = np.cumsum(levels)
    wanted = np.array(ENDS) * total[-1]
    return [float(min(level, LEVELS - 1)) for level in np.searchsorted(total, wanted)]


def _reach(mean: float, quantiles: NDArray[np.float64], scale: float, measure: str) -> Reach:
    low, middle, high = (100 * value / scale for value in quantiles.tolist())
    told = (
        f"{measure}: mean {mean:.1f}; the middle 80 % of pictures from {quantiles[0]:g} to "
        f"{quantiles[2]:g}, median {quantiles[1]:g}"
    )
    return Reach(f"{mean:.0f}", low, middle, high, told)


def _mean_colour(channels: NDArray[np.int64]) -> str:
    """Of histograms (c, bins) of values: "#rrggbb"."""
    c, bins = channels.shape
    middles = (np.arange(bins) + 0.5) * 256 / bins - 0.5
    means = (channels @ middles / np.maximum(channels.sum(1), 1)).round().astype(int).tolist()
    red, green, blue = means if c > 1 else means * 3
    return f"#{red:02x}{green:02x}{blue:02x}"
