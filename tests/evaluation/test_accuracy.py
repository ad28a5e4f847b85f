from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from safelight.evaluation.accuracy import tally, wilson


@given(st.integers(1, 5000), st.data())
def test_wilson_equals_scipys(n: int, data: st.DataObject) -> None:
    """X2: at every share, 0 and 1 included, where a plain interval has no width."""
    successes = data.draw(st.integers(0, n))
    found = wilson(successes, n)
    wanted = binomtest(successes, n).proportion_ci(method="wilson")
    assert found.value == successes / n
    assert found.low == pytest.approx(wanted.low, abs=1e-9)
    assert found.high == pytest.approx(wanted.high, abs=1e-9)
    assert found.high > found.low


def test_tallies_count_by_class_and_merge() -> None:
    rng = np.random.default_rng(0)
    asked, predicted = rng.integers(0, 4, (2, 500))
    whole = tally(predicted, asked, 5)
    halves = tally(predicted[:200], asked[:200], 5).merge(tally(predicted[200:], asked[200:], 5))
    np.testing.assert_array_equal(whole.right, halves.right)
    assert whole.share().value == np.mean(predicted == asked)
    share = whole.share_of(2)
    assert share is not None
    assert share.value == np.mean(predicted[asked == 2] == 2)
    assert whole.share_of(4) is None
