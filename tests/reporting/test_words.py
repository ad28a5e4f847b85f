from __future__ import annotations

import math

import pytest

from safelight.reporting import words
from safelight.reporting.plots import plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.50 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (9.96, "10 s"),
        (60, "1 min"),
        (151, "2 min 31 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90061, "1 d 1 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.01234, "0.012"),
        (0.0996, "0.10"),
        (80.0, "80"),
        (1234.0, "1,200"),
        (-0.5, "−0.50"),
        (0.0, "0"),
        (math.inf, "∞"),
        (math.nan, "not a number"),
    ],
)
def test_significant_digits(x: float, text: str) -> None:
    assert words.significant(x, 2) == text


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (999, "999"),
        (9_999, "9,999"),
        (10_000, "10.0 k"),
        (1_123_456, "1.12 M"),
        (999_950, "1.00 M"),
        (2e9, "2.00 G"),
    ],
)
def test_large_numbers_carry_a_unit(n: float, text: str) -> None:
    assert words.large(n) == text


@pytest.mark.parametrize(
    ("value", "text"), [(10_000, "10 k"), (0.001, "0.001"), (3000, "3,000"), (-0.5, "−0.5")]
)
def test_axes_have_plain_numbers(value: float, text: str) -> None:
    assert plain(value) == text


def test_days_and_plurals() -> None:
    assert words.day("2025-11-02T03:04:05+00:00") == "2 November 2025"
    assert words.plural(1, "class", "classes") == "1 class"
    assert words.plural(1234, "step") == "1,234 steps"
