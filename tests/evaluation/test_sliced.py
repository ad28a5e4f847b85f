from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from safelight.errors import TooFewImages
from safelight.evaluation import sliced
from safelight.evaluation.sliced import sliced_wasserstein, unit_directions
from tests.evaluation.sources import rows


def by_quantiles(x: np.ndarray, y: np.ndarray) -> float:
    """The definition: quantile functions on a grid that holds every step of both."""
    theta, grid = unit_directions(x.shape[1]), math.lcm(len(x), len(y))
    a, b = (
        np.repeat(np.sort(side.astype(np.float64) @ theta, axis=0), grid // len(side), axis=0)
        for side in (x, y)
    )
    return math.sqrt(float(((a - b) ** 2).mean()))


@given(st.integers(10, 30), st.integers(10, 30), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_equals_its_definition(m: int, n: int, d: int, seed: int) -> None:
    """F10: at unequal counts too."""
    x, y = rows(m, d, seed, shift=0.3), rows(n, d, seed + 1)
    assert sliced_wasserstein(x, y).value == pytest.approx(by_quantiles(x, y), rel=1e-9, abs=1e-9)


def test_of_numbers_it_is_the_wasserstein_distance() -> None:
    """One dimension has one direction; scipy knows the first power alone, so of a shift."""
    x = rows(200, 1, 1)
    assert sliced_wasserstein(x, x + 3).value == pytest.approx(3.0, rel=1e-6)
    assert wasserstein_distance(x[:, 0], x[:, 0] + 3) == pytest.approx(3.0, rel=1e-6)


def test_of_a_shift_it_is_the_mean_square_of_the_projections() -> None:
    """SWD² = mean (θ·s)², about |s|²/d."""
    x, s = rows(300, 48, 1), np.linspace(-1, 1, 48, dtype=np.float32)
    wanted = math.sqrt(float(((s @ unit_directions(48)) ** 2).mean()))
    assert sliced_wasserstein(x, x + s).value == pytest.approx(wanted, rel=1e-5)
    assert wanted == pytest.approx(float(np.linalg.norm(s)) / math.sqrt(48), rel=0.1)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(150, 6, 1, shift=0.3), rows(130, 6, 2)
    whole = sliced_wasserstein(x, y)
    monkeypatch.setattr(sliced, "TILE", 100)
    tiled = sliced_wasserstein(x, y)
    assert (tiled.value, tiled.high) == pytest.approx((whole.value, whole.high), rel=1e-10)


def test_only_so_many_images_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is bounded, and the protocol says so."""
    x, y = rows(90, 6, 1), rows(80, 6, 2)
    monkeypatch.setattr(sliced, "AT_MOST", 50)
    assert sliced_wasserstein(x, y) == sliced_wasserstein(x[:50], y[:50])
    assert "at most 10,000 images a side" in sliced.PARAMETERS


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0, 1.5)])
def test_the_interval_covers_its_mean(
    shift: float, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: the mean at these counts, which are unequal; wider than need be only where P = Q."""
    monkeypatch.setattr(sliced, "DIRECTIONS", 64)
    found = [
        sliced_wasserstein(rows(150, 8, 2 * i, shift, scale), rows(120, 8, 2 * i + 1))
        for i in range(150)
    ]
    values = np.array([each.value for each in found])
    covered = np.mean([each.low <= values.mean() <= each.high for each in found])
    assert covered >= 0.9
    widths = np.array([each.high - each.low for each in found]) / 2 / 1.96
    if shift or scale != 1.0:
        assert widths.mean() == pytest.approx(values.std(), rel=0.2)


def test_too_few_images_are_refused() -> None:
    """X2."""
    with pytest.raises(TooFewImages, match=r"at least 10 images.*got 9 generated"):
        sliced_wasserstein(rows(9, 6, 1), rows(80, 6, 2))
