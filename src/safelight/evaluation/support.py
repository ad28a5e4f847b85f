"""A support-vector classifier on the pixels as a judge, tuned over C and gamma.

With x_i the values of a picture in [0, 1], labels y_i = ±1 for each pair of classes and the kernel
    k(x, x') = exp(-gamma |x - x'|²),
it minimises |w|² / 2 + C sum_i max(0, 1 - y_i (w·phi(x_i) + b)) (Cortes and Vapnik 1995;
scikit-learn's SVC, one against one). C and gamma are those of the grid that cross-validation on the
training pictures finds best.

It learns its own training pictures by heart, so that pictures which are copies of them score higher
than real ones: its accuracy on what it learnt from is told beside.

Memory: five matrices of n x n float64 for n <= AT_MOST training pictures, 640 MB, and the pictures.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from safelight.console import progress
from safelight.errors import DamagedFile, TooFewImages
from safelight.evaluation.accuracy import Tally, Verdict, tally, verdict
from safelight.evaluation.classifier import labelled
from safelight.evaluation.distances import squared_distances
from safelight.evaluation.features import Material, pixels
from safelight.evaluation.moments import Features, Floats, SideFeatures, blocks
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan
from safelight.files import read_json, write_json
from safelight.images import ImageSource
from safelight.seeding import generator

C_GRID = (1.0, 10.0, 100.0)
GAMMA_GRID: tuple[float | str, ...] = (
    "scale",
    0.001,
    0.01,
    0.1,
)  # scale: 1 / (values of a picture x their variance)
FOLDS = 3
AT_MOST = 4_000  # training pictures; the work grows with the square


@dataclass(frozen=True)
class Trial:
    """A point of the grid, and the share of left-out pictures that it recognised."""

    C: float
    gamma: float
    accuracy: float


@dataclass(frozen=True)
class SupportVectors:
    """A fitted classifier. X: its training pictures in [0, 1], (n, c h w); y: their labels (n,)."""

    network: Network
    classes: tuple[str, ...]
    how: str
    X: Floats
    y: NDArray[np.int64]
    best: Trial
    model: SVC
    needs_stand_in = False

    def predict(self, features: Features) -> NDArray[np.int64]:
        """The class of each image from its values in [-1, 1]: (n, c h w) -> (n,)."""
        found = [self._predict((block + 1.0) / 2.0) for block in blocks(features)]
        return np.concatenate(found).astype(np.int64)

    def verdict(self, plan: Plan, features: SideFeatures) -> Verdict:
        return verdict(self, plan, features, own=self.own())

    def own(self) -> Tally:
        """Of the pictures that it learnt from."""
        return tally(self._predict(self.X).astype(np.int64), self.y, len(self.classes))

    def _predict(self, x: Floats) -> NDArray[np.int64]:
        predicted: NDArray[np.int64] = self.model.predict(
            np.exp(-self.best.gamma * squared_distances(x, self.X))
        )
        return predicted


def support_vectors(material: Material) -> SupportVectors:
    """The classifier of these labelled pictures, whose C and gamma are searched once and kept.

    Raises UserError without labelled pictures or with large ones, TooFewImages where a class has
    too few to be divided.
    """
    network = pixels(material)
    train, labels = labelled(material.train)
    chosen = balanced(labels.numpy())
    X, y = _values(train, chosen), labels.numpy()[chosen]
    _require_divisible(train, y)
    d2 = squared_distances(X, X)
    best = max(_searched(d2, y, X, train, material.store), key=lambda trial: trial.accuracy)
    model = SVC(C=best.C, kernel="precomputed").fit(np.exp(-best.gamma * d2), y)
    how = (
        f"support vectors of {len(y):,} images {train.fingerprint[:8]}, "
        f"C {best.C:g}, gamma {best.gamma:.3g} of {_grid()}"
    )
    return SupportVectors(network, train.classes, how, X, y, best, model)


def search(d2: Floats, y: NDArray[np.int64], variance: float, dimension: int) -> list[Trial]:
    """Cross-validation over the grid; d2: squared distances (n, n) of the training pictures.

    variance: of all their values, for the gamma called scale.
    """
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(y, y))
    trials = []
    with progress("tuning support vectors", len(GAMMA_GRID) * len(C_GRID) * FOLDS) as advance:
        for name, C in product(GAMMA_GRID, C_GRID):
            gamma = 1.0 / (dimension * variance) if isinstance(name, str) else name
            right = 0
            for fitted, left_out in folds:
                model = SVC(C=C, kernel="precomputed")
                model.fit(np.exp(-gamma * d2[np.ix_(fitted, fitted)]), y[fitted])
                K = np.exp(-gamma * d2[np.ix_(left_out, fitted)])
                right += int((model.predict(K) == y[left_out]).sum())
                advance()
            trials.append(Trial(C, gamma, right / len(y)))
    return trials


def balanced(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of some AT_MOST images, drawn: as many of each class, or all that it has."""
    if len(labels) <= AT_MOST:
        return np.arange(len(labels))
    each = max(FOLDS, AT_MOST // len(np.unique(labels)))
    rng = generator(0, "support vectors")
    drawn = torch.randperm(len(labels), generator=rng).numpy()
    taken = [drawn[labels[drawn] == label][:each] for label in np.unique(labels)]
    return np.sort(np.concatenate(taken))


def _values(train: ImageSource, positions: NDArray[np.int64]) -> Floats:
    images = train.images(positions.tolist())
    values: Floats = images.flatten(1).double().numpy() / 255.0
    return values


def _require_divisible(train: ImageSource, y: NDArray[np.int64]) -> None:
    fewest = int(np.bincount(y, minlength=len(train.classes)).min())
    if fewest < FOLDS:
        raise TooFewImages(
            f"the support-vector classifier is tuned on {FOLDS} parts of its training images, and "
            f"a class of {train.name} has {fewest}; add images, or use --metrics accuracy"
        )


def _searched(
    d2: Floats, y: NDArray[np.int64], X: Floats, train: ImageSource, store: Path
) -> list[Trial]:
    """The trials of these pictures: kept ones, or made and kept."""
    text = json.dumps([train.fingerprint, _grid(), AT_MOST, sklearn.__version__])
    path = store / "classifiers" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    try:
        kept = read_json(path, "")
        return [Trial(**trial) for trial in kept["trials"]]
    except (DamagedFile, OSError, KeyError, TypeError):
        trials = search(d2, y, float(X.var()), X.shape[1])
    write_json(path, {"trials": [asdict(trial) for trial in trials]})
    return trials


def _grid() -> str:
    gammas = ", ".join(map(str, GAMMA_GRID))
    return f"C {', '.join(f'{C:g}' for C in C_GRID)} and gamma {gammas} in {FOLDS} folds"
