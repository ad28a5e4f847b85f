"""Bits per dimension as a metric: which images are judged, and how the number is said."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from safelight.config import Likelihood
from safelight.errors import UserError
from safelight.evaluation.compare import compare
from safelight.evaluation.estimate import Evaluation
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.likelihood import mean_interval
from safelight.evaluation.metrics import USUAL
from safelight.evaluation.plan import held_out
from safelight.evaluation.side_by_side import table as compared
from safelight.evaluation.table import table
from safelight.images import ImageSource
from tests.evaluation.sources import Model, Stored, pixels, stored

TEST = stored("real:test", 300, 2)


@dataclass
class Knowing(Model):
    """A model whose bits are each image's mean and its class: simple to check."""

    asked: list[int] = field(default_factory=list)
    options: Likelihood | None = None
    judged: int = 0

    def likelihoods(self, options: Likelihood) -> dict[str, Measured]:
        self.options = options
        return {"bound": Measured(self, 1.0), "ODE": Measured(self, 0.0)}


@dataclass
class Measured:
    model: Knowing
    above: float
    parameters: str = "as the test has it"

    def __call__(self, images: Tensor, labels: Tensor | None, seeds: Sequence[int]) -> Tensor:
        assert images.dtype == torch.uint8
        self.model.judged += len(images)
        self.model.asked += seeds
        bits = images.flatten(1).double().mean(1) / 100 + self.above
        return bits if labels is None else bits + 10 * labels


def judged(source: ImageSource, **given: Any) -> Evaluation:
    return evaluate(source, given.pop("against", TEST), pool=None, metrics=("bpd",), **given)


def test_held_out_images_are_judged_with_their_own_classes() -> None:
    """X11: and no image is drawn, no network of features loaded."""
    model = Knowing()
    found = judged(model, n=50)
    side = held_out(TEST, 50, 0)
    assert len(side) == 50
    images, labels = TEST.images(side.seeds), TEST.labels(side.seeds)
    assert labels is not None
    expected = images.flatten(1).double().mean(1) / 100 + 10 * labels
    bound, ode = found.estimates
    assert (bound.name, ode.name) == ("bits per dimension (bound)", "bits per dimension (ODE)")
    assert ode.value == pytest.approx(float(expected.mean()))
    assert bound.value == pytest.approx(float(expected.mean()) + 1)
    assert model.seen == []
    assert model.judged == 100


def test_classes_are_those_of_the_model_by_name() -> None:
    plain, turned = (
        judged(Knowing(classes=classes), n=20).estimates[1].value
        for classes in (("dark", "bright"), ("bright", "dark"))
    )
    labels = TEST.labels(held_out(TEST, 20, 0).seeds)
    assert labels is not None
    assert turned - plain == pytest.approx(10 * (1 - 2 * float(labels.double().mean())))


def test_the_protocol_says_what_was_judged_and_why_there_is_no_floor() -> None:
    """X1, X2, X11."""
    found = judged(Knowing(), n=50, seed=3)
    for estimate in found.estimates:
        how = estimate.protocol
        assert (estimate.n, estimate.floor) == (50, None)
        assert (how.metric, how.generated, how.reference, how.seed) == ("bpd", 0, 50, 3)
        assert (how.dimension, how.image) == (64, "1x8x8")
        assert how.reference_fingerprint == TEST.fingerprint
        assert how.parameters == "as the test has it"
        assert how.floor_images == "none: real images are what is judged"
        assert "none: real images are what is judged" in str(estimate)
    assert Evaluation.from_json(found.to_json()) == found


def test_options_reach_the_model_and_are_recorded() -> None:
    model, options = Knowing(), Likelihood(terms=7, probes=2)
    found = judged(model, n=5, likelihood=options)
    assert model.options == options
    assert found.likelihood == options.model_dump()
    assert (found.drawn, found.sampling) == ("", {})


