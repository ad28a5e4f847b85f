"""An epoch's order: a permutation of any number of pictures, and of no kind more often."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from safelight.seeding import Draws, scattered
from safelight.training.order import permuted, visited

SEEDS = st.integers(0, 2**63 - 1)


def test_splitmix64_is_that_of_its_authors() -> None:
    """The first numbers of the seed 1234567, as the reference implementation in C prints them."""
    wanted = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    found = scattered(np.array([1234567], np.uint64), np.arange(5, dtype=np.uint64))
    assert found.tolist() == wanted


@given(count=st.integers(1, 400), seed=SEEDS, epoch=st.integers(0, 10**6))
@example(count=1, seed=0, epoch=0)
@example(count=3, seed=0, epoch=0)
def test_an_epoch_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    """L1: each picture once, whatever their number."""
    found = visited(epoch * count + np.arange(count), count, seed)
    assert sorted(found.tolist()) == list(range(count))


@given(count=st.integers(1, 10**12), seed=SEEDS, data=st.data())
def test_a_visit_is_the_same_in_any_company(count: int, seed: int, data: st.DataObject) -> None:
    """X16: whatever else is asked for, and also of sets larger than any memory."""
    visits = np.array(data.draw(st.lists(st.integers(0, 10**15), min_size=1, max_size=20)))
    found = visited(visits, count, seed)
    assert ((found >= 0) & (found < count)).all()
    assert found.tolist() == [
        visited(visits[i : i + 1], count, seed)[0] for i in range(len(visits))
    ]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_all_orders_come_about_as_often(count: int) -> None:
    """Chi-squared of all orders: within five deviations of its mean."""
    orders = math.factorial(count)
    tried = 30 * orders
    keys = scattered(np.array([5], np.uint64), np.arange(tried, dtype=np.uint64)).repeat(count)
    places = np.tile(np.arange(count, dtype=np.uint64), tried)
    found = Counter(map(tuple, permuted(places, keys, count).reshape(tried, count).tolist()))
    squares = sum((n - 30) ** 2 / 30 for n in found.values()) + 30 * (orders - len(found))
    assert abs(squares - (orders - 1)) < 5 * math.sqrt(2 * (orders - 1))


def test_neighbours_are_no_neighbours_in_the_next_epoch() -> None:
    """Of 10,000 pictures: the ranks of two epochs, and of two neighbours in one, do not correlate.

    The correlation of n pairs deviates by 1 / sqrt(n) from 0.
    """
    n = 10_000
    one, two = (visited(epoch * n + np.arange(n), n, 0) for epoch in (0, 1))
    pairs = [
        (one, two),
        (one[:-1], one[1:]),
        (one, np.arange(n)),
        (np.argsort(one), np.argsort(two)),
    ]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(n)
    assert abs((one == two).sum() - 1) < 6  # as many as of two permutations: 1 on average


def test_an_order_takes_no_memory_of_the_others() -> None:
    """Of a billion pictures, 128 visits: within a megabyte."""
    visited(np.arange(128), 10**9, 0)
    tracemalloc.start()
    visited(np.arange(128) + 10**9 - 64, 10**9, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_draws_are_uniform_and_independent() -> None:
    """Of a million numbers: moments, each of 64 bins, and no correlation of places, steps, purposes
    or columns."""
    places = np.arange(250_000)
    u = Draws(3, 7, places).uniform("crop", 4)
    assert u.shape == (250_000, 4)
    assert ((u >= 0) & (u < 1)).all()
    assert abs(u.mean() - 1 / 2) < 4 / math.sqrt(12 * u.size)
    counts = np.bincount((u * 64).astype(int).ravel(), minlength=64)
    assert abs(((counts - u.size / 64) ** 2 / (u.size / 64)).sum() - 63) < 5 * math.sqrt(2 * 63)
    others = (
        Draws(3, 7, places).uniform("flip", 4),
        Draws(3, 8, places).uniform("crop", 4),
        Draws(4, 7, places).uniform("crop", 4),
        np.roll(u, 1, axis=0),
        np.roll(u, 1, axis=1),
    )
    for other in others:
        assert abs(np.corrcoef(u.ravel(), other.ravel())[0, 1]) < 5 / math.sqrt(u.size)


@given(seed=SEEDS, step=st.integers(0, 10**9), data=st.data())
def test_a_draw_is_the_same_in_any_company(seed: int, step: int, data: st.DataObject) -> None:
    """X5, X16: in micro-batches, and in several processes."""
    places = np.array(data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=20)))
    whole = Draws(seed, step, places)
    for i in range(len(places)):
        alone = Draws(seed, step, places[i : i + 1])
        assert (alone.uniform("turn", 3) == whole.uniform("turn", 3)[i]).all()
        assert alone.seeds() == whole.seeds()[i : i + 1]
