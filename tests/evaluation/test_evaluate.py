from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from safelight.config import Sampling
from safelight.errors import TooFewImages, UserError
from safelight.evaluation import balls, bench, kernel
from safelight.evaluation import classifier as classifier_part
from safelight.evaluation.estimate import Estimate, Evaluation, Interval
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.frechet import frechet
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.kinds import Distance
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.plan import plan
from safelight.images import ImageSource
from tests.evaluation.sources import Model, Stored, pixels, stored

TRAIN, TEST = stored("real:train", 400, 1), stored("real:test", 300, 2)
OTHER = stored("other", 100, 3)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature network of four pixels, and a classifier that is trained in a second."""
    monkeypatch.setattr(bench, "announce", lambda parts: None)  # counts no images
    monkeypatch.setitem(FEATURES, "pixels", lambda material: pixels())
    monkeypatch.setattr(classifier_part, "FEWEST_VIEWS", 40 * classifier_part.BATCH)


def features(source: ImageSource, seeds: list[int]) -> np.ndarray:
    return pixels().extract(source.images(seeds, source.labels(seeds))).numpy()


@pytest.mark.parametrize("metric", ["kid", "precision", "density", "coverage"])
def test_the_first_images_that_are_looked_at_are_of_all_classes(
    metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X1, X2: pictures lie class by class in a folder; where a metric looks at some of them, they
    are drawn from all, and as many as that are told."""
    for module in (kernel, balls):
        monkeypatch.setattr(module, "AT_MOST", 100)
    row = METRICS[metric]
    assert isinstance(row, Distance)
    monkeypatch.setitem(METRICS, metric, dataclasses.replace(row, at_most=100))
    real, further = stored("real", 400, 5), stored("further", 400, 6)

    def judged(real: Stored, further: Stored) -> Estimate:
        how: dict[str, object] = {"features": "pixels", "metrics": (metric,), "store": tmp_path}
        (found,) = evaluate(Model(), real, pool=further, n=400, **how).estimates  # type: ignore[arg-type]
        return found

    found, mixed = judged(by_class(real), by_class(further)), judged(real, further)
    assert found.low < mixed.value < found.high
    assert (found.n, found.protocol.generated, found.protocol.reference) == (100, 100, 100)
    assert found.protocol.floor_images == "100 images of further"


def by_class(source: Stored) -> Stored:
    """The same pictures, class after class."""
    assert source.targets is not None
    order = source.targets.argsort(stable=True)
    return Stored(source.name, source.pixels[order], source.targets[order], source.classes)


def test_each_number_comes_with_interval_floor_and_protocol(tmp_path: Path) -> None:
    """X1, X2, F10: and is what the metric itself says of the plan's images."""
    found = evaluate(
        Model(), TEST, pool=TRAIN, train=TRAIN, features="pixels", n=200, store=tmp_path
    )
    sides = plan(Model(), TEST, TRAIN, 200, 0)
    assert sides.stand_in is not None
    generated, reference, stand_in = (
        features(side.source, list(side.seeds))
        for side in (sides.generated, sides.reference, sides.stand_in)
    )
    fd, kid, accuracy = found.estimates
    for estimate, measure in ((fd, frechet), (kid, kernel_distance)):
        wanted = measure(generated, reference)
        assert Interval(estimate.value, estimate.low, estimate.high) == wanted
        assert estimate.floor == measure(stand_in, reference)
        assert (estimate.protocol.generated, estimate.protocol.reference) == (200, 200)
        assert estimate.protocol.reference_fingerprint == TEST.fingerprint
        assert estimate.protocol.weights == "pixels-1"
        assert estimate.protocol.image == "1x8x8"
    assert [fd.name, kid.name, accuracy.name] == ["FD (pixels)", "KID (pixels)", "accuracy"]
    assert (found.source, found.against) == ("model", "real:test")
    assert accuracy.value == 1.0
    assert accuracy.low < 1.0
    assert accuracy.floor is not None
    assert accuracy.floor.value == 1.0
    assert f"400 images {TRAIN.fingerprint[:8]}" in accuracy.protocol.parameters


