"""Do the splits differ? Each held-out one against the training split, by measure.

classes      a chi² test of the counts
light        differences of the mean brightness, contrast and saturation of all pictures, with
             Welch's interval
what is seen a judge that learns to tell the two splits' pictures from each other by the
             network's features (a classifier two-sample test, Lopez-Paz and Oquab 2017,
             arXiv:1610.06545): logistic regression, of as many pictures of either, on each half
             of them by the judge that learnt from the other; one half right is guessing
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, t
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from safelight.data.splits import SPLITS, TRAIN
from safelight.evaluation.accuracy import wilson
from safelight.evaluation.counting import CHANCE
from safelight.evaluation.estimate import Interval
from safelight.evaluation.moments import Floats
from safelight.profiling.drawn import numbers_for
from safelight.profiling.survey import MEASURES, Survey

FEWEST = 50  # pictures of either split, below which a judge has nothing to learn from
FEW = 20  # below which nothing is said of their light
SHIFTED = 0.55  # how often a judge is right, at least, where splits are said to differ
LEVELS = 5.0  # of a mean measure, that one could see
SHARES = 0.05  # of the pictures in another class than they would be


@dataclass(frozen=True)
class Apart:
    """How a split differs from the training split.

    pictures: the fewest of either. moved: which share of its pictures would have to change their
    class for both to have the same shares; chance: how probable that is, were they drawn alike;
    None without classes. light: of each of MEASURES its mean less that of training, in levels.
    judge: how often a judge was right, of `judged` pictures; None where there were too few.
    """

    split: str
    pictures: int
    moved: float | None
    chance: float | None
    light: dict[str, Interval]
    judge: Interval | None
    judged: int

    @property
    def differs(self) -> list[str]:
        """In what respect, beyond chance and so that it matters: of classes, MEASURES, pictures."""
        found = []
        if self.moved is not None and self.chance is not None and self.chance < CHANCE:
            found += ["classes"] if self.moved >= SHARES else []
        if self.pictures >= FEW:
            found += [name for name, each in self.light.items() if _nearest(each) >= LEVELS]
        if self.judge is not None and self.judge.low > SHIFTED:
            found.append("pictures")
        return found


def _nearest(found: Interval) -> float:
    """How far from nothing the whole interval is."""
    return max(found.low, -found.high, 0.0)


def apart(
    surveyed: Survey, counts: NDArray[np.int64], points: Floats, splits: NDArray[np.uint8]
) -> list[Apart]:
    """Each split but the first beside it. counts: (classes, splits), points (m, d) of features and
    their splits (m,)."""
    there = counts.sum(0)
    if not there[TRAIN]:
        return []
    found = []
    for code in range(TRAIN + 1, len(SPLITS)):
        if not there[code]:
            continue
        moved, chance = classes_apart(counts[:, [TRAIN, code]])
        light = _light(surveyed, code)
        one, other = points[splits == code], points[splits == TRAIN]
        judge, judged = told_apart(one, other)
        n = int(min(there[code], there[TRAIN]))
        found.append(Apart(SPLITS[code], n, moved, chance, light, judge, judged))
    return found


def classes_apart(counts: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """(K, 2) counts -> half the sum of |share - share|, and the chi² test's chance."""
    counts = counts[counts.sum(1) > 0]
    if len(counts) < 2:
        return None, None
    shares = counts / counts.sum(0)
    moved = float(abs(shares[:, 0] - shares[:, 1]).sum() / 2)
    return moved, float(chi2_contingency(counts).pvalue)


def _light(surveyed: Survey, code: int) -> dict[str, Interval]:
    """Means of this split less those of training, with Welch's intervals."""
    n = surveyed.counts.sum(0)
    means = surveyed.sums.sum(0) / np.maximum(n, 1)[:, None]
    squares = surveyed.squares.sum(0) / np.maximum(n, 1)[:, None]
    variances = np.maximum(squares - means**2, 0) / np.maximum(n - 1, 1)[:, None]
    found = {}
    for i, name in enumerate(MEASURES):
        value = float(means[code, i] - means[TRAIN, i])
        reach = _welch(variances[[code, TRAIN], i], n[[code, TRAIN]])
        found[name] = Interval(value, value - reach, value + reach)
    return found


def _welch(variances: Floats, n: NDArray[np.int64]) -> float:
    """Half the 95 % interval of a difference of means with these variances (2,) (Welch 1947).

    By Student's t with (v_1 + v_2)² / (v_1² / (n_1 - 1) + v_2² / (n_2 - 1)) degrees of freedom.
    """
    total = float(variances.sum())
    if total == 0:
        return 0.0
    freedom = total**2 / float((variances**2 / np.maximum(n - 1, 1)).sum())
    return float(t.ppf(0.975, freedom)) * math.sqrt(total)


def told_apart(one: Floats, other: Floats) -> tuple[Interval | None, int]:
    """How often a judge tells pictures (n, d) of either side apart, and of how many pictures."""
    n = min(len(one), len(other))
    if n < FEWEST:
        return None, 0
    rng = numbers_for("judge")
    sides = [side[rng.permutation(len(side))[:n]] for side in (one, other)]
    x, y = np.concatenate(sides), np.repeat([0, 1], n)
    half = np.tile(np.arange(n) % 2, 2)
    right = 0
    for mine in (0, 1):
        scale = StandardScaler().fit(x[half != mine])
        judge = LogisticRegression(C=0.1, max_iter=1000)
        judge.fit(scale.transform(x[half != mine]), y[half != mine])
        right += int((judge.predict(scale.transform(x[half == mine])) == y[half == mine]).sum())
    return wilson(right, 2 * n), 2 * n
