from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torchvision import datasets

from safelight.errors import TooFewImages, UserError
from safelight.evaluation import classifier as part
from safelight.evaluation.classifier import Classifier, classifier
from safelight.evaluation.store import features_of
from tests.evaluation.sources import Stored, stored

MNIST = Path(__file__).parents[2] / "../shared/data/mnist"


def accuracy(judge: Classifier, source: Stored, store: Path) -> float:
    assert source.count is not None
    assert source.targets is not None
    (features,) = features_of(source, range(source.count), [judge.network], store, 256)
    return float(np.mean(judge.predict(features) == source.targets.numpy()))


def digits() -> tuple[Stored, Stored]:
    data = load_digits()
    images = torch.from_numpy(np.rint(data.images * 255 / 16)).to(torch.uint8)[:, None]
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    targets, names = torch.from_numpy(data.target), tuple("0123456789")
    train, test = order[:1258], order[1347:]
    return (
        Stored("digits:train", images[train], targets[train], names),
        Stored("digits:test", images[test], targets[test], names),
    )


def test_digits_are_recognised_and_the_classifier_is_kept(tmp_path: Path) -> None:
    """At least 97 % of 450 held-out digits; the second call reads the same weights."""
    train, test = digits()
    judge = classifier(train, tmp_path)
    assert accuracy(judge, test, tmp_path) >= 0.97
    asked = train.asked
    again = classifier(train, tmp_path)
    assert train.asked == asked
    assert again.network.weights == judge.network.weights
    np.testing.assert_array_equal(again.head.weight, judge.head.weight)
    assert again.classes == train.classes


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "FEWEST_VIEWS", 40 * part.BATCH)


@pytest.mark.usefixtures("cpu", "quick")
def test_training_repeats_bit_for_bit_and_leaves_global_randomness_alone(tmp_path: Path) -> None:
    """B7; a damaged file is trained again, to the same weights."""
    train = stored("train", 300, 1)
    before = torch.get_rng_state()
    first = classifier(train, tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    assert classifier(train, tmp_path / "b").network.weights == first.network.weights
    (path,) = (tmp_path / "a" / "classifiers").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    assert classifier(train, tmp_path / "a").network.weights == first.network.weights
    other = classifier(train, tmp_path / "a", seed=1)
    assert other.network.weights != first.network.weights


@pytest.mark.usefixtures("quick")
def test_what_the_pictures_are_called_decides_nothing(tmp_path: Path) -> None:
    """X1: the same data, prepared under two names, gives one protocol."""
    first, second = (classifier(stored(name, 60, 1), tmp_path) for name in ("a:train", "b:train"))
    assert (first.how, first.network.weights) == (second.how, second.network.weights)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 33, 33), (1, 96, 96), (3, 8, 8)])
def test_any_size_of_image(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    train, test = stored("train", 300, 1, shape), stored("test", 100, 2, shape)
    judge = classifier(train, tmp_path)
    assert accuracy(judge, test, tmp_path) == 1.0


def test_what_cannot_be_learnt_is_refused(tmp_path: Path) -> None:
    pixels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    one = Stored("one", pixels, torch.zeros(4, dtype=torch.int64), ("only",))
    bare = Stored("bare", pixels)
    gap = Stored("gap", pixels, torch.tensor([0, 0, 2, 2]), ("a", "b", "c"))
    with pytest.raises(UserError, match="has none"):
        classifier(None, tmp_path)
    for source in (one, bare):
        with pytest.raises(UserError, match="at least two classes"):
            classifier(source, tmp_path)
    with pytest.raises(TooFewImages, match="no image of b"):
        classifier(gap, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.exists(), reason="../shared/data/mnist is not here")
def test_mnist_is_recognised(tmp_path: Path) -> None:
    """At least 99 % of the 10,000 test images."""
    names = tuple("0123456789")
    train, test = (
        Stored(f"mnist:{part}", held.data[:, None], held.targets, names)
        for part, held in (
            ("train", datasets.MNIST(MNIST, True)),
            ("test", datasets.MNIST(MNIST, False)),
        )
    )
    assert accuracy(classifier(train, tmp_path), test, tmp_path) >= 0.99
