from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from safelight.errors import DamagedFile
from safelight.evaluation.estimate import Estimate, Evaluation, Interval
from safelight.reporting import collect, measured, numbers, plots
from tests.reporting import stand_in


def drawn(svg: str, role: str) -> list[np.ndarray]:
    """The (x, y) of the lines that are drawn in this role's colour."""
    wanted = rf'<path d="([^"]*)"[^>]*style="fill: none; stroke: var\(--{role}\)'
    paths = re.findall(wanted, svg)
    return [np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), float) for path in paths]


def is_affine(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether y = a x + b to a tenth of a drawing unit."""
    return abs(np.polyval(np.polyfit(x, y, 1), x) - y).max() < 0.1


def test_validation_curves_are_where_the_records_are() -> None:
    """C3: loss against step while training, averaged and raw weights."""
    records = stand_in._validation()
    svg = plots.validation(records, "mean", "validation loss")
    for weights, role in (("ema", "first"), ("raw", "second")):
        mine = [r for r in records if r["weights"] == weights]
        (line,) = drawn(svg, role)
        assert is_affine(np.log([r["step"] for r in mine]), line[:, 0])
        assert is_affine(np.array([r["mean"] for r in mine]), line[:, 1])


def test_loss_by_noise_level_is_where_the_record_is() -> None:
    """C3: validation loss by noise level, the newest curve full."""
    chosen = plots.chosen_validations(stand_in._validation())
    lines = drawn(plots.loss_by_noise(chosen), "first")
    assert len(lines) == len(chosen) == 4
    for record, line in zip(chosen, lines, strict=True):
        assert is_affine(np.log(record["sigma"]), line[:, 0])
        assert is_affine(np.log(record["loss"]), line[:, 1])


def test_smoothing_is_the_mean_of_the_last_values() -> None:
    values = np.random.default_rng(0).normal(size=40)
    expected = [values[max(0, i - 6) : i + 1].mean() for i in range(40)]
    assert_allclose(plots.smoothed(values, 7), expected, atol=1e-12)
    assert_allclose(plots.smoothed(values, 1), values, atol=1e-12)


def test_validations_are_chosen_at_doubling_steps() -> None:
    chosen = plots.chosen_validations(stand_in._validation())
    assert [r["step"] for r in chosen] == [500, 1250, 2500, 5000]
    assert {r["weights"] for r in chosen} == {"ema"}
    assert plots.chosen_validations([]) == []
    first = stand_in._validation()[:1]
    assert plots.chosen_validations(first) == first


def extrapolated() -> Estimate:
    """FD of 2 + 1000 / n, real images at 1000 / n."""
    counts = (500, 1000, 1500, 2000)
    curve, real = (tuple((n, limit + 1000 / n) for n in counts) for limit in (2.0, 0.0))
    kid, *_ = stand_in.EVALUATION.estimates
    return dataclasses.replace(
        kid,
        name="FD at infinity",
        value=2.0,
        low=1.5,
        high=2.5,
        floor=Interval(0.0, -0.25, 0.25, real),
        curve=curve,
    )


def test_an_extrapolated_number_meets_infinity_on_a_straight_line() -> None:
    """X18: the line starts at the value, at 1 / n = 0, and the interval stands there."""
    svg = plots.against_count(extrapolated(), "infinity-0")
    for role, limit, reach in (("first", 2.0, 0.5), ("second", 0.0, 0.25)):
        line, interval = drawn(svg, role)
        assert np.ptp(interval[:, 0]) == 0
        assert line[0, 0] == interval[0, 0]
        scale = abs(line[1, 1] - line[0, 1]) / 2  # of one unit of FD: 1000 / 500 = 2 of it
        assert_allclose(abs(np.ptp(interval[:, 1])), 2 * reach * scale, rtol=1e-3)
        below = line[0, 1] - drawn(svg, "first")[0][0, 1]
        assert_allclose(below, (2.0 - limit) * scale, atol=0.01)
    for label in ("∞", "500", "1,000", "1,500", "2,000"):
        assert f">{label}<" in svg
    assert "4 of 500 images, 2 of infinitely many" in svg


def test_a_page_has_a_curve_for_each_extrapolated_number() -> None:
    """X18: in every evaluation, with ids of their own; none of classes, and none without."""
    class_too = dataclasses.replace(extrapolated(), name="FD at infinity[0] (x)")
    kid, *_ = stand_in.EVALUATION.estimates
    record = dataclasses.replace(stand_in.EVALUATION, estimates=(kid, extrapolated(), class_too))
    data = SimpleNamespace(evaluations=[record, stand_in.EVALUATION, record])
    newest, middle, oldest = numbers.evaluations(data)  # type: ignore[arg-type]
    assert [len(shown.curves) for shown in (newest, middle, oldest)] == [1, 0, 1]
    ids = [re.findall(r'\bid="([^"]*)"', shown.curves[0]) for shown in (newest, oldest)]
    assert not set(ids[0]) & set(ids[1])


def every_plot() -> dict[str, str]:
    random = np.random.default_rng(0)
    return {
        "training": plots.training_loss(stand_in._train()),
        "validation": plots.validation(stand_in._validation(), "mean", "validation loss"),
        "noise": plots.loss_by_noise(plots.chosen_validations(stand_in._validation())),
        "speed": plots.speed(stand_in._train()),
        "distances": plots.distances(random.gamma(9, 1, 60), random.gamma(9, 1, 200)),
        "judged": measured.distance(estimates()),
        "alone": plots.distances(np.zeros(3), None),
        "infinity": plots.against_count(extrapolated(), "infinity-0-0"),
    }


def test_plots_belong_to_the_page() -> None:
    """X14: the page's own colours and typeface, nothing from outside, described in words."""
    for svg in every_plot().values():
        assert svg.startswith('<svg class="plot" role="img"')
        assert re.search(r"<title>[^<]{10,}</title>", svg)
        assert "http" not in svg
        assert "font-family" not in svg
        assert "DejaVu" not in svg
        colours = set(re.findall(r"#[0-9a-f]{6}\b", svg))
        assert not colours, colours


def test_no_two_plots_share_an_id() -> None:
    plain = {name: svg for name, svg in every_plot().items() if name != "alone"}
    ids = [i for svg in plain.values() for i in re.findall(r'\bid="([^"]*)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in plain.values():
        mine = set(re.findall(r'\bid="([^"]*)"', svg))
        assert set(re.findall(r'(?:url\(|href=")#([^")]*)', svg)) <= mine


@pytest.mark.parametrize("n", [2, 3, 50, 5000])
def test_training_loss_of_any_length_stays_small(n: int) -> None:
    records = (stand_in._train() * 10)[:n]
    records = [{**r, "step": i + 1} for i, r in enumerate(records)]
    assert len(plots.training_loss(records)) < 80_000


def test_a_loss_that_does_not_change_is_drawn() -> None:
    records = [{"step": i, "loss": 1.0} for i in range(5)]
    (line,) = drawn(plots.training_loss(records), "first")
    assert np.ptp(line[:, 0]) > 300
    assert np.ptp(line[:, 1]) == 0


def estimates(n: int = 10) -> list[tuple[int, Estimate]]:
    records = stand_in._evaluation()[:n]
    return [(r["step"], Evaluation.from_json(r).estimates[0]) for r in records]


def test_distances_on_the_way_are_where_the_records_are() -> None:
    """C3, X2: on a linear axis where the first does not dwarf the last."""
    later = estimates()[3:6]
    near = [(step, replace(e, low=e.value - 0.1, high=e.value + 0.1)) for step, e in later]
    *_, line = drawn(measured.distance(near), "first")  # behind it the intervals
    assert is_affine(np.array([step for step, _ in near]), line[:, 0])
    assert is_affine(np.array([e.value for _, e in near]), line[:, 1])


def test_distances_that_fall_to_nothing_and_below_are_told_apart() -> None:
    """C3: the order is kept, and the last half of the points has a third of the height or more."""
    points = estimates()
    assert points[-1][1].value < 0 < points[-3][1].value
    *_, line = drawn(measured.distance(points), "first")
    assert np.all(np.diff(line[:, 1]) > 0)  # downwards
    assert line[-1, 1] - line[5, 1] > np.ptp(line[:, 1]) / 3
    assert "svg" in measured.distance(points[:1])
    assert len(measured.distance([(i, points[0][1]) for i in range(1, 2000)])) < 400_000


def test_points_of_another_protocol_are_left_out_and_counted(collected: Any) -> None:
    """X1"""
    data = collected()
    (step, first), *others = data.judged
    kid = first.estimates[0]
    other = replace(kid, protocol=replace(kid.protocol, weights="another"))
    changed = replace(data, judged=((step, replace(first, estimates=(other,))), *others))
    (plot,) = measured.curves(changed)
    assert "1 point of another protocol left out" in plot.note
    *_, line = drawn(plot.svg, "first")
    assert len(line) == len(others)
    assert str(others[-1][1].estimates[0]) in plot.note
    assert measured.curves(replace(data, judged=())) == []


def test_a_damaged_evaluation_in_the_log_is_named(tmp_path: Path) -> None:
    class Edited:
        path = tmp_path

        def records(self, kind: str) -> list[dict[str, Any]]:
            record = stand_in._evaluation()[0]
            record["estimates"][0]["protocol"]["generated"] = 50_000
            return [record]

    with pytest.raises(DamagedFile, match=r"log.jsonl: the evaluation at step 500 .*delete that"):
        collect.judged(Edited())  # type: ignore[arg-type]
