"""Comparisons: only what was measured alike, and a verdict that the intervals allow."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from safelight.errors import UserError
from safelight.evaluation.compare import compare, difference, table
from safelight.evaluation.estimate import Estimate, Evaluation, Interval, normal_interval
from safelight.evaluation.protocol import Protocol

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
    assert kid.sentences == ("b is better than a by 0.004 [0.0035, 0.0045]",)
    accuracy = replace(PROTOCOL, metric="accuracy")
    (share,) = compare(
        {"a": [evaluation(0.9, 0.01, accuracy)], "b": [evaluation(0.8, 0.01, accuracy)]}
    )
    assert share.sentences[0].startswith("a is better than b by 10.0 %")


def test_an_unclear_difference_is_not() -> None:
    (kid,) = compare({"a": [evaluation(0.009, 0.003)], "b": [evaluation(0.006, 0.002)]})
    assert kid.sentences == ("b and a: cannot tell from 500 and 500 images",)


def test_the_interval_of_a_difference_covers() -> None:
    """Of 4,000 pairs of normal estimates, 95 % of the intervals hold the true difference."""
    rng = np.random.default_rng(0)
    held = 0
    for a, b in rng.normal((1.0, 1.3), (0.1, 0.2), size=(4000, 2)):
        first, second = (
            Estimate("kid", i.value, i.low, i.high, 500, "normal", None, PROTOCOL)
            for i in (normal_interval(a, 0.01), normal_interval(b, 0.04))
        )
        apart = difference(first, second)
        held += apart.low <= 0.3 <= apart.high
    assert 0.94 < held / 4000 < 0.96


def test_different_protocols_are_refused() -> None:
    """X1: and the field that differs is named."""
    other = evaluation(0.006, 0.002, replace(PROTOCOL, generated=1000))
    with pytest.raises(UserError, match="measured differently .generated: 500 against 1000"):
        compare({"a": [evaluation(0.009, 0.003)], "b": [other]})


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
