from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from safelight.errors import TooFewImages, UserError
from safelight.evaluation import support as part
from safelight.evaluation.distances import squared_distances
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import Material
from safelight.evaluation.support import (
    AT_MOST,
    C_GRID,
    GAMMA_GRID,
    balanced,
    search,
    support_vectors,
)
from tests.evaluation.sources import Model, Stored, stored
from tests.evaluation.test_classifier import digits

TRAIN, TEST = digits()


def values(source: Stored) -> tuple[np.ndarray, np.ndarray]:
    assert source.targets is not None
    return source.pixels.flatten(1).double().numpy() / 255, source.targets.numpy()


def test_the_search_and_the_fit_are_scikit_learns(tmp_path: Path) -> None:
    """L6: each point of the grid, and each prediction, as of its own kernel and grid search."""
    X, y = values(TRAIN)
    X, y = X[:300], y[:300]
    trials = search(squared_distances(X, X), y, float(X.var()), X.shape[1])
    folds = StratifiedKFold(part.FOLDS, shuffle=True, random_state=0)
    theirs = GridSearchCV(SVC(), {"gamma": GAMMA_GRID, "C": C_GRID}, cv=folds).fit(X, y)
    # Theirs is the mean over folds as large as each other, "scale" by the pictures of a fold.
    scores = theirs.cv_results_
    wanted = {
        (each["gamma"], each["C"]): score
        for each, score in zip(scores["params"], scores["mean_test_score"], strict=True)
    }
    points = product(GAMMA_GRID, C_GRID)
    for point, trial in zip(points, trials, strict=True):
        assert trial.accuracy == pytest.approx(wanted[point], abs=0.01)

    judge = support_vectors(Material((1, 8, 8), TRAIN, tmp_path))
    fitted = SVC(C=judge.best.C, gamma=judge.best.gamma).fit(*values(TRAIN))
    test, labels = values(TEST)
    features = (2 * test - 1).astype(np.float32)
    np.testing.assert_array_equal(judge.predict(features), fitted.predict(test))
    assert np.mean(judge.predict(features) == labels) >= 0.97


def test_it_tells_how_well_it_knows_what_it_learnt_from(tmp_path: Path) -> None:
    """L6, L4: copies of training pictures are recognised better than real ones."""
    rng = np.random.default_rng(0)
    noisy = TRAIN.pixels.numpy().astype(int) + rng.integers(-90, 90, TRAIN.pixels.shape)
    pixels = torch.from_numpy(noisy.clip(0, 255).astype(np.uint8))
    train = Stored("noisy:train", pixels, TRAIN.targets, TRAIN.classes)
    copies = Stored("copies", pixels[:200].clone(), TRAIN.targets[:200], TRAIN.classes)  # type: ignore[index]
    found = evaluate(
        copies, TEST, pool=None, train=train, metrics=("svc",), per_class=True, store=tmp_path
    ).estimates
    overall, learnt, *classes = found
    assert [overall.name, learnt.name] == ["SVC accuracy", "SVC accuracy, what it learnt from"]
    assert (overall.n, learnt.n, learnt.floor) == (200, len(pixels), None)
    assert min(overall.value, learnt.value) > 0.98
    assert overall.floor is not None
    assert overall.floor.high < overall.value
    assert [each.name for each in classes] == [f"SVC accuracy[{name}]" for name in TRAIN.classes]
    assert train.fingerprint[:8] in overall.protocol.parameters
    assert overall.higher_is_better


def test_the_search_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = support_vectors(Material((1, 8, 8), TRAIN, tmp_path))
    monkeypatch.setattr(part, "search", None)  # would fail if it were called
    assert support_vectors(Material((1, 8, 8), TRAIN, tmp_path)).best == first.best


def test_at_most_so_many_are_learnt_from_as_many_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [5000, 3000, 1500])
    chosen = balanced(labels)
    assert np.bincount(labels[chosen]).tolist() == [AT_MOST // 3, AT_MOST // 3, AT_MOST // 3]
    assert len(balanced(labels[::10])) == len(labels[::10])


def test_what_it_cannot_learn_from_is_refused(tmp_path: Path) -> None:
    """One line each."""
    few = Stored("few", *(each[:12] for each in (TRAIN.pixels, TRAIN.targets)), TRAIN.classes)
    with pytest.raises(TooFewImages, match="has 0|has no image of"):
        support_vectors(Material((1, 8, 8), few, tmp_path))
    pairs = stored("pairs", 4, 1)
    with pytest.raises(TooFewImages, match="tuned on 3 parts .* a class of pairs has"):
        support_vectors(Material((1, 8, 8), pairs, tmp_path))
    without = Stored("without", TRAIN.pixels)
    with pytest.raises(UserError, match="at least two classes and without has 0"):
        support_vectors(Material((1, 8, 8), without, tmp_path))
    with pytest.raises(
        UserError, match="classes that the classifier's training images lack: bright, dark"
    ):
        evaluate(Model(), TEST, pool=None, train=TRAIN, metrics=("svc",), n=20, store=tmp_path)
