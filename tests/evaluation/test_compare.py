"""Comparisons: only what was measured alike, and a verdict that the intervals allow."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import numpy as np
import pytest
from rich.console import Console

from safelight import console
from safelight.errors import UserError
from safelight.evaluation.compare import compare, lacking
from safelight.evaluation.estimate import Estimate, Evaluation, Interval, normal_interval
from safelight.evaluation.protocol import Protocol
from safelight.evaluation.retraining import difference
from safelight.evaluation.side_by_side import table, tables

PROTOCOL = Protocol(
    metric="kid",
    parameters="p",
    network="classifier",
    dimension=64,
    weights="w",
    resize="none",
    image="1x8x8",
    generated=500,
    reference=450,
    reference_fingerprint="f",
    seed=0,
)


def evaluation(value: float, half: float, protocol: Protocol = PROTOCOL) -> Evaluation:
    interval = Interval(value, value - half, value + half)
    estimate = Estimate(
        protocol.metric, value, interval.low, interval.high, 500, "normal", None, protocol
    )
    return Evaluation("run", "real", "2026-01-01T00:00:00+00:00", (estimate,))


def test_a_clear_difference_is_said() -> None:
    """X3, X1: the better one first, by how much, with the interval of the difference."""
    (kid,) = compare({"a": [evaluation(0.009, 0.0003)], "b": [evaluation(0.005, 0.0004)]})
    assert kid.sentences == ("b is better than a by 0.004 [0.0035, 0.0045] in kid (500 images)",)
    accuracy = replace(PROTOCOL, metric="accuracy")
    (share,) = compare(
        {"a": [evaluation(0.9, 0.01, accuracy)], "b": [evaluation(0.8, 0.01, accuracy)]}
    )
    assert share.sentences == (
        "a is better than b by 10.0 points [8.6, 11.4] in accuracy (500 images)",
    )
    named = replace(evaluation(0.9, 0.01).estimates[0], name="KID (classifier)")
    better = replace(named, value=0.5, low=0.49, high=0.51, n=400)
    (kid,) = compare(
        {
            "a": [replace(evaluation(0, 0), estimates=(named,))],
            "b": [replace(evaluation(0, 0), estimates=(better,))],
        }
    )
    assert kid.sentences[0].endswith("in KID (classifier, 400 and 500 images)")


def test_an_unclear_difference_is_not() -> None:
    (kid,) = compare({"a": [evaluation(0.009, 0.003)], "b": [evaluation(0.006, 0.002)]})
    assert kid.sentences == (
        "cannot tell b from a in kid (500 images): they differ by 0.003 [-0.000606, 0.00661]",
    )


def test_the_interval_of_a_difference_covers() -> None:
    """Of 4,000 pairs of normal estimates, 95 % of the intervals hold the true difference."""
    rng = np.random.default_rng(0)
    held = 0
    for a, b in rng.normal((1.0, 1.3), (0.1, 0.2), size=(4000, 2)):
        first, second = (
            Estimate("kid", i.value, i.low, i.high, 500, "normal", None, PROTOCOL)
            for i in (normal_interval(a, 0.01), normal_interval(b, 0.04))
        )
        apart = difference([first], [second])
        held += apart.low <= 0.3 <= apart.high
    assert 0.94 < held / 4000 < 0.96


OTHERWISE = {
    "metric": "fd",
    "parameters": "q",
    "network": "inception",
    "dimension": 65,
    "weights": "x",
    "resize": "299x299",
    "image": "3x8x8",
    "generated": 1000,
    "reference": 451,
    "reference_fingerprint": "g",
    "seed": 1,
    "quantisation": "floats",
}


@pytest.mark.parametrize(("field", "value"), OTHERWISE.items(), ids=list(OTHERWISE))
def test_different_protocols_are_refused(field: str, value: object) -> None:
    """X1: whatever decides the number, and the field that differs is named with both values."""
    other = replace(PROTOCOL, **{field: value})  # type: ignore[arg-type]
    found = evaluation(0.006, 0.002, other).estimates[0]
    named = replace(evaluation(0, 0), estimates=(replace(found, name="kid"),))
    told = f"{field.replace('_', ' ')}: {getattr(PROTOCOL, field)} against {value}"
    with pytest.raises(UserError, match=rf"kid of a and of b .* differently \({told}\);"):
        compare({"a": [evaluation(0.009, 0.003)], "b": [named]})


def test_no_field_of_a_protocol_is_forgotten() -> None:
    """X1: those that are not compared are records: they decide no number."""
    records = {held.name for held in fields(Protocol) if held.metadata.get("record")}
    assert {held.name for held in fields(Protocol)} == {*OTHERWISE, *records}
    other = replace(PROTOCOL, **dict.fromkeys(records, "otherwise"))  # type: ignore[arg-type]
    compare({"a": [evaluation(0.9, 0.1)], "b": [evaluation(0.8, 0.1, other)]})


def trainings(*values: float, half: float = 0.01, **fields: str) -> dict[str, list[Evaluation]]:
    return {
        f"run-{value}": [replace(evaluation(value, half), fingerprint=f"{value}", **fields)]  # type: ignore[arg-type]
        for value in values
    }


def test_trainings_of_a_recipe_are_one_source() -> None:
    """X3: one row with their mean, an interval that says what it covers, and the sentence."""
    old, new = trainings(0.50, 0.52, 0.54), trainings(0.30, 0.32, 0.34)
    recipes = {"old": [*old], "new": [*new]}
    (kid,) = compare({**old, **new, "alone": [evaluation(0.9, 0.01)]}, recipes=recipes)
    assert [name for name, _ in kid.estimates] == ["new", "old", "alone"]
    found = dict(kid.estimates)
    assert found["new"].value == pytest.approx(0.32)
    assert found["new"].interval.startswith("Student's t over 3 trainings")
    assert list(kid.trainings) == ["old", "new"]
    assert kid.sentences[0].startswith("new is better than old by 0.2 [")
    assert kid.sentences[0].endswith("in kid (500 images, 3 trainings each)")
    assert kid.sentences[1].endswith("in kid (500 images, 3 trainings and 1)")
    assert len(kid.covers) == 2
    assert "retraining" in kid.covers[0]
    assert "single training" in kid.covers[1]
    assert kid.foremost == ("new",)


def test_what_is_no_training_of_the_same_recipe_is_refused() -> None:
    """X1: drawn otherwise, or the same images twice, would give a spread that means nothing."""
    runs = trainings(0.5, drawn="heun") | trainings(0.6, drawn="euler") | trainings(0.7)
    with pytest.raises(UserError, match=r"drawn differently \(heun against euler\).*A=RUN"):
        compare(runs, recipes={"x": ["run-0.5", "run-0.6"]})
    same = {"a": runs["run-0.7"], "b": runs["run-0.7"], "c": runs["run-0.5"]}
    with pytest.raises(UserError, match="a and b are the same images"):
        compare(same, recipes={"x": ["a", "b"]})


def test_trainings_are_compared_at_one_state() -> None:
    """X1: a number that was measured of an earlier checkpoint is no other training's."""

    def at(step: str, name: str, value: float) -> Evaluation:
        found = evaluation(value, 0.01)
        (held,) = found.estimates
        return replace(
            found,
            estimates=(replace(held, name=name),),
            trained={"checkpoint": step},
            fingerprint=f"{value}",
        )

    early = [at("500", "fd", 0.9), at("2000", "kid", 0.5)]
    late = [at("2000", "fd", 0.3), at("2000", "kid", 0.6)]
    alone = [at("2000", "fd", 0.4), at("2000", "kid", 0.7)]
    with pytest.raises(UserError, match=r"fd of a is of --checkpoint 500, and its newest .* 2000"):
        compare({"a": early, "b": late, "c": alone}, recipes={"x": ["a", "b"]})
    again = [*early, at("2000", "fd", 0.2)]
    assert len(compare({"a": again, "b": late, "c": alone}, recipes={"x": ["a", "b"]})) == 2


