"""Is each generated image of the class that was asked for? And are real ones?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from safelight.errors import UserError
from safelight.evaluation.estimate import Interval, Z
from safelight.evaluation.moments import Features, SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan
from safelight.images import ImageSource, spelled

METHOD = "Wilson score interval; covers the sampling of images, not retraining"

# Class (empty: of all), share of the generated images, how many they are, share of the real images.
Named = tuple[str, Interval, int, Interval | None]


def wilson(successes: float, n: float) -> Interval:
    """The share successes / n with Wilson's score interval (1927); n above 0, whole or effective.

    (p + z²/2n ± z sqrt(p (1-p) / n + z²/4n²)) / (1 + z²/n), within [0, 1] by itself; it stays
    open at 0 and at n of n, where the usual ± interval has no width.
    """
    p, shrink = successes / n, 1.0 + Z**2 / n
    centre = (p + Z**2 / (2 * n)) / shrink
    reach = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / shrink
    # At p = 0 and p = 1 one end is p itself, but for rounding.
    return Interval(p, max(min(centre - reach, p), 0.0), min(max(centre + reach, p), 1.0))


@dataclass(frozen=True)
class Tally:
    """How many images of each class were seen, and how many were taken for it; both (classes,)."""

    right: NDArray[np.int64]
    seen: NDArray[np.int64]

    def merge(self, other: Tally) -> Tally:
        return Tally(self.right + other.right, self.seen + other.seen)

    def share(self) -> Interval:
        return wilson(int(self.right.sum()), int(self.seen.sum()))

    def share_of(self, label: int) -> Interval | None:
        """None where no image of this class was seen."""
        if self.seen[label] == 0:
            return None
        return wilson(int(self.right[label]), int(self.seen[label]))


def tally(predicted: NDArray[np.int64], asked: NDArray[np.int64], classes: int) -> Tally:
    """predicted, asked: (n,) labels in 0..classes-1."""
    return Tally(
        np.bincount(asked[predicted == asked], minlength=classes),
        np.bincount(asked, minlength=classes),
    )


@dataclass(frozen=True)
class Verdict:
    """What a judge says of the generated images, and of real ones where it can.

    how: the judge, for the protocol; real_images: which the real ones are, or why there are none.
    own: of the very images that it learnt from, where it says so.
    """

    how: str
    classes: tuple[str, ...]
    generated: Tally
    real: Tally | None
    real_images: str
    own: Tally | None = None


class Judge(Protocol):
    """Tells the classes of images apart by the features of its network."""

    @property
    def network(self) -> Network:
        """What it sees of an image."""
        ...

    @property
    def needs_stand_in(self) -> bool:
        """Whether it asks for the stand-in's images too."""
        ...

    def verdict(self, plan: Plan, features: SideFeatures) -> Verdict:
        """What it says of these sides, whose features are those of its network."""
        ...


class Learnt(Protocol):
    """A judge that learnt from other real images."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def how(self) -> str: ...

    def predict(self, features: Features) -> NDArray[np.int64]:
        """The class of each image, (n,)."""
        ...


def verdict(judge: Learnt, plan: Plan, features: SideFeatures, own: Tally | None = None) -> Verdict:
    """What such a judge says of both sides' images."""
    asked, real = plan.generated.labels(judge.classes), plan.reference.labels(judge.classes)
    if asked is None:  # a fault of ours: require_judgeable comes first
        raise ValueError(f"{plan.generated.source.name} has no classes that the classifier knows")
    count, name = len(judge.classes), plan.reference.source.name
    return Verdict(
        judge.how,
        judge.classes,
        tally(judge.predict(features.generated), asked, count),
        None if real is None else tally(judge.predict(features.reference), real, count),
        f"the held-out real images of {name}"
        if real is not None
        else f"none: {name} has no labels that the classifier knows",
        own,
    )


def overall(found: Verdict) -> Iterator[Named]:
    """One share, over all classes."""
    floor = found.real.share() if found.real else None
    yield "", found.generated.share(), int(found.generated.seen.sum()), floor


def per_class(found: Verdict) -> Iterator[Named]:
    """A share for each class of which images were judged."""
    for label, name in enumerate(found.classes):
        share = found.generated.share_of(label)
        if share is not None:
            floor = found.real.share_of(label) if found.real else None
            yield name, share, int(found.generated.seen[label]), floor


def require_judgeable(source: ImageSource, against: ImageSource, train: ImageSource | None) -> None:
    """Raise UserError where a classifier trained on `train` can't judge `source`."""
    if train is None:
        raise UserError(
            "accuracy and the classifier's features need labelled real training images beside the "
            f"reference, {against.name}, and have none; name a test split with --against, "
            "CACHE:test or FOLDER:test (whose pictures are divided, or lie in train and test), or "
            "use --features efficientnet-lite0 --metrics fd,kid"
        )
    if train.shape != source.shape:
        raise UserError(
            f"the classifier's images, {train.name}, are {spelled(train.shape)} and those of "
            f"{source.name} {spelled(source.shape)}; prepare them at the same size and colour"
        )
    if train.fingerprint == against.fingerprint:
        raise UserError(
            f"the classifier would be trained and tested on the same images, {train.name}; "
            "name another split with --against"
        )


def require_classes(source: ImageSource, train: ImageSource | None) -> None:
    """Raise UserError where the images of `source` have no class that the classifier knows."""
    if not source.classes:
        raise UserError(
            f"accuracy needs images of classes and {source.name} has none; use --metrics fd,kid"
        )
    if unknown := sorted(set(source.classes) - set(train.classes if train else ())):
        raise UserError(
            f"{source.name} has classes that the classifier's training images lack: "
            f"{', '.join(unknown)}; take a set that has them, or use --metrics fd,kid"
        )
