"""Bits per dimension: how many bits a model needs for each value of an image it has not seen.

It is -log2 of the probability that the model gives to the image, divided by c h w. Real images are
judged, not generated ones, so that nothing is drawn and no feature network is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from safelight.config import Likelihood
from safelight.console import Advance, progress
from safelight.errors import UserError
from safelight.evaluation.estimate import Interval
from safelight.evaluation.plan import Side
from safelight.images import ImageSource, pieces
from safelight.seeding import derive

BATCH = 32  # images at once: about as long as one cares to wait for a sign of progress
METHOD = (
    "Student's t over the images judged, each with its own noise; covers the choice of images, "
    "dequantisation, probes and drawn terms, not retraining"
)


class Measure(Protocol):
    """One way to take a model's bits."""

    @property
    def parameters(self) -> str:
        """All that decides them besides the images, the seeds and the model."""
        ...

    def __call__(self, images: Tensor, labels: Tensor | None, seeds: Sequence[int]) -> Tensor:
        """Bits per dimension of uint8 images (b, c, h, w), (b,); everything random by the seeds."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """A source that knows how probable it makes an image."""

    def likelihoods(self, options: Likelihood) -> Mapping[str, Measure]:
        """By the name of the method."""
        ...


def require_likelihood(source: ImageSource) -> HasLikelihood:
    """Raise UserError where `source` has no likelihood."""
    if isinstance(source, HasLikelihood):
        return source
    raise UserError(
        f"bits per dimension need a model's density, and {source.name} has none; give the run of a "
        "diffusion model, or use --metrics fd,kid"
    )


def labels_for(source: ImageSource, side: Side) -> Tensor | None:
    """The images' classes as `source` numbers them; None where it was trained without classes.

    Raises UserError where it was trained with classes and these images have none that it knows.
    """
    if not source.classes:
        return None
    labels = side.labels(source.classes)
    if labels is None:
        raise UserError(
            f"{source.name} was trained with classes and the images of {side.source.name} have "
            "none, or others; name images of the same classes with --against"
        )
    return torch.from_numpy(labels)


def bits(
    measures: Mapping[str, Measure], side: Side, labels: Tensor | None, seed: int
) -> dict[str, NDArray[np.float64]]:
    """What each measure says of every image, (n,), with progress."""
    total = len(measures) * len(side)
    with progress(f"likelihood of {side.source.name}", total) as advance:
        return {
            name: _bits(measure, side, labels, seed, advance) for name, measure in measures.items()
        }


def _bits(
    measure: Measure, side: Side, labels: Tensor | None, seed: int, advance: Advance
) -> NDArray[np.float64]:
    found = np.empty(len(side))
    for part in pieces(len(side), BATCH):
        positions = side.seeds[part]
        seeds = [derive(seed, "likelihood", position) for position in positions]
        images = side.source.images(positions)
        found[part] = measure(images, None if labels is None else labels[part], seeds).numpy()
        advance(len(positions))
    return found


def mean_interval(values: NDArray[np.float64]) -> Interval:
    """The mean of independent values (n,), n at least 2, with Student's t interval."""
    mean, n = float(values.mean()), len(values)
    reach = float(student.ppf(0.975, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - reach, mean + reach)
