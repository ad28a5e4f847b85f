from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from safelight.errors import DamagedFile
from safelight.evaluation.estimate import (
    COVERS,
    Curve,
    Estimate,
    Evaluation,
    Interval,
    normal_interval,
    parsed,
)
from safelight.evaluation.protocol import Protocol
from safelight.evaluation.table import curves, table

PROTOCOL = Protocol(
    metric="kid",
    parameters="cubic",
    network="efficientnet-lite0",
    dimension=1280,
    weights="ab" * 32,
    resize="224x224",
    image="1x28x28",
    generated=2000,
    reference=2000,
    reference_fingerprint="cd" * 32,
    seed=0,
    reference_name="mnist:test",
    floor_images="2,000 images of mnist:train",
    software="torch 2",
)
finite = st.floats(-1e6, 1e6)


def an_estimate(metric: str = "kid", floor: Interval | None = None) -> Estimate:
    real = PROTOCOL.floor_images if floor else "none: few has 50"
    protocol = dataclasses.replace(PROTOCOL, metric=metric, floor_images=real)
    return Estimate("accuracy", 0.991, 0.985, 0.995, 2000, "Wilson", floor, protocol)


points = st.lists(st.tuples(st.integers(1, 10**6), finite), max_size=4).map(tuple)


@given(st.lists(finite, min_size=6, max_size=6), st.booleans(), points, points)
def test_an_evaluation_survives_json(
    numbers: list[float], with_floor: bool, curve: Curve, real: Curve
) -> None:
    """X1, X2, X18: value, interval, floor, curves and protocol come back as they went."""
    low, value, high, *floor = sorted(numbers[:3]) + sorted(numbers[3:])
    interval = Interval(floor[1], floor[0], floor[2], real) if with_floor else None
    estimate = Estimate("KID", value, low, high, 10, "in words", interval, PROTOCOL, curve)
    evaluation = Evaluation(
        "run",
        "mnist:test",
        "2026-01-01T00:00:00+00:00",
        (estimate,),
        "ef" * 32,
        "heun, 18 steps (karras grid)",
        {"sampler": "heun", "steps": None},
    )
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation


def test_records_of_older_versions_are_read() -> None:
    """They do not say how the images were drawn."""
    how = {"fingerprint": "ef", "drawn": "heun", "sampling": {"steps": 5}}
    how |= {"likelihood": {"terms": 3}, "trained": {"checkpoint": "5"}}
    new = Evaluation("run", "mnist:test", "now", (an_estimate(),), **how)  # type: ignore[arg-type]
    held = new.to_json()
    assert Evaluation.from_json(held) == new
    for name in how:
        del held[name]
    del held["estimates"][0]["curve"]
    assert Evaluation.from_json(held) == Evaluation("run", "mnist:test", "now", (an_estimate(),))


@pytest.mark.parametrize("numbers", [(1, 2, 3), (1, -1, float("nan")), (float("inf"), 0, 1)])
def test_an_interval_holds_its_value_and_is_finite(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="interval"):
        Interval(*numbers)


def test_normal_interval() -> None:
    interval = normal_interval(3.0, 4.0)
    assert interval.high - 3.0 == pytest.approx(2 * 1.959964, rel=1e-6)
    assert normal_interval(3.0, 4.0, at_least=0.0).low == 0.0


def test_the_hash_covers_every_field_that_decides_the_number() -> None:
    """X1: any difference that matters changes the hash; what is only for the record does not."""
    for field in dataclasses.fields(Protocol):
        before = getattr(PROTOCOL, field.name)
        after = before + 1 if isinstance(before, int) else before + "!"
        changed = dataclasses.replace(PROTOCOL, **{field.name: after})
        if field.name in ("reference_name", "floor_images", "software"):
            assert changed.hash == PROTOCOL.hash
            assert PROTOCOL.differences(changed) == []
        else:
            assert changed.hash != PROTOCOL.hash
            spelled = field.name.replace("_", " ")
            assert PROTOCOL.differences(changed) == [f"{spelled}: {before} against {after}"]


def test_the_hash_is_the_same_in_every_release() -> None:
    """X1: numbers that were kept stay comparable; a change here is a change of the file format."""
    assert PROTOCOL.hash == "78dbeddf4907"


def test_edited_or_newer_evaluations_are_refused() -> None:
    good = Evaluation("a", "b", "now", (an_estimate(),)).to_json()
    for spoil, what in (
        (lambda held: held["estimates"][0]["protocol"].update(generated=50_000), "edited"),
        (lambda held: held["estimates"][0]["protocol"].update(colour="new"), "version"),
        (lambda held: held["estimates"][0].pop("floor"), "incomplete"),
        (lambda held: held["estimates"][0].update(surplus=1), "incomplete"),
        (lambda held: held["estimates"][0].update(curve=[500, 1.5]), "incomplete"),
        (lambda held: held.pop("created"), "incomplete"),
    ):
        held = json.loads(json.dumps(good))
        spoil(held)
        with pytest.raises(DamagedFile, match=what):
            Evaluation.from_json(held)
        where = f"a/metrics.json: evaluation 2 of 2 .*{what}.*; move the file away, and run"
        with pytest.raises(DamagedFile, match=where):
            parsed([good, held], Path("a/metrics.json"))
    with pytest.raises(DamagedFile, match="evaluation 1 of 1 is incomplete or was edited"):
        parsed(["no evaluation"], Path("metrics.json"))  # type: ignore[list-item]
    assert parsed([good], Path("metrics.json")) == (Evaluation.from_json(good),)


def test_people_read_shares_as_percent_and_distances_as_numbers() -> None:
    floor = Interval(0.9912, 0.98, 0.995)
    assert "99.1 %" in str(an_estimate("accuracy", floor))
    assert "real images: 99.1 % [98.0 %, 99.5 %]" in str(an_estimate("accuracy", floor))
    assert "0.991 [0.985, 0.995]; real images: none: few has 50; n = 2,000" in str(an_estimate())


def test_the_table_fits_a_terminal_and_says_what_the_intervals_cover() -> None:
    """X2: each row has the interval, the floor or why there is none, n and the protocol's hash."""
    estimate = an_estimate("accuracy")
    console = Console(width=80, file=io.StringIO(), record=True)
    drawn = "heun, 18 steps (karras grid)"
    console.print(table(Evaluation("run", "mnist:test", "now", (estimate,), drawn=drawn)))
    text = console.export_text()
    for expected in (
        "99.1 %",
        "98.5 % to 99.5 %",
        f"run ({drawn}) against mnist:test",
        "none: few",
        "2,000",
        estimate.protocol.hash,
    ):
        assert expected in text
    assert " ".join(COVERS.split()[:6]) in text
    assert "…" not in text


def test_the_terminal_shows_what_an_extrapolated_number_comes_from() -> None:
    """X18."""
    floor = Interval(0.5, 0.25, 0.75, ((500, 2.5), (2000, 1.0)))
    curve = ((500, 4.5), (1000, 3.5), (2000, 3.0))
    estimate = dataclasses.replace(an_estimate("fd-infinity", floor), value=0.99, curve=curve)
    found = Evaluation("a", "b", "now", (an_estimate(), estimate))
    (shown,) = curves(found)
    cells = [list(column.cells) for column in shown.columns]
    assert [[str(cell) for cell in column] for column in cells] == [
        ["500", "1,000", "2,000", "at infinity"],
        ["4.5", "3.5", "3", "0.99"],
        ["2.5", "none", "1", "0.5"],
    ]
