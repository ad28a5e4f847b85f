"""The plot of a comparison: what is drawn is where the numbers are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose
from PIL import Image

from safelight.errors import UserError
from safelight.evaluation.compare import compare
from safelight.evaluation.estimate import Interval
from safelight.reporting.intervals import draw, figure
from safelight.reporting.paper import COLOURS
from tests.evaluation.test_compare import evaluation, trainings

RUNS = trainings(0.50, 0.52, 0.54)
COMPARED = compare(
    {**RUNS, "near": [evaluation(0.55, 0.02)], "far": [evaluation(0.9, 0.02)]},
    recipes={"recipe": [*RUNS]},
)


def test_intervals_are_drawn_where_they_are() -> None:
    """X2, X3: the value and its ends, each training, and the interval of real images."""
    comparison = COMPARED[0]
    (name, best), *others = comparison.estimates
    floored = replace(best, floor=Interval(0.1, 0.05, 0.15))
    (panel,) = figure([replace(comparison, estimates=((name, floored), *others))]).axes
    band, real, *lines = [*panel.patches, *panel.lines]
    box = band.get_window_extent().transformed(panel.transData.inverted())
    assert_allclose((box.x0, box.x1), (0.05, 0.15))
    assert_allclose(real.get_xdata(), 0.1)
    for row, (source, each) in enumerate(comparison.estimates):
        reach, value, single = lines[3 * row : 3 * row + 3]
        assert_allclose(reach.get_xdata(), (each.low, each.high))
        assert_allclose(reach.get_ydata(), row)
        assert_allclose(value.get_xdata(), each.value)
        wanted = [one.value for one in comparison.trainings.get(source, {}).values()]
        assert_allclose(single.get_xdata(), wanted)
        told_apart = source == "far"
        assert to_hex(value.get_color()) == COLOURS["ink" if told_apart else "first"]


def test_a_png_is_written(tmp_path: Path) -> None:
    path = draw(COMPARED * 4, tmp_path / "a.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > image.height
    with pytest.raises(UserError, match=r"a plot is written as PNG.*a\.pdf"):
        draw(COMPARED, tmp_path / "a.pdf")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
