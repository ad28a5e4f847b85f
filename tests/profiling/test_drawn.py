"""Which pictures are looked at: every group has its share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from safelight.profiling.drawn import drawn_evenly, first_of_each


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.integers(1, 200),
    st.randoms(use_true_random=False),
)
def test_each_group_has_its_share_within_one(sizes: list[int], most: int, order: object) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order.shuffle(groups)  # type: ignore[attr-defined]
    drawn = drawn_evenly(groups, most, "test")
    assert len(drawn) == min(most, len(groups))
    assert (np.diff(drawn) > 0).all()
    share = len(drawn) / len(groups)
    counts = np.bincount(groups[drawn], minlength=len(sizes))
    assert (abs(counts - share * np.array(sizes)) < 1 + 1e-9).all()


def test_draws_are_the_same_each_time_and_differ_by_purpose() -> None:
    groups = np.zeros(1000, np.int64)
    first = drawn_evenly(groups, 50, "a")
    assert (first == drawn_evenly(groups, 50, "a")).all()
    assert (first != drawn_evenly(groups, 50, "b")).any()


def test_no_place_in_the_file_is_preferred() -> None:
    """Of 40,000 pictures in one group, each quarter has about a quarter of 4,000 drawn."""
    drawn = drawn_evenly(np.zeros(40_000, np.int64), 4000, "quarters")
    quarters = np.bincount(drawn // 10_000, minlength=4)
    assert (abs(quarters - 1000) < 4 * np.sqrt(1000 * 0.75)).all()


def test_the_first_of_each_group_are_of_it() -> None:
    groups = np.array([0, 1] * 30 + [2])
    found = first_of_each(groups, 10, "test")
    assert [len(found[g]) for g in (0, 1, 2)] == [10, 10, 1]
    assert all((groups[found[g]] == g).all() for g in found)
