"""The classification accuracy score (CAS, Ravuri and Vinyals 2019, arXiv:1905.10887).

A classifier is trained on generated images and their classes, and tested on real ones: its accuracy
says whether the generated images hold what tells the classes apart, and all the ways in which they
differ. The floor, which is the best that can be hoped for, is that of a classifier trained on as
many real images and tested on the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from safelight.errors import TooFewImages, UserError
from safelight.evaluation.accuracy import Tally, Verdict, tally
from safelight.evaluation.classifier import RECIPE, classifier
from safelight.evaluation.features import Material, pixels
from safelight.evaluation.moments import Features, SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan, Side
from safelight.evaluation.store import features_of
from safelight.images import ImageSource, quantise

METHOD = (
    "Wilson score interval over the real test images; covers their choice, not that of the "
    "generated images, nor the classifier's or the model's training"
)
BATCH = 256  # pictures at once
Seen = tuple[Side, Features]
HOW = f"classifier trained on the generated images ({RECIPE}), tested on the reference"


@dataclass(frozen=True)
class Learner:
    """Learns from the generated images themselves, whose values are its features."""

    material: Material
    network: Network
    needs_stand_in = True

    def verdict(self, plan: Plan, features: SideFeatures) -> Verdict:
        classes, test = plan.generated.source.classes, (plan.reference, features.reference)
        real, note = None, plan.stand_in_note
        if plan.stand_in is not None and features.stand_in is not None:
            if empty := _without_image(plan.stand_in, classes):
                note = f"none: {note} have none of {empty}"
            else:
                real = self._tested((plan.stand_in, features.stand_in), test, classes)
                note = f"a classifier trained on {note}"
        found = self._tested((plan.generated, features.generated), test, classes)
        return Verdict(HOW, classes, found, real, note)

    def _tested(self, learnt: Seen, test: Seen, classes: tuple[str, ...]) -> Tally:
        """What a classifier that learnt from one side's images says of another's."""
        judge = classifier(Pictures(*learnt, classes), self.material.store)
        pictures = Pictures(*test, classes)
        (features,) = features_of(
            pictures, range(pictures.count), [judge.network], self.material.store, BATCH
        )
        return tally(judge.predict(features), pictures.numbers, len(classes))


def learner(material: Material) -> Learner:
    return Learner(material, pixels(material))


def require_taught(plan: Plan, train: ImageSource | None) -> None:
    """Raise UserError where the generated images can't teach a classifier that real ones can test,
    TooFewImages where they have none of a class."""
    source, against = plan.generated.source, plan.reference.source
    if len(source.classes) < 2:
        raise UserError(
            "the classification accuracy score needs images of at least two classes and "
            f"{source.name} has {len(source.classes)}; use --metrics fd,kid"
        )
    if lacking := sorted(set(against.classes) ^ set(source.classes)):
        raise UserError(
            f"the classification accuracy score needs the same classes in {source.name} and in "
            f"{against.name}, and one of them lacks {', '.join(lacking)}; name images of the same "
            "classes with --against"
        )
    if empty := _without_image(plan.generated, source.classes):
        raise TooFewImages(
            f"the classification accuracy score learns each class from its images, and the "
            f"{len(plan.generated):,} of {source.name} have none of {empty}; give a larger -n, "
            "or more images"
        )


def _without_image(side: Side, classes: tuple[str, ...]) -> str:
    """The classes of which it has none."""
    numbers = side.labels(classes)
    there = set() if numbers is None else set(numbers.tolist())
    return ", ".join(name for i, name in enumerate(classes) if i not in there)


class Pictures:
    """A side's pictures, from the values that were kept of them. Fulfils `images.ImageSource`.

    classes: how they are numbered; the side's own may have another order.
    """

    def __init__(self, side: Side, values: Features, classes: tuple[str, ...]) -> None:
        text = f"{side.fingerprint} {[*side.seeds]} {classes}"
        self.name, self.fingerprint = side.name, hashlib.sha256(text.encode()).hexdigest()
        self.shape, self.classes, self.count = side.source.shape, classes, len(side)
        numbers = side.labels(classes)
        if numbers is None:  # a fault of ours: require_taught comes first
            raise ValueError(f"{side.name} has other classes than {', '.join(classes)}")
        self.numbers, self._values = numbers, values

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        rows = np.concatenate([np.asarray(self._values[seed : seed + 1]) for seed in seeds])
        return quantise(torch.from_numpy(rows)).reshape(len(seeds), *self.shape)

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return torch.from_numpy(self.numbers[[*seeds]])