def test_the_distance_at_infinity_comes_with_its_curve_and_its_floor(tmp_path: Path) -> None:
    """X18, K7: from features that are there already; real images have a curve of their own."""
    source = Model()
    judged = [
        evaluate(
            source, TEST, pool=TRAIN, features="pixels", metrics=(metric,), n=200, store=tmp_path
        ).estimates[0]
        for metric in ("fd", "fd-infinity")
    ]
    plain, limit = judged
    assert len(source.seen) == 200
    assert limit.name == "FD at infinity (pixels)"
    assert [n for n, _ in limit.curve] == [50, 100, 150, 200]
    assert limit.curve[-1][1] == pytest.approx(plain.value, rel=1e-9)
    assert limit.floor is not None
    assert plain.floor is not None
    assert limit.floor.curve[-1][1] == pytest.approx(plain.floor.value, rel=1e-9)
    assert limit.protocol.hash != plain.protocol.hash
    assert limit.floor.low < 0 < limit.floor.high  # real images: nothing is left at infinity


class Sampled(Model):
    sampling = Sampling(steps=18)

    def describe(self) -> str:
        return f"heun, {self.sampling.steps} steps"


def test_an_evaluation_records_what_was_judged_and_how_it_was_drawn(tmp_path: Path) -> None:
    """X1: stored pictures are not drawn."""

    def judged(source: ImageSource) -> Evaluation:
        return evaluate(
            source, TEST, pool=TRAIN, features="pixels", metrics=("kid",), n=50, store=tmp_path
        )

    model, pictures = judged(Sampled()), judged(OTHER)
    assert (model.fingerprint, model.drawn, model.sampling) == (
        "model-1",
        "heun, 18 steps",
        Sampling(steps=18).model_dump(),
    )
    assert (pictures.fingerprint, pictures.drawn, pictures.sampling) == (
        OTHER.fingerprint,
        "",
        {},
    )


def test_accuracy_is_the_share_taken_for_the_class_asked(tmp_path: Path) -> None:
    """A source that paints one class in three wrongly, with its classes in another order."""
    targets = stored("x", 300, 5).targets
    assert targets is not None
    wrong = 1 - targets  # ("bright", "dark"): right wherever it is not overwritten
    wrong[::3] = targets[::3]
    source = Stored("painter", stored("x", 300, 5).pixels, wrong, ("bright", "dark"))
    metrics = ("accuracy", "accuracy-per-class")
    found = evaluate(source, TEST, pool=None, train=TRAIN, metrics=metrics, store=tmp_path)
    overall, *by_class = found.estimates
    assert overall.value == pytest.approx(200 / 300)
    assert [each.name for each in by_class] == ["accuracy[dark]", "accuracy[bright]"]
    assert sum(each.n for each in by_class) == 300
    weighted = sum(each.value * each.n for each in by_class)
    assert weighted == pytest.approx(200)


def test_the_second_evaluation_makes_no_image(tmp_path: Path) -> None:
    def again() -> float:
        began = time.perf_counter()
        evaluate(source, TEST, pool=TRAIN, train=TRAIN, features="pixels", n=150, store=tmp_path)
        return time.perf_counter() - began

    source = Model()
    again()
    made = len(source.seen)
    assert made == 150
    again()
    assert len(source.seen) == made


def test_the_classifier_as_feature_network(tmp_path: Path) -> None:
    found = evaluate(
        Model(), TEST, pool=TRAIN, train=TRAIN, features="classifier", n=200, store=tmp_path
    )
    assert [each.name for each in found.estimates[:2]] == ["FD (classifier)", "KID (classifier)"]
    assert found.estimates[0].protocol.dimension == 128
    assert found.estimates[0].protocol.weights == found.estimates[2].protocol.weights


def test_fid_is_only_said_of_the_published_network(tmp_path: Path) -> None:
    """X1."""
    published = dataclasses.replace(pixels(), name="inception", published=True)
    FEATURES["pixels"] = lambda material: published
    found = evaluate(
        TRAIN, TEST, pool=None, features="pixels", metrics=("fd", "kid"), n=100, store=tmp_path
    )
    assert [each.name for each in found.estimates] == ["FID", "KID"]