def test_a_difference_of_shares_is_at_most_all_of_it() -> None:
    """X2: two trainings of each leave nothing to be told, and no more than a hundred points."""
    share = replace(PROTOCOL, metric="accuracy")
    judged = {
        name: [replace(evaluation(value, 0.01, share), fingerprint=name)]
        for name, value in {"a": 0.9, "b": 0.7, "c": 0.8, "d": 0.5}.items()
    }
    (found,) = compare(judged, recipes={"x": ["a", "b"], "y": ["c", "d"]})
    ((_, apart),) = found.differences
    assert -1 == apart.low < apart.high <= 1


def test_what_not_all_have_is_told() -> None:
    fd = replace(evaluation(1, 0.1).estimates[0], name="fd")
    judged = {"a": [evaluation(1, 0.1), replace(evaluation(1, 0.1), estimates=(fd,))]}
    judged["b"] = [evaluation(2, 0.1)]
    assert lacking(judged, compare(judged), per_class=False) == ["fd"]


def test_on_a_terminal_each_sentence_begins_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the intervals cover stands below the last table alone."""
    monkeypatch.setattr(console, "results", Console(force_terminal=True, width=40))
    judged = {name: [evaluation(value, 0.1)] for name, value in {"a": 1, "b": 2, "c": 3}.items()}
    (shown,) = tables(compare(judged))
    lines = str(shown.caption).splitlines()
    assert max(map(len, lines)) <= 40
    begins = ("a is better than b", "a is better than c", "Intervals are")
    assert all(any(line.startswith(words) for line in lines) for words in begins)


def test_a_comparison_is_kept() -> None:
    """X1: every number of it with its protocol, and each training's."""
    runs = trainings(0.5, 0.52, 0.54)
    (kid,) = compare({**runs, "b": [evaluation(0.9, 0.01)]}, recipes={"a": [*runs]})
    kept = kid.to_json()
    best, other = kept["sources"]
    assert Estimate.from_json(best["estimate"]) == kid.estimates[0][1]
    assert [each["value"] for each in best["trainings"].values()] == [0.5, 0.52, 0.54]
    assert other["trainings"] == {}
    (apart,) = kept["differences"]
    assert (apart["value"], apart["told_apart"]) == (pytest.approx(0.38), True)
    assert apart["sentence"] == kid.sentences[0]


