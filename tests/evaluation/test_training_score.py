from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from safelight.errors import TooFewImages, UserError
from safelight.evaluation import classifier as classifier_part
from safelight.evaluation.classifier import classifier
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.plan import plan
from safelight.evaluation.store import features_of
from tests.evaluation.sources import Model, Stored, stored

TRAIN, TEST, SOURCE = stored("train", 300, 1), stored("test", 200, 2), stored("source", 200, 3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier_part, "FEWEST_VIEWS", 12 * classifier_part.BATCH)


def score(source: Stored, store: Path) -> Estimate:
    (found,) = evaluate(source, TEST, pool=TRAIN, metrics=("cas",), store=store).estimates
    return found


@pytest.mark.usefixtures("cpu")
def test_it_is_that_of_a_classifier_trained_on_the_generated_images(tmp_path: Path) -> None:
    """X2: the same pictures by hand; the floor learns from as many real ones."""
    found = score(SOURCE, tmp_path)
    assert TEST.targets is not None
    assert SOURCE.targets is not None
    order = [*plan(SOURCE, TEST, TRAIN, None, 0).generated.seeds]
    taught = Stored("taught", SOURCE.pixels[order], SOURCE.targets[order], SOURCE.classes)
    by_hand = classifier(taught, tmp_path / "by hand")
    (features,) = features_of(TEST, range(200), [by_hand.network], tmp_path / "by hand", 256)
    assert found.value == np.mean(by_hand.predict(features) == TEST.targets.numpy())
    assert (found.name, found.n, found.floor is not None) == ("CAS", 200, True)
    assert found.value > 0.9
    assert found.protocol.floor_images == "a classifier trained on 200 images of train"
    assert classifier_part.RECIPE in found.protocol.parameters


def test_a_class_without_an_image_is_seen_before_any_is_made(tmp_path: Path) -> None:
    """The generated images have none: refused at once. The real ones of the floor: no floor."""
    assert TRAIN.targets is not None
    one_class = Stored("one class", SOURCE.pixels[:2], torch.zeros(2).long(), SOURCE.classes)
    with pytest.raises(TooFewImages, match=r"the 2 of one class have none of bright"):
        score(one_class, tmp_path)
    dark = Stored("dark", TRAIN.pixels, torch.zeros(300).long(), TRAIN.classes)
    (found,) = evaluate(Model(), TEST, pool=dark, metrics=("cas",), n=40, store=tmp_path).estimates
    assert found.floor is None
    assert found.protocol.floor_images == "none: 40 images of dark have none of bright"


def turned(source: Stored) -> Stored:
    """The same pictures and classes, numbered the other way round."""
    assert source.targets is not None
    return Stored("turned", source.pixels, 1 - source.targets, source.classes[::-1])


def test_classes_may_stand_in_another_order(tmp_path: Path) -> None:
    found = score(turned(SOURCE), tmp_path)
    assert found.floor is not None
    assert min(found.value, found.floor.value) > 0.9


def test_wrong_labels_teach_what_is_wrong(tmp_path: Path) -> None:
    """Pictures as real as can be, with the other class's label."""
    assert SOURCE.targets is not None
    wrong = Stored("mislabelled", SOURCE.pixels, 1 - SOURCE.targets, SOURCE.classes)
    found = score(wrong, tmp_path)
    assert found.value < 0.1
    assert found.floor is not None
    assert found.floor.value > 0.9


def test_what_can_teach_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two classes and without has 0"):
        score(Stored("without", SOURCE.pixels), tmp_path)
    other = Stored("other", SOURCE.pixels, SOURCE.targets, ("dark", "dim"))
    with pytest.raises(UserError, match="one of them lacks bright, dim; name images of the same"):
        score(other, tmp_path)
