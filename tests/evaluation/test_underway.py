"""What is measured while a model is trained: one protocol, one floor, a batch to tell the cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.config import Watch
from safelight.data.prepare import prepare
from safelight.errors import TooFewImages, UserError
from safelight.evaluation.estimate import Evaluation
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.frechet import frechet
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.plan import plan
from safelight.evaluation.underway import BATCH, Underway
from safelight.starting import judge_of
from tests.evaluation.sources import Model, Stored, pixels, stored

HELD_OUT, TRAIN = stored("real:validation", 150, 2), stored("real:train", 400, 1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature network of four pixels."""
    monkeypatch.setitem(FEATURES, "pixels", lambda material: pixels())


def underway(store: Path, against: Stored = HELD_OUT, **changes: Any) -> Underway:
    usual: dict[str, Any] = {"pool": TRAIN, "train": TRAIN, "features": "pixels", "n": 200}
    return Underway(against, store=store, **{**usual, **changes})


def test_the_numbers_are_those_of_evaluate(tmp_path: Path) -> None:
    """C3, F10, X1, X2: values, intervals, floors and protocols, KID and FD."""
    found = Evaluation.from_json(underway(tmp_path / "a").look(Model()))
    asked = {"pool": TRAIN, "features": "pixels", "metrics": ("kid", "fd"), "n": 200}
    assert found.estimates == evaluate(Model(), HELD_OUT, store=tmp_path / "b", **asked).estimates  # type: ignore[arg-type]
    sides = plan(Model(), HELD_OUT, TRAIN, 200, 0)
    assert sides.stand_in is not None
    generated, reference, stand_in = (
        pixels().extract(side.source.images(side.seeds, side.source.labels(side.seeds))).numpy()
        for side in (sides.generated, sides.reference, sides.stand_in)
    )
    for estimate, measure in zip(found.estimates, (kernel_distance, frechet), strict=True):
        wanted = measure(generated, reference)
        found_here = (estimate.value, estimate.low, estimate.high)
        assert found_here == (wanted.value, wanted.low, wanted.high)
        assert estimate.floor == measure(stand_in, reference)
        assert (estimate.protocol.generated, estimate.protocol.reference) == (200, 150)


def test_every_point_has_the_same_seeds_and_real_images_are_looked_at_once(tmp_path: Path) -> None:
    """C3, X1: the protocol of all points is one; a better model is nearer."""
    held_out, train = stored("v", 150, 2), stored("t", 400, 1)
    judge = underway(tmp_path, held_out, pool=train, train=train)
    models = [Model(fingerprint="the same"), Model(fingerprint="the same")]
    first, second = (Evaluation.from_json(judge.look(model)) for model in models)
    assert models[0].seen == models[1].seen == list(range(200))
    assert (held_out.asked, train.asked) == (150, 200)
    assert first.estimates == second.estimates
    unfit = Model(classes=("dark", "dark too"))
    unfit.images = lambda seeds, labels=None: Model().images(seeds, labels) // 2  # type: ignore[method-assign]
    worse = Evaluation.from_json(judge.look(unfit))
    for near, far in zip(first.estimates, worse.estimates, strict=True):
        assert near.protocol.hash == far.protocol.hash
        assert near.high < far.low


def test_the_cost_is_told_from_a_batch(tmp_path: Path) -> None:
    model = Model()
    judge = underway(tmp_path, n=1000)
    assert judge.cost(model) > 0
    assert len(model.seen) == 2 * BATCH
    assert judge.about == "KID and FD (pixels) of 1,000 images against 150 of real:validation"


def test_a_distance_that_images_are_too_few_for_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: no FD of 150 images in 160 dimensions; no KID of three images at all."""
    monkeypatch.setitem(FEATURES, "pixels", lambda material: pixels(64))
    found = Evaluation.from_json(underway(tmp_path, n=64).look(Model()))
    assert [e.protocol.metric for e in found.estimates] == ["kid"]
    found = Evaluation.from_json(underway(tmp_path, n=65).look(Model()))
    assert [e.protocol.metric for e in found.estimates] == ["kid", "fd"]
    with pytest.raises(TooFewImages, match="at least 4 images on each side, got 3"):
        underway(tmp_path, n=3)
    with pytest.raises(TooFewImages, match="got 200 generated and 2 reference"):
        underway(tmp_path, stored("few", 2, 0))


@settings(max_examples=20)
@given(n=st.integers(4, 210), real=st.integers(4, 210))
def test_any_counts_give_a_floor_or_say_why_not(n: int, real: int) -> None:
    """X2: the floor of KID by training pictures, or by halves of what there is; else it is said."""
    train = stored("t", 100, 5)
    judge = Underway(
        stored("v", real, 4), pool=train, train=train, features="pixels", n=n, store=STORE
    )
    for estimate in Evaluation.from_json(judge.look(Model())).estimates:
        assert (estimate.floor is None) == (n > 100)
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.protocol.floor_images.startswith("none" if n > 100 else f"{n:,} images")


STORE = Path("/nowhere")


@pytest.fixture(autouse=True, scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> None:
    global STORE
    STORE = tmp_path_factory.mktemp("store")


def test_the_validation_split_is_asked_and_never_the_test_split(tmp_path: Path) -> None:
    """X1: without held-out pictures those of the training, divided for the floor; it is said."""
    watch = Watch(evaluate_every=1, evaluate_features="pixels", evaluate_images=50)
    cache = prepare("digits", out=tmp_path / "held-out", split="70/5/25")
    judge = judge_of(cache, watch)
    assert judge is not None
    assert judge.about == "KID (pixels) of 50 images against 50 of digits:validation"
    without = prepare("digits", out=tmp_path / "without", split="75/0/25")
    judge = judge_of(without, watch)
    assert judge is not None
    assert "digits:train (which it learns from: no pictures were held out)" in judge.about
    model = Model(classes=tuple(map(str, range(10))))
    model.images = lambda seeds, labels=None: without.subset("test").images(list(seeds))  # type: ignore[method-assign]
    judge._store = tmp_path / "store"
    kid, *_ = Evaluation.from_json(judge.look(model)).estimates
    assert kid.protocol.reference_name == "digits:train"
    assert kid.protocol.floor_images.endswith("divided at random from the reference")
    assert kid.floor is not None
    assert np.abs(kid.value - kid.floor.value) < 0.1
    assert judge_of(cache, Watch()) is None


def test_what_cannot_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'pixels'"):
        underway(tmp_path, features="pixel")
    with pytest.raises(UserError, match="was trained on, real:train, .*--split 80/10/10"):
        underway(tmp_path, TRAIN, pool=None, features="classifier")
    unlabelled = Stored("plain", TRAIN.pixels)
    with pytest.raises(UserError, match=r"two classes and plain has 0; .*--watch\.evaluate-feat"):
        underway(tmp_path, train=unlabelled, features="classifier")