def test_the_newest_evaluation_counts() -> None:
    (kid,) = compare({"a": [evaluation(9, 1), evaluation(1, 0.1)], "b": [evaluation(2, 0.1)]})
    assert [name for name, _ in kid.estimates] == ["a", "b"]


def test_how_images_were_drawn_is_told_where_it_differs() -> None:
    """X1: the sampler is no part of the protocol, since what it costs may be the question."""
    fast, slow = (
        replace(evaluation(v, 0.1), drawn=f"heun, {n} steps") for v, n in ((2, 5), (1, 18))
    )
    assert compare({"a": [slow], "b": [slow]})[0].drawn == {}
    (kid,) = compare({"a": [fast], "b": [slow]})
    assert kid.drawn == {"a": "heun, 5 steps", "b": "heun, 18 steps"}
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table(kid))
    text = console.export_text()
    assert text.index("heun, 18 steps") < text.index("heun, 5 steps")


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UserError, match="at least two runs"):
        compare({"a": [evaluation(1, 1)]})
    with pytest.raises(UserError, match="run: safelight evaluate b"):
        compare({"a": [evaluation(1, 1)], "b": []})
    fd = evaluation(1, 1, replace(PROTOCOL, metric="fd"))
    with pytest.raises(UserError, match="no metric in common .a: kid; b: fd"):
        compare({"a": [evaluation(1, 1)], "b": [fd]})
