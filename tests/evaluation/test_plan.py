from __future__ import annotations

import pytest
import torch

from safelight.errors import TooFewImages, UserError
from safelight.evaluation.plan import plan
from tests.evaluation.sources import Model, Stored, stored

REAL = stored("real:test", 100, 1)


def test_sides_have_the_same_counts() -> None:
    """X2: the floor is measured at the counts of the number that it stands beside."""
    sides = plan(Model(), REAL, stored("real:train", 300, 2), n=60, seed=0)
    assert [len(side) for side in (sides.generated, sides.reference)] == [60, 60]
    assert sides.stand_in is not None
    assert len(sides.stand_in) == 60
    assert sides.stand_in_note == "60 images of real:train"


def test_defaults_are_2000_of_a_model_and_all_of_what_is_stored() -> None:
    assert len(plan(Model(), REAL, None, n=None, seed=0).generated) == 2000
    sides = plan(stored("other", 70, 3), REAL, None, n=None, seed=0)
    assert sorted(sides.generated.seeds) == list(range(70))
    assert len(sides.reference) == 70


def test_without_a_pool_the_reference_is_divided() -> None:
    sides = plan(Model(), REAL, None, n=50, seed=0)
    assert sides.stand_in is not None
    assert len(sides.stand_in) == 50
    assert not set(sides.stand_in.seeds) & set(sides.reference.seeds)
    assert "divided at random" in sides.stand_in_note


@pytest.mark.parametrize("pool", [None, stored("few", 59, 2)])
def test_without_enough_real_images_there_is_no_floor_and_the_reason_is_given(
    pool: Stored | None,
) -> None:
    """X2: a marked result."""
    sides = plan(Model(), REAL, pool, n=60, seed=0)
    assert sides.stand_in is None
    assert sides.stand_in_note.startswith("none: it takes")
    assert len(sides.reference) == 60


def test_the_seed_chooses_the_images_and_repeats_them() -> None:
    first, again, other = (plan(Model(), REAL, None, n=40, seed=s) for s in (0, 0, 1))
    assert first.reference.seeds == again.reference.seeds != other.reference.seeds
    assert not set(first.generated.seeds) & set(other.generated.seeds)


def test_what_cannot_be_compared_is_refused() -> None:
    twin = Stored("copy", REAL.pixels)
    for mistake, message in (
        ({"source": stored("big", 50, 2, (3, 8, 8))}, r"1x8x8.*|3x8x8.*prepare"),
        ({"pool": twin}, "its own stand-in"),
        ({"pool": stored("big", 50, 2, (1, 9, 9))}, "1x9x9"),
        ({"against": Model()}, "is a model"),
        ({"pool": Model(fingerprint="m2")}, "is a model"),
    ):
        given = {"source": Model(), "against": REAL, "pool": None, **mistake}
        with pytest.raises(UserError, match=message) as caught:
            plan(**given, n=10, seed=0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n", [-1, 0, 1])
def test_one_image_is_too_few(n: int) -> None:
    with pytest.raises(TooFewImages, match="at least 2"):
        plan(Model(), REAL, None, n=n, seed=0)


def test_one_stored_image_is_too_few() -> None:
    one = stored("one", 1, 6)
    with pytest.raises(TooFewImages, match="one has 1 images and 2 are needed; add images"):
        plan(one, REAL, None, n=None, seed=0)
    with pytest.raises(TooFewImages, match="one has 1 images and an evaluation compares"):
        plan(Model(), one, None, n=None, seed=0)


def test_empty_sides_are_refused() -> None:
    empty = Stored("empty", torch.zeros(0, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(TooFewImages, match="empty has 0 images"):
        plan(empty, REAL, None, n=None, seed=0)
    with pytest.raises(TooFewImages, match="empty has 0 images"):
        plan(Model(), empty, None, n=None, seed=0)
    with pytest.raises(TooFewImages, match="has 100 images and 101 are needed"):
        plan(REAL, stored("more", 200, 5), None, n=101, seed=0)