def test_protocols_agree_where_numbers_may_be_compared(tmp_path: Path) -> None:
    """X1: two models judged alike have one protocol; other counts make another."""
    first, second, third = (
        evaluate(model, TEST, pool=TRAIN, features="pixels", metrics=("kid",), n=n, store=tmp_path)
        .estimates[0]
        .protocol
        for model, n in ((Model(), 100), (Model(fingerprint="model-2"), 100), (Model(), 120))
    )
    assert first.hash == second.hash != third.hash
    assert first.differences(third) == ["generated: 100 against 120", "reference: 100 against 120"]


def test_a_missing_floor_is_said(tmp_path: Path) -> None:
    """X2."""
    few = stored("few", 50, 9)
    found = evaluate(
        Model(), TEST, pool=few, features="pixels", metrics=("kid",), n=100, store=tmp_path
    )
    assert found.estimates[0].floor is None
    assert found.estimates[0].protocol.floor_images == (
        "none: it takes 100 further real images, few has 50"
    )


def test_too_few_images_are_refused_before_any_is_made(tmp_path: Path) -> None:
    """X2: 1,280 features need 1,281 images; the error offers KID."""
    model, test = Model(), stored("test", 300, 4)
    with pytest.raises(TooFewImages, match=r"1,281 images.*got 200.*--metrics kid"):
        evaluate(model, test, pool=TRAIN, metrics=("fd",), n=200, store=tmp_path)
    assert not model.seen
    assert not test.asked


ONE_CLASS = Stored("one:train", TRAIN.pixels, torch.zeros(400, dtype=torch.int64), ("dark",))
HALF = Stored("half:train", TRAIN.pixels, torch.zeros(400, dtype=torch.int64), TRAIN.classes)


@pytest.mark.parametrize(
    ("given", "left", "reason"),
    [
        ({"n": 2}, ["accuracy"], "the kernel distance needs at least"),
        ({"train": None}, ["FD (pixels)", "KID (pixels)"], "and have none"),
        ({"train": TEST}, ["FD (pixels)", "KID (pixels)"], "trained and tested on the same images"),
        (
            {"source": Model(classes=("dark",)), "train": ONE_CLASS},
            ["FD (pixels)", "KID (pixels)"],
            "at least two classes and one:train has 1",
        ),
        ({"train": HALF}, ["FD (pixels)", "KID (pixels)"], "half:train has no image of bright"),
    ],
)
def test_what_the_images_do_not_allow_is_left_out_and_said(
    given: dict[str, object],
    left: list[str],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """X2: with no metric named. A run of one class still gets its distances."""
    asked: dict[str, object] = {"source": Model(), "train": TRAIN, "n": 100} | given
    found = evaluate(
        asked.pop("source"), TEST, pool=TRAIN, features="pixels", store=tmp_path, **asked
    )  # type: ignore[arg-type]
    assert [estimate.name for estimate in found.estimates] == left
    said = " ".join(capsys.readouterr().err.split())
    assert "left out: " in said
    assert reason in said


def test_where_nothing_is_allowed_there_is_no_empty_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no metric can be had of model"):
        evaluate(Model(), TEST, pool=TRAIN, features="pixels", n=2, store=tmp_path)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"metrics": ("fdd",)}, r"unknown metric 'fdd'; did you mean 'fd'\?"),
        ({"features": "incepton"}, r"unknown feature network.*did you mean 'inception'\?"),
        ({"train": None}, "labelled real training images beside the reference, real:test,"),
        ({"train": TEST}, "trained and tested on the same images"),
        ({"train": stored("wide", 50, 3, (1, 9, 9))}, "1x9x9"),
        ({"source": Stored("bare", stored("b", 90, 8).pixels)}, "images of classes and bare has"),
        ({"source": Model(classes=("dark", "red"))}, "training images lack: red"),
    ],
)
def test_mistakes_are_one_line_each(
    mistake: dict[str, object], message: str, tmp_path: Path
) -> None:
    given: dict[str, object] = {"source": Model(), "train": TRAIN, "features": "pixels"}
    given["metrics"] = ("fd", "kid", "accuracy")
    given |= mistake
    with pytest.raises(UserError, match=message) as caught:
        evaluate(given.pop("source"), TEST, pool=TRAIN, n=20, store=tmp_path, **given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
