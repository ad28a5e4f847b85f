"""Subsets and splits: disjoint, complete, stratified and repeatable."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.data.splits import Draw, parse_split, portions, quotas, stratified, together
from safelight.errors import UserError

shares_ = st.tuples(st.integers(1, 100), st.integers(0, 100), st.integers(0, 100)).map(
    lambda parts: tuple(Fraction(part, sum(parts)) for part in parts)
)
class_sizes = st.lists(st.integers(0, 60), min_size=1, max_size=6)


@given(n=st.integers(0, 10_000), shares=shares_, u=st.fractions(0, 1).filter(lambda u: u < 1))
def test_portions_are_whole_complete_and_within_one(
    n: int, shares: tuple[Fraction, ...], u: Fraction
) -> None:
    parts = portions(n, shares, u)
    assert sum(parts) == n
    assert all(abs(part - n * share) < 1 for part, share in zip(parts, shares, strict=True))


def test_portions_are_unbiased() -> None:
    """Over all u, 7 pictures at 80/10/10 give 5.6, 0.7 and 0.7 on average."""
    shares = parse_split("80/10/10")
    mean = np.mean([portions(7, shares, Fraction(k, 1000)) for k in range(1000)], axis=0)
    assert mean == pytest.approx([5.6, 0.7, 0.7], abs=1e-9)


@given(sizes=class_sizes, shares=shares_, seed=st.integers(0, 5))
@settings(deadline=None, max_examples=50)
def test_split_is_stratified_within_one_and_repeatable(
    sizes: list[int], shares: tuple[Fraction, ...], seed: int
) -> None:
    """F1, L3."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    names = [f"class {i}" for i in range(len(sizes))]
    if sum(sizes) < 30:  # there, filling an empty split may take a picture from a class
        return
    codes = stratified(labels, names, shares, seed)
    assert (codes == stratified(labels, names, shares, seed)).all()
    filled = sum(share > 0 for share in shares[1:])
    for label, n in enumerate(sizes):
        counts = np.bincount(codes[labels == label], minlength=3)
        assert counts.sum() == n
        if n > 1:
            off = [abs(int(c) - n * s) for c, s in zip(counts, shares, strict=True)]
            assert all(o < 1 + filled for o in off)
            assert sum(o >= 1 for o in off) <= filled
    assert all((codes == k).any() for k in range(3) if shares[k] > 0)


def test_whole_percents_are_exact() -> None:
    """L3: 1,000 a class at 80/10/10 are 800 to train and 100 to test, in every class."""
    labels = np.repeat(np.arange(5), 1000)
    codes = stratified(labels, list("abcde"), parse_split("80/10/10"), seed=3)
    for label in range(5):
        assert np.bincount(codes[labels == label]).tolist() == [800, 100, 100]


def test_a_class_keeps_its_test_pictures_whatever_else_is_prepared() -> None:
    """K1, K2: a model of cats alone and one of all classes are tested on the same cats."""
    both = stratified(np.repeat([0, 1], [40, 55]), ["cat", "frog"], parse_split("80/10/10"), 0)
    alone = stratified(np.zeros(40, np.int64), ["cat"], parse_split("80/10/10"), 0)
    assert (both[:40] == alone).all()


def test_a_single_picture_of_a_class_is_trained_on() -> None:
    labels = np.array([0] * 30 + [1])
    for seed in range(20):
        assert stratified(labels, ["many", "one"], parse_split("10/45/45"), seed)[-1] == 0


def test_three_pictures_fill_three_splits_and_two_do_not() -> None:
    shares = parse_split("80/10/10")
    assert sorted(stratified(np.zeros(3, np.int64), [""], shares, 0)) == [0, 1, 2]
    for n in (1, 2):
        with pytest.raises(UserError, match="too few to split 80/10/10.*--split 100/0/0"):
            stratified(np.zeros(n, np.int64), [""], shares, 0)


@pytest.mark.parametrize("text", ["", "80/20", "80/10/20", "0/50/50", "a/b/c", "110/-5/-5", "1/0"])
def test_a_split_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="such as 80/10/10"):
        parse_split(text)


def test_decimal_percents() -> None:
    assert parse_split("95/2.5/2.5") == (Fraction(19, 20), Fraction(1, 40), Fraction(1, 40))


@given(sizes=st.lists(st.integers(0, 50), min_size=3, max_size=3), per_class=st.integers(1, 60))
def test_quotas_keep_the_proportions_of_the_splits(sizes: list[int], per_class: int) -> None:
    drawn = quotas(sizes, per_class)
    total = sum(sizes)
    assert sum(drawn) == min(per_class, total)
    assert all(d <= s for d, s in zip(drawn, sizes, strict=True))
    if per_class < total:
        assert all(abs(d - per_class * s / total) < 1 for d, s in zip(drawn, sizes, strict=True))


def test_rejected_pictures_are_replaced_until_the_quota_is_met() -> None:
    """L3: the subset stays balanced where some files are bad."""
    labels = np.repeat([0, 1], [30, 40])
    bad = set(range(0, 70, 3))
    draw = Draw(labels, None, ["a", "b"], per_class=12, seed=5)
    taken: list[int] = []
    tried: list[int] = []
    while len(wanted := draw.next()):
        good = [i for i in wanted.tolist() if i not in bad]
        draw.accept(good)
        taken += good
        tried += wanted.tolist()
    assert np.bincount(labels[taken]).tolist() == [12, 12]
    assert len(set(tried)) == len(tried)