def test_every_image_has_its_own_seed() -> None:
    """B7: the same again for the same seed, whichever other images are judged."""
    models = [Knowing() for _ in range(4)]
    for model, (n, seed) in zip(models, ((40, 0), (40, 0), (40, 1), (60, 0)), strict=True):
        judged(model, n=n, seed=seed)
    first, again, other, more = (model.asked for model in models)
    assert first == again
    assert first[:40] == first[40:]  # the same for every method
    assert not set(first) & set(other)
    assert len(set(first)) == 40
    assert len(set(first) & set(more)) == 40


def test_two_hundred_images_unless_told_otherwise() -> None:
    assert judged(Knowing()).estimates[0].n == 200
    few = stored("few", 30, 5)
    assert judged(Knowing(), against=few).estimates[0].n == 30
    assert judged(Knowing(), against=few, n=1000).estimates[0].n == 30


def test_the_interval_is_students() -> None:
    """X2: of 4,000 samples of five, 95 % of the intervals hold the mean."""
    drawn = np.random.default_rng(0).normal(3.0, 2.0, size=(4000, 5))
    held = sum((found := mean_interval(row)).low <= 3 <= found.high for row in drawn)
    assert 0.94 < held / 4000 < 0.96
    found = mean_interval(np.array([1.0, 3.0]))
    assert (found.value, found.high) == (2.0, pytest.approx(2 + 12.706204736))


def test_it_is_asked_for_by_name_and_goes_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FEATURES, "pixels", lambda material: pixels())
    assert "bpd" not in USUAL
    found = evaluate(
        Knowing(), TEST, pool=None, features="pixels", metrics=("bpd", "kid"), n=60, store=tmp_path
    )
    names = ["KID (pixels)", "bits per dimension (bound)", "bits per dimension (ODE)"]
    assert [estimate.name for estimate in found.estimates] == names


def test_no_labelled_pictures_are_needed_for_it() -> None:
    bare = Stored("bare", TEST.pixels)
    found = judged(Knowing(classes=()), against=bare, n=10, features="classifier")
    assert found.estimates[0].n == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"source": stored("pictures", 50, 7)},
            "need a model's density, and pictures",
        ),
        ({"source": Model()}, "and model has none; give the run of a .* or use --metrics fd,kid"),
        ({"against": Stored("bare", TEST.pixels)}, "model was trained with classes and the images"),
        ({"source": Knowing(classes=("dark",))}, "have none, or others; name images of the same"),
        ({"against": stored("big", 50, 2, (1, 9, 9))}, "1x8x8 and big of 1x9x9"),
        ({"n": 1}, "at least 2 images"),
    ],
)
def test_where_it_means_nothing_it_is_refused(given: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"source": Knowing()} | given
    with pytest.raises(UserError, match=message) as caught:
        judged(asked.pop("source"), **asked)
    assert "\n" not in str(caught.value)


def shown(printed: object) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(printed)
    return console.export_text()


def test_it_is_shown_and_compared_like_every_number() -> None:
    """X1, X3: the lower the better; how images would be drawn plays no part."""
    found = judged(Knowing(classes=()), n=50)
    text = " ".join(shown(table(found)).split())
    assert f"bits per dimension {found.estimates[0].value:.3f}" in text
    worse = tuple(
        replace(e, value=e.value + 9, low=e.low + 9, high=e.high + 9) for e in found.estimates
    )
    other = replace(found, estimates=worse, drawn="ddim, 5 steps")
    bound, ode = compare({"b": [other], "a": [found]})
    assert bound.sentences[0].startswith("a is better than b by 9.000")
    assert ode.drawn == {}
    assert "none" in shown(compared(ode))


def test_the_model_given_the_class_is_not_compared_with_the_model_alone() -> None:
    """X1: they are probabilities of different things."""
    found = judged(Knowing(), n=50)
    estimates = tuple(
        replace(e, protocol=replace(e.protocol, parameters="given its class"))
        for e in found.estimates
    )
    with pytest.raises(UserError, match="parameters: as the test has it against given its class"):
        compare({"a": [found], "b": [replace(found, estimates=estimates)]})
