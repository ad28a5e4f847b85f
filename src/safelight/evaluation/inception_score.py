"""The Inception Score (Salimans et al. 2016): are the images of clear classes, and of all of them?

With p(y|x) the softmax of the network's scores of image x, and p(y) its mean over the images,
    IS = exp(1/n sum_i KL(p(y|x_i) || p(y))),      between 1 and the number of classes,
over all n images at once. The logarithm's influence function is KL(p(y|x) || p(y)) - log IS, so its
standard error is the deviation of the n divergences over sqrt(n).

p(y) is estimated from the same images, which makes the logarithm too low, by about
sum_y Var(p(y|x)) / p(y) / 2n, at most (classes - 1) / 2n. So it is refused of fewer images than
classes, and read beside real images at the same count. Memory: a block of rows and their scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.special import rel_entr, softmax, xlogy

from safelight.errors import TooFewImages
from safelight.evaluation.estimate import Interval, normal_interval
from safelight.evaluation.moments import Features, Floats, blocks
from safelight.evaluation.network import Head

PARAMETERS = "softmax of the network's classes in float64, all images as one split"
METHOD = (
    "delta method: the deviation of the images' divergences over sqrt(n), normal in the logarithm; "
    "covers the sampling of images at this count, not the bias of a finite count, not retraining"
)


def inception_score(features: Features, head: Head | None) -> Interval:
    """IS of (n, d) features with its interval; two passes. Raises TooFewImages."""
    head, n = _present(head), len(features)
    classes = len(head.bias)
    require_as_many_as_classes(n, classes)
    marginal = sum((p.sum(axis=0) for p in _probabilities(features, head)), np.zeros(classes)) / n
    divergences = np.concatenate(
        [rel_entr(p, marginal).sum(axis=1) for p in _probabilities(features, head)]
    )
    mean = max(float(divergences.mean()), 0.0)  # not negative, but for rounding
    variance = float(divergences.var(ddof=1)) / n
    return normal_interval(mean, variance, at_least=0.0).through(math.exp)


def split_scores(
    features: Features, head: Head | None, splits: int = 10, seed: int = 2020
) -> Floats:
    """IS of each of `splits` parts of the shuffled images, (splits,); one pass.

    The order is torch-fidelity's, so that the mean is its `inception_score_mean`. Published scores
    are such means of 10 parts; the parts' deviation, which they give beside it, is no standard
    error.
    """
    head, n = _present(head), len(features)
    order = np.random.RandomState(seed).permutation(n)
    counts = np.diff(np.arange(splits + 1) * n // splits)
    split = np.empty(n, np.int64)
    split[order] = np.repeat(np.arange(splits), counts)
    sums, negentropies, start = np.zeros((splits, len(head.bias))), np.zeros(splits), 0
    for p in _probabilities(features, head):
        rows = split[start : start + len(p)]
        np.add.at(sums, rows, p)
        np.add.at(negentropies, rows, xlogy(p, p).sum(axis=1))
        start += len(p)
    marginals = sums / counts[:, None]
    scores: Floats = np.exp(negentropies / counts - xlogy(marginals, marginals).sum(axis=1))
    return scores


def require_as_many_as_classes(images: int, classes: int) -> None:
    """Raise TooFewImages where the score could not tell so many classes."""
    if images < max(classes, 2):
        raise TooFewImages(
            f"the Inception Score of a network of {classes:,} classes needs at least as many "
            f"images, got {images:,}; give more images, or use --metrics vendi"
        )


def _present(head: Head | None) -> Head:
    if head is None:  # a fault of ours: the row says that it needs one
        raise ValueError("the Inception Score needs a network with a head")
    return head


def _probabilities(features: Features, head: Head) -> Iterator[Floats]:
    """p(y|x) of each image, block by block, (b, classes)."""
    for block in blocks(features):
        yield softmax(head.scores(block), axis=1)
