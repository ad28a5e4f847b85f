from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from safelight.errors import TooFewImages
from safelight.evaluation.inception_score import inception_score, split_scores
from safelight.evaluation.network import Head
from tests.evaluation.sources import rows


def head(classes: int, d: int, sharpness: float = 2.0) -> Head:
    rng = np.random.default_rng(3)
    weight = sharpness * rng.standard_normal((classes, d))
    return Head(weight, rng.standard_normal(classes))


def sure(classes: int) -> Head:
    """Of features that are a class's unit vector, quite sure of that class."""
    return Head(1000.0 * np.eye(classes), np.zeros(classes))


@pytest.mark.parametrize(("n", "splits"), [(1500, 10), (1503, 7), (2100, 1)])
def test_equals_torch_fidelity(n: int, splits: int) -> None:
    """F10: its splits, in its order, at a count that they do not divide."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    x, judge = rows(n, 24, 1), head(40, 24)
    scores = torch.from_numpy(judge.scores(x))
    theirs = isc_features_to_metric(scores, splits=splits)
    ours = split_scores(x, judge, splits)
    assert ours.mean() == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert ours.std() == pytest.approx(theirs["inception_score_std"], rel=1e-6, abs=1e-12)


def test_of_all_images_it_is_the_one_split() -> None:
    """F10: the streaming value in two passes equals that in one."""
    x, judge = rows(2500, 24, 1), head(40, 24)
    assert inception_score(x, judge).value == pytest.approx(split_scores(x, judge, 1)[0], rel=1e-10)


def test_its_ends_are_one_and_the_number_of_classes() -> None:
    """All images of one class, or all the same and unsure: 1. Evenly of all and sure: classes."""
    one, evenly = np.eye(7)[[0] * 70], np.eye(7)[list(range(7)) * 10]
    assert inception_score(one.astype(np.float32), sure(7)).value == pytest.approx(1.0)
    found = inception_score(evenly.astype(np.float32), sure(7))
    assert found.value == pytest.approx(7.0)
    assert found.high == pytest.approx(7.0)
    assert inception_score(np.ones((70, 7), np.float32), head(7, 7)).value == pytest.approx(1.0)


def test_classes_in_other_shares() -> None:
    """Sure of each, the score is the exponential of the classes' entropy: here 1/2, 1/4, 1/4."""
    x = np.eye(3)[[0, 0, 1, 2] * 25].astype(np.float32)
    assert inception_score(x, sure(3)).value == pytest.approx(2**1.5)


def test_a_class_that_no_image_has_does_no_harm() -> None:
    """Its probability underflows: p log p is zero there, not NaN."""
    x = np.eye(3)[[0, 1] * 50].astype(np.float32)
    assert inception_score(x, sure(3)).value == pytest.approx(2.0)
    assert split_scores(x, sure(3), 1)[0] == pytest.approx(2.0)


@pytest.mark.parametrize(("n", "lowest"), [(100, 0.88), (300, 0.9)])
def test_the_interval_covers_its_mean(n: int, lowest: float) -> None:
    """X2: the mean at this count; its standard error is right within a tenth."""
    judge = head(10, 16, sharpness=1.5)
    found = [inception_score(rows(n, 16, i), judge) for i in range(200)]
    values = np.array([each.value for each in found])
    assert np.mean([each.low <= values.mean() <= each.high for each in found]) >= lowest
    widths = [math.log(each.high / each.low) / 2 / 1.96 for each in found]
    assert np.mean(widths) == pytest.approx(np.log(values).std(), rel=0.12)


def test_few_images_score_too_low() -> None:
    """The bias that METHOD names, of the logarithm: about -sum Var p / mean p / 2n."""
    judge = head(10, 16)
    x = rows(40_000, 16, 0)
    p = np.exp(judge.scores(x))
    p /= p.sum(axis=1, keepdims=True)
    predicted = float((p.var(axis=0) / p.mean(axis=0)).sum()) / 2 / 50
    truth = math.log(inception_score(x, judge).value)
    found = [math.log(inception_score(rows(50, 16, i + 1), judge).value) for i in range(400)]
    assert truth - np.mean(found) == pytest.approx(predicted, rel=0.35)


def test_fewer_images_than_classes_are_refused() -> None:
    """X2: of 39 images none of 40 classes could be told."""
    with pytest.raises(TooFewImages, match="40 classes needs at least as many images, got 39"):
        inception_score(rows(39, 24, 1), head(40, 24))
