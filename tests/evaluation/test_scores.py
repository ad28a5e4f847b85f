"""The metrics that have to be asked for, through `evaluate`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from safelight import commands
from safelight.errors import UserError
from safelight.evaluation import classifier as classifier_part
from safelight.evaluation.compare import compare
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.metrics import METRICS, USUAL
from safelight.evaluation.sliced import sliced_wasserstein
from safelight.images import ImageSource, dequantise
from tests.evaluation.sources import Model, Stored, pixels, stored

TRAIN, TEST = stored("real:train", 400, 1), stored("real:test", 300, 2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier that is trained in a second."""
    monkeypatch.setattr(classifier_part, "FEWEST_VIEWS", 40 * classifier_part.BATCH)


def flattened(source: ImageSource, n: int) -> np.ndarray:
    return dequantise(source.images(range(n), source.labels(range(n)))).flatten(1).numpy()


def test_each_can_be_had_with_interval_floor_and_protocol(tmp_path: Path) -> None:
    """F10, X1, X2: by the network of their own where they have one."""
    names = ("mmd", "is", "vendi", "swd", "colour", "spectrum")
    found = evaluate(
        Model(),
        TEST,
        pool=TRAIN,
        train=TRAIN,
        features="classifier",
        metrics=names,
        n=200,
        store=tmp_path,
    )
    assert [each.protocol.metric for each in found.estimates] == list(names)
    assert [each.name for each in found.estimates] == [
        "MMD (classifier)",
        "IS (classifier)",
        "Vendi score (classifier)",
        "SWD (pixels)",
        "energy distance (colour)",
        "energy distance (spectrum)",
    ]
    for each in found.estimates:
        assert each.low <= each.value <= each.high
        assert each.floor is not None
        assert each.n == each.protocol.generated == 200
        assert each.higher_is_better == (each.protocol.metric in ("is", "vendi"))
    score = found.estimates[1]
    assert 1.8 < score.value <= 2.0  # of two classes that are plain to see


def test_the_sliced_distance_is_that_of_pixels(tmp_path: Path) -> None:
    """Whichever network is asked for with --features; all 300 real images on one side."""
    found = evaluate(TRAIN, TEST, pool=None, metrics=("swd",), store=tmp_path)
    assert (
        found.estimates[0].value
        == sliced_wasserstein(flattened(TRAIN, 400), flattened(TEST, 300)).value
    )


def test_the_inception_score_needs_classes(tmp_path: Path) -> None:
    """Refused in one line, before an image is made."""
    model = Model()
    with pytest.raises(UserError, match="IS needs a network that tells classes apart") as caught:
        evaluate(model, TEST, pool=None, features="pixels", metrics=("is",), n=50, store=tmp_path)
    assert "\n" not in str(caught.value)
    assert not model.seen


def test_large_pictures_have_no_distance_of_pixels(tmp_path: Path) -> None:
    big = [Stored(f"big{i}", torch.full((12, 3, 65, 64), i, dtype=torch.uint8)) for i in range(2)]
    with pytest.raises(UserError, match="at most 3x64x64 = 12,288 values"):
        evaluate(big[0], big[1], pool=None, metrics=("swd",), store=tmp_path)


def test_of_diversity_the_higher_is_the_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FEATURES, "pixels", lambda material: pixels(16))
    few = Stored("few", stored("few", 4, 8).pixels.repeat(50, 1, 1, 1))
    judged = {
        source.name: [
            evaluate(
                source,
                TEST,
                pool=None,
                features="pixels",
                metrics=("vendi",),
                n=200,
                store=tmp_path,
            )
        ]
        for source in (few, TRAIN)
    }
    (compared,) = compare(judged)
    assert [name for name, _ in compared.estimates] == ["real:train", "few"]
    assert compared.sentences[0].startswith("real:train is better than few by")


def test_they_have_to_be_asked_for() -> None:
    assert USUAL == ("fd", "kid", "accuracy")


def words_of(said: str | None, argument: str, next_one: str) -> set[str]:
    """What a docstring says of one argument."""
    found = re.search(rf"\n *{argument}:(.*?)\n *{next_one}:", said or "", re.DOTALL)
    assert found is not None
    return set(re.findall(r"[\w-]+", found[1]))


def test_the_help_names_every_metric() -> None:
    of_classes = {name for name in METRICS if name.endswith("-per-class")}
    assert set(METRICS) - of_classes <= words_of(commands.evaluate.__doc__, "metrics", "per_class")


def test_the_help_names_every_network() -> None:
    assert set(FEATURES) <= words_of(commands.evaluate.__doc__, "features", "metrics")
