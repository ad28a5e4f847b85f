"""X4: does a generator copy? The test, its level, its power, and the metric made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from safelight.errors import TooFewImages, UserError
from safelight.evaluation import bench
from safelight.evaluation.copying import Copying
from safelight.evaluation.estimate import Evaluation, Interval
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.memorisation import (
    beside,
    effective_images,
    held_out_beside,
    share_copied,
    share_nearer,
)
from safelight.evaluation.metrics import METRICS
from tests.evaluation.sources import Model, Stored, stored
from tests.evaluation.sources import pixels as four_pixels

Rows = NDArray[np.float64]


def drawn(
    rng: np.random.Generator, n: int, m: int, d: int, copies: float, spread: float
) -> tuple[Rows, Rows, Rows]:
    """Images, training and held-out pictures, all of one distribution but for what is said.

    copies: the share of the images that are training pictures, hardly changed. spread: of the
    other images, less than 1 where they have too little variety.
    """
    images, training, held_out = (rng.standard_normal((k, d)) for k in (n, m, m))
    images *= spread
    which = rng.random(n) < copies
    taken = training[rng.integers(0, m, which.sum())]
    images[which] = taken + 0.05 * rng.standard_normal((which.sum(), d))
    return images, training, held_out


def simulated(draws: int, *how: float, seed: int = 0) -> list[tuple[Interval, Interval]]:
    rng = np.random.default_rng(seed)
    every = [beside(*drawn(rng, *how)) for _ in range(draws)]  # type: ignore[arg-type]
    return [(share_nearer(each), share_copied(each)) for each in every]


def holds(found: list[Interval], value: float) -> float:
    """The share of the intervals that hold the value."""
    return float(np.mean([each.low <= value <= each.high for each in found]))


def test_counts_and_effective_images_by_hand() -> None:
    """Three training and three held-out pictures on a line, and five images between them."""
    training, held_out = np.array([[0.0], [4.0], [20.0]]), np.array([[2.0], [10.0], [30.0]])
    images = np.array([[0.1], [0.2], [0.4], [0.8], [3.0]])
    found = beside(images, training, held_out)
    assert found.to_training.tolist() == pytest.approx([0.1, 0.2, 0.4, 0.8, 1])
    assert found.to_held_out.tolist() == pytest.approx([1.9, 1.8, 1.6, 1.2, 1])
    assert found.nearer.tolist() == [1, 1, 1, 1, 0.5]
    assert found.copied.tolist() == [True, True, True, False, False]
    squares = 4**2 + 0.5**2 + 0.5**2  # of four images, and half of the last
    assert effective_images(found) == pytest.approx(5 / (6 / 5 * (squares - 25 / 6) / 5))
    assert share_nearer(found).value == pytest.approx(0.9)
    assert share_copied(found).value == pytest.approx(0.6)


def test_the_variance_is_that_of_pictures_which_change_places() -> None:
    """Against the halves that permutations draw, for images that crowd as those of GANs do."""
    rng = np.random.default_rng(0)
    images, training, held_out = drawn(rng, 300, 40, 8, 0.0, 0.5)
    every, shares = np.concatenate([training, held_out]), []
    for _ in range(800):
        order = rng.permutation(80)
        shares.append(beside(images, every[order[:40]], every[order[40:]]).nearer.mean())
    found = effective_images(beside(images, training, held_out))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.01)
    assert np.var(shares) == pytest.approx(1 / (4 * found), rel=0.15)
    assert found < 300 / 3


def test_images_all_alike_prove_nothing() -> None:
    """One image a thousand times has the nearest picture of one: that may be either."""
    rng = np.random.default_rng(0)
    _, training, held_out = drawn(rng, 1, 50, 8, 0.0, 1.0)
    found = beside(np.tile(training.mean(0), (1000, 1)), training, held_out)
    assert effective_images(found) == pytest.approx(1, rel=0.03)
    nearer = share_nearer(found)
    assert nearer.value in (0, 1)
    assert nearer.low < 0.5 < nearer.high


@pytest.mark.parametrize(
    ("n", "m", "d", "spread"),
    [(300, 60, 2, 1.0), (200, 200, 64, 1.0), (300, 100, 16, 0.6)],
)
def test_the_level_is_what_it_says(n: int, m: int, d: int, spread: float) -> None:
    """X4: of 400 draws with nothing copied 92 % to 98 % of the intervals hold one half."""
    found = [nearer for nearer, _ in simulated(400, n, m, d, 0.0, spread)]
    assert 0.92 <= holds(found, 0.5) <= 0.98
    assert np.mean([each.low > 0.5 for each in found]) <= 0.045


@pytest.mark.slow
@pytest.mark.parametrize("d", [8, 64, 512])
@pytest.mark.parametrize(("n", "m"), [(500, 500), (2000, 300), (2000, 2000)])
def test_the_level_at_the_usual_counts(n: int, m: int, d: int) -> None:
    """X4: with every count and dimension, hubs of many dimensions among them."""
    found = [nearer for nearer, _ in simulated(400, n, m, d, 0.0, 1.0)]
    assert 0.92 <= holds(found, 0.5) <= 0.98


def test_copies_are_seen_and_counted() -> None:
    """X4: power. 20 % near copies of any of the training pictures are called so in most draws."""
    both = simulated(100, 300, 300, 16, 0.2, 1.0)
    assert np.mean([nearer.low > 0.5 for nearer, _ in both]) > 0.8
    assert np.mean([nearer.value for nearer, _ in both]) == pytest.approx(0.6, abs=0.01)
    copied = [found for _, found in both]
    assert np.mean([each.value for each in copied]) == pytest.approx(0.2, abs=0.01)
    assert holds(copied, 0.2) >= 0.92


def test_held_out_pictures_stand_beside_the_others_and_not_themselves() -> None:
    rng = np.random.default_rng(0)
    _, training, held_out = drawn(rng, 1, 200, 8, 0.0, 1.0)
    found = held_out_beside(training, held_out)
    others = np.linalg.norm(held_out[:, None] - held_out[None], axis=2) + 1e9 * np.eye(200)
    assert found.to_held_out == pytest.approx(others.min(1) / 8**0.5)
    assert (found.held_out == others.argmin(1)).all()
    shown = share_nearer(found)
    assert shown.low < 0.5 < shown.high


def test_the_floor_of_few_pictures_is_a_half() -> None:
    """X4: of the others one fewer is left, and so of the training pictures."""
    rng = np.random.default_rng(0)
    found = [
        share_nearer(held_out_beside(*rng.standard_normal((2, 10, 4)).astype(np.float32))).value
        for _ in range(2000)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.012)


def test_held_out_pictures_that_were_trained_on_are_refused() -> None:
    rng = np.random.default_rng(0)
    _, training, held_out = drawn(rng, 1, 100, 8, 0.0, 1.0)
    held_out[:5] = training[7:12]
    held_out_beside(training, held_out)
    held_out[5] = training[0]
    with pytest.raises(UserError, match=r"6 of 100 held-out .* name others with --against"):
        held_out_beside(training, held_out)


def test_a_picture_that_is_on_both_sides_counts_for_neither() -> None:
    """Ties are halves: a picture twice in the data must not tip the balance."""
    rng = np.random.default_rng(0)
    _, training, held_out = drawn(rng, 1, 50, 8, 0.0, 1.0)
    held_out[3] = training[9]
    found = beside(training[9:10] + 0.1, training, held_out)
    assert found.nearer.tolist() == [0.5]
    assert not found.copied.any()


# The metric


def copying(training: Stored, n: int, share: float) -> Stored:
    """Pictures of which the first `share` are those of `training`, and the others new."""
    own = stored("own", n, seed=77)
    kept = int(share * n)
    own.pixels[:kept], taken = training.pixels[:kept], training.targets
    assert own.targets is not None
    assert taken is not None
    own.targets[:kept] = taken[:kept]
    return Stored("samples", own.pixels, own.targets, own.classes)


def judged(source: Stored | Model, place: Path, **how: object) -> Evaluation:
    options = {"metrics": ["memorisation"], "features": "pixels", "store": place, "pool": None}
    return evaluate(source, stored("real:test", 200, 1), **{**options, **how})  # type: ignore


def test_copies_are_found_by_the_metric(tmp_path: Path) -> None:
    """X1, X2, X4: two shares with interval, floor and protocol; a set of copies is told so."""
    train = stored("real:train", 200, 0)
    nearer, copied = judged(copying(train, 200, 0.5), tmp_path, learnt=train).estimates
    assert nearer.name == "nearer to training (pixels)"
    assert copied.name == "near copies (pixels)"
    assert nearer.value == pytest.approx(0.75, abs=0.06)
    assert copied.value == 0.5
    assert nearer.low > 0.5
    for found, real in ((nearer, 0.5), (copied, 0.0)):
        assert found.floor is not None
        assert found.floor.low <= real <= found.floor.high
        assert "%" in found.show(found.value)
        assert not found.higher_is_better
        assert found.protocol.reference == 200
        assert f"200 of the 200 training pictures {train.fingerprint[:12]}" in (
            found.protocol.parameters
        )
    honest = judged(copying(train, 200, 0.0), tmp_path, learnt=train).estimates
    assert honest[0].low < 0.5 < honest[0].high
    assert honest[1].value == 0.0


def test_as_many_training_as_held_out_pictures(tmp_path: Path) -> None:
    """X4: of 1,000 training pictures 150 are taken, and of 150 held-out ones 60 where 60 are."""
    source = copying(stored("few", 60, 0), 150, 0.0)
    for count, taken in ((1000, 150), (60, 60)):
        found = judged(source, tmp_path, learnt=stored("train", count, 5)).estimates[0]
        assert found.protocol.reference == taken
        assert f"{taken} of the {count:,} training pictures" in found.protocol.parameters


def test_each_class_is_told_of_its_own(tmp_path: Path) -> None:
    """X4: with --per-class a class's images stand beside training pictures of that class."""
    train = stored("real:train", 200, 0)
    source = copying(train, 200, 0.0)
    assert train.targets is not None
    assert source.targets is not None
    dark = (train.targets == 0).nonzero().flatten()
    mine = (source.targets == 0).nonzero().flatten()
    k = min(len(dark), len(mine))
    source.pixels[mine[:k]] = train.pixels[dark[:k]]  # every dark one is a copy
    found = {
        e.name: e.value for e in judged(source, tmp_path, learnt=train, per_class=True).estimates
    }
    assert found["near copies[bright] (pixels)"] == 0.0
    assert found["near copies[dark] (pixels)"] > 0.8