@pytest.mark.parametrize("good", range(3))
def test_what_one_split_lacks_the_others_give(good: int) -> None:
    """100 good pictures in one split and 10 bad ones in another: there are 22, and even 100."""
    given = np.repeat([good, (good + 1) % 3], [100, 10]).astype(np.uint8)
    labels = np.zeros(110, np.int64)
    for per_class in (22, 100, 101):
        draw = Draw(labels, given, ["a"], per_class, seed=0)
        taken: list[int] = []
        while len(wanted := draw.next()):
            accepted = [i for i in wanted.tolist() if i < 100]
            draw.accept(accepted)
            taken += accepted
        assert len(set(taken)) == len(taken) == min(per_class, 100)


@given(data=st.data(), sizes=st.lists(st.integers(0, 12), min_size=6, max_size=6))
def test_no_class_is_short_while_it_has_pictures(data: st.DataObject, sizes: list[int]) -> None:
    """Whatever is bad, left out, or in whichever split."""
    labels, given = np.repeat([0, 0, 0, 1, 1, 1], sizes), np.repeat([0, 1, 2, 0, 1, 2], sizes)
    n, per_class = len(labels), data.draw(st.integers(1, 30))
    bad = set(data.draw(st.lists(st.integers(0, 80))))
    draw = Draw(labels, given.astype(np.uint8), ["a", "b"], per_class, seed=0)
    taken: list[int] = []
    for again in (True, False):
        while len(wanted := draw.next()):
            accepted = [i for i in wanted.tolist() if i not in bad]
            draw.accept(accepted)
            taken += accepted
        if again:  # a duplicate of another
            bad |= set(taken[1:3])
            draw.give_back(taken[1:3])
            del taken[1:3]
    for label in (0, 1):
        whole = sum(labels[i] == label and i not in bad for i in range(n))
        assert sum(labels[i] == label for i in taken) == min(per_class, whole)


def test_another_seed_draws_others() -> None:
    labels = np.zeros(100, np.int64)
    first, second = (Draw(labels, None, ["a"], 10, seed).next() for seed in (0, 1))
    assert first.tolist() != second.tolist()
    assert Draw(labels, None, ["a"], 10, 0).next().tolist() == first.tolist()


@given(pairs=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 399)), max_size=15))
@settings(deadline=None, max_examples=50)
def test_a_few_families_change_no_number(pairs: list[tuple[int, int]]) -> None:
    """Each picture that moves changes places with one of its class that is alone."""
    labels, family = np.repeat([0, 1], 200), np.arange(400)
    for one, other in pairs:
        family[family == family[other]] = family[one]
    before = np.random.default_rng(0).integers(0, 3, 400).astype(np.uint8)
    found = together(before, labels, ["a", "b"], family, seed=0)
    for own in (labels == 0, labels == 1):
        assert (np.bincount(found[own]) == np.bincount(before[own])).all()
    assert all(len(set(found[family == k].tolist())) == 1 for k in set(family.tolist()))
    first = np.unique(family, return_index=True)[1]
    strays = before != before[first][np.unique(family, return_inverse=True)[1]]
    assert (found != before).sum() == 2 * strays.sum()
    assert (together(before, labels, ["a", "b"], np.arange(400), 0) == before).all()


@pytest.mark.parametrize("alike", [2, 3, 4])
@pytest.mark.parametrize("classes", [1, 10])
def test_families_stay_whole_where_no_picture_is_alone(alike: int, classes: int) -> None:
    """As in a folder whose pictures were all copied, or saved in two formats."""
    n = 1200
    labels, family = np.arange(n) * classes // n, np.arange(n) // alike
    for seed in range(3):
        splits = stratified(
            labels, [str(k) for k in range(classes)], parse_split("80/10/10"), seed, family
        )
        assert (splits.reshape(-1, alike) == splits[::alike, None]).all()
        for label in range(classes):
            counts = np.bincount(splits[labels == label], minlength=3) * classes / n
            assert counts == pytest.approx([0.8, 0.1, 0.1], abs=alike * classes / n)


def test_families_of_two_classes_stay_whole() -> None:
    """Every picture is there as a cat and as a dog."""
    labels, family = np.repeat([0, 1], 100), np.tile(np.arange(100), 2)
    splits = stratified(labels, ["cat", "dog"], parse_split("80/10/10"), 0, family)
    assert (splits[:100] == splits[100:]).all()
    assert np.bincount(splits).tolist() == [160, 20, 20]


@given(drawn=st.lists(st.integers(0, 40), min_size=3, max_size=60), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=100)
def test_families_stay_whole_unless_they_are_too_large(drawn: list[int], seed: int) -> None:
    family = np.array(drawn)
    alone, shares = np.zeros(len(family), np.int64), parse_split("60/20/20")
    drawn_one_by_one = np.bincount(stratified(alone, [""], shares, seed), minlength=3)
    splits = stratified(alone, [""], shares, seed, family)
    counts = np.bincount(splits, minlength=3)
    sizes = np.bincount(family)
    assert (abs(counts - drawn_one_by_one) < 2 * sizes.max()).all()
    assert (counts > 0).all()
    torn = [k for k in set(drawn) if len(set(splits[family == k].tolist())) > 1]
    if sizes.max() * 4 < len(family):
        assert not torn


def test_a_set_of_one_family_is_divided_all_the_same() -> None:
    """As a film of which nearly every frame is like another."""
    splits = [
        stratified(np.zeros(200, np.int64), [""], parse_split("80/10/10"), 0, family)
        for family in (None, np.zeros(200, np.int64))
    ]
    assert (splits[0] == splits[1]).all()


def test_copies_in_one_class_move_no_picture_of_another() -> None:
    """K1, K2."""
    names, shares = ["cat", "dog"], parse_split("80/10/10")
    labels = np.repeat([0, 1], 100)
    family = np.concatenate([np.arange(100), 100 + np.arange(100) // 2])
    plain = stratified(labels, names, shares, 0)
    assert (stratified(labels, names, shares, 0, family)[:100] == plain[:100]).all()