def test_pixels_are_looked_at_beside_the_network_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X4: two feature spaces, in one pass over the images, which KID shares."""
    monkeypatch.setitem(FEATURES, "four", lambda _: replace(four_pixels(), name="four"))
    monkeypatch.setattr(bench, "announce", lambda parts: None)  # counts no images
    train, model = stored("real:train", 60, 0), Model()
    found = judged(
        model, tmp_path, features="four", metrics=["memorisation", "kid"],
        learnt=train, pool=train, n=60,
    )  # fmt: skip
    names = [estimate.name for estimate in found.estimates]
    assert names == [
        "nearer to training (four)", "nearer to training (pixels)", "near copies (four)",
        "near copies (pixels)", "KID (four)",
    ]  # fmt: skip
    assert len(model.seen) == 60
    assert train.asked == 60 * 3  # for KID's floor, for the pixels, and for the guards


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    """X4: one line each, before any image is made."""
    source, train = Model(), stored("real:train", 60, 0)
    flat = Stored("flat", torch.zeros(60, 1, 4, 4, dtype=torch.uint8))
    refusals: dict[str, dict[str, object]] = {
        r"model does not say which; name them with --train CACHE:train": {},
        r"training pictures flat are 1x4x4": {"learnt": flat},
        r"real:test can't be both": {"learnt": stored("real:test", 200, 1)},
        r"at least 10 training .* got 9": {"learnt": train, "n": 9},
    }
    for message, how in refusals.items():
        with pytest.raises(UserError, match=message) as refusal:
            judged(source, tmp_path, **how)
        assert "\n" not in str(refusal.value)
    assert not source.seen
    with pytest.raises(TooFewImages):
        judged(source, tmp_path, learnt=train, n=9)


def test_what_it_is_told_by() -> None:
    """X4: two spaces; not the pixels of large pictures, nor a network that has seen these."""
    row = METRICS["memorisation"]
    assert isinstance(row, Copying)
    assert row.networks("inception", (3, 64, 64)) == ("inception", "pixels")
    assert row.networks("pixels", (3, 64, 64)) == ("pixels",)
    assert row.networks("inception", (3, 128, 128)) == ("inception",)
    assert row.networks("classifier", (1, 8, 8)) == ("pixels",)
    with pytest.raises(UserError, match=r"nor by the pixels .* use --features efficientnet-lite0"):
        row.networks("classifier", (3, 128, 128))
