"""Which images stand on which side: decided, and refused, before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from safelight.errors import TooFewImages, UserError
from safelight.images import ImageSource, spelled
from safelight.seeding import generator

MODEL_IMAGES = 2_000  # how many images of a model are judged unless the caller says
JUDGED_IMAGES = 200  # how many real images a model's likelihood is taken of, unless the caller says
SEED_STRIDE = 1_000_000  # a model's images of evaluation seed s have the seeds s * SEED_STRIDE + i


@dataclass(frozen=True)
class Side:
    """Images of a source, by their seeds; all of one class where `of_class` names it."""

    source: ImageSource
    seeds: Sequence[int]
    of_class: str = ""

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def name(self) -> str:
        return f"{self.source.name}, class {self.of_class}" if self.of_class else self.source.name

    @property
    def fingerprint(self) -> str:
        """Of all the images that these were taken from."""
        if not self.of_class:
            return self.source.fingerprint
        text = f"{self.source.fingerprint} class {self.of_class}"
        return hashlib.sha256(text.encode()).hexdigest()

    def part(self, of_class: str) -> Side:
        """Those of one class."""
        labels = self.source.labels(self.seeds)
        if labels is None or of_class not in self.source.classes:
            return Side(self.source, (), of_class)
        where = (labels == self.source.classes.index(of_class)).nonzero().flatten().tolist()
        return Side(self.source, [self.seeds[i] for i in where], of_class)

    def first(self, most: int) -> Side:
        """At most so many; of stored images, whose order is drawn, some at random."""
        return replace(self, seeds=self.seeds[:most])

    def labels(self, classes: Sequence[str]) -> NDArray[np.int64] | None:
        """The class of each image as `classes` numbers them, (n,); None where one is not there."""
        labels = self.source.labels(self.seeds)
        if labels is None or not set(self.source.classes) <= set(classes):
            return None
        numbers = np.array([classes.index(name) for name in self.source.classes], dtype=np.int64)
        asked: NDArray[np.int64] = numbers[labels.numpy()]
        return asked


@dataclass(frozen=True)
class Learnt:
    """Pictures that a generator learnt from, and as many of the reference, which it did not see."""

    training: Side
    held_out: Side

    def describe(self) -> str:
        """Of which training pictures; decides the number, so that their name is left out."""
        return (
            f"{len(self.training):,} of the {self.training.source.count or 0:,} training pictures "
            f"{self.training.fingerprint[:12]}"
        )


@dataclass(frozen=True)
class Plan:
    """The sides of an evaluation.

    Stored images are in an order drawn at random (by a folder they would lie class by class), so
    that the first of a side are a sample of it.

    stand_in: real images in the generated ones' place, as many as those, none of them in the
    reference; None where there are not enough, and no_stand_in says so.
    learnt: None where it is not known, or not asked for.
    """

    generated: Side
    reference: Side
    stand_in: Side | None
    no_stand_in: str
    seed: int
    learnt: Learnt | None = None

    @property
    def stand_in_note(self) -> str:
        """Which real images the stand-in is of, or why there is none."""
        if self.stand_in is None:
            return self.no_stand_in
        said = f"{len(self.stand_in):,} images of {self.stand_in.name}"
        divided = self.stand_in.fingerprint == self.reference.fingerprint
        return f"{said}, divided at random from the reference" if divided else said

    def first(self, most: int | None) -> Plan:
        """The same of at most so many images a side."""
        if most is None:
            return self
        stand_in = None if self.stand_in is None else self.stand_in.first(most)
        generated, reference = self.generated.first(most), self.reference.first(most)
        return replace(self, generated=generated, reference=reference, stand_in=stand_in)

    @property
    def of_class(self) -> str:
        return self.generated.of_class


def plan(
    source: ImageSource, against: ImageSource, pool: ImageSource | None, n: int | None, seed: int
) -> Plan:
    """Draw the sides; raises UserError where they can't be compared.

    The reference has as many images as the generated set, or all of `against` if it has fewer.
    """
    _require_comparable(source, against, pool)
    generated = Side(source, _generated_seeds(source, n, seed))
    return _sides(generated, *_real(against, pool, seed), seed)


def class_plans(whole: Plan, pool: ImageSource | None) -> list[Plan]:
    """The same for each class of the generated images, by itself: its images among those.

    They are set against real images of that class, as many, also if the whole's reference has
    fewer of them; so most of the images are the whole's. Raises UserError without classes.
    """
    source, against = whole.generated.source, whole.reference.source
    require_classes_of_both(source, against)
    real, further = _real(against, pool, whole.seed)
    return [
        _sides(
            whole.generated.part(name),
            real.part(name),
            None if further is None else further.part(name),
            whole.seed,
        )
        for name in source.classes
    ]


def with_learnt(plan: Plan, training: ImageSource) -> Plan:
    """The same with pictures of `training`, from which its generator learnt.

    As many as the reference has, or all if they are fewer; of that as many then. Raises UserError
    where they can't be compared.
    """
    reference = plan.reference
    require_as_large(training, plan.generated.source)
    if training.fingerprint == reference.source.fingerprint:
        raise UserError(
            f"{training.name} can't be both the training pictures and the held-out ones; name "
            "pictures that the generator has not seen with --against"
        )
    # In the order in which a floor takes them: their features are then computed once.
    learnt = Side(training, _shuffled(training, plan.seed, "pool"))
    if plan.of_class:
        learnt = learnt.part(plan.of_class)
    m = min(len(learnt), len(reference))
    chosen = torch.randperm(len(reference), generator=generator(plan.seed, "evaluation", "learnt"))
    held_out = Side(
        reference.source, [reference.seeds[i] for i in chosen[:m].tolist()], plan.of_class
    )
    return replace(plan, learnt=Learnt(learnt.first(m), held_out))


def require_as_large(training: ImageSource, source: ImageSource) -> None:
    """Raise UserError where training pictures are not of the images' shape."""
    if training.shape != source.shape:
        raise UserError(
            f"{source.name} has images of {spelled(source.shape)} and the training pictures "
            f"{training.name} are {spelled(training.shape)} (channels x width x height); prepare "
            "the pictures of one again at the other's size and colour"
        )


def require_classes_of_both(source: ImageSource, against: ImageSource) -> None:
    """Raise UserError where there is no class, or no real images of one."""
    for side in (source, against):
        if not side.classes:
            raise UserError(
                f"{side.name} has no classes, so nothing can be said of each; leave --per-class "
                "out, or give images with classes"
            )
    if unknown := [name for name in source.classes if name not in against.classes]:
        raise UserError(
            f"{against.name} does not have the class {', '.join(unknown)} of {source.name}; leave "
            "--per-class out, or name images of the same classes with --against"
        )


def _real(against: ImageSource, pool: ImageSource | None, seed: int) -> tuple[Side, Side | None]:
    """All real images to choose from, in the order in which they are taken."""
    further = None if pool is None else Side(pool, _shuffled(pool, seed, "pool"))
    return Side(against, _shuffled(against, seed, "reference")), further


def _sides(generated: Side, real: Side, pool: Side | None, seed: int) -> Plan:
    """The first real images for the reference, and the stand-in of further ones."""
    count = len(generated)
    stand_in, none = None, ""
    if pool is None and len(real) >= 2 * count:
        stand_in = replace(real, seeds=real.seeds[count : 2 * count])
    elif pool is not None and len(pool) >= count:
        stand_in = pool.first(count)
    else:
        none = _no_stand_in(real, pool, count)
    return Plan(generated, real.first(count), stand_in, none, seed)


def held_out(against: ImageSource, n: int | None, seed: int) -> Side:
    """Real images for a model to judge: at most n, at random."""
    shuffled = _shuffled(against, seed, "reference")
    return Side(against, sorted(shuffled[: n or JUDGED_IMAGES]))


def _no_stand_in(real: Side, pool: Side | None, count: int) -> str:
    if pool is None:
        said = f"none: it takes {2 * count:,} real images, {real.name} has {len(real):,}"
        return f"{said}; -n {len(real) // 2} would leave enough" if len(real) >= 4 else said
    return f"none: it takes {count:,} further real images, {pool.name} has {len(pool):,}"


def _generated_seeds(source: ImageSource, n: int | None, seed: int) -> Sequence[int]:
    if n is not None and n < 2:
        raise TooFewImages(f"an evaluation needs at least 2 images, got {n}; give a larger -n")
    if source.count is None:
        start = seed * SEED_STRIDE
        return range(start, start + (n or MODEL_IMAGES))
    if _stored(source) < (n or 2):
        raise TooFewImages(
            f"{source.name} has {source.count} images and {n or 2} are needed; "
            "add images, or give a smaller -n"
        )
    return _shuffled(source, seed, "generated")[:n]


def _shuffled(source: ImageSource, seed: int, purpose: str) -> list[int]:
    drawn = torch.randperm(_stored(source), generator=generator(seed, "evaluation", purpose))
    order: list[int] = drawn.tolist()
    return order


def _stored(source: ImageSource) -> int:
    if source.count is None:
        raise UserError(
            f"{source.name} is a model, and real pictures are needed to compare against; "
            "give a data set, a cache or a folder"
        )
    return source.count


def _require_comparable(
    source: ImageSource, against: ImageSource, pool: ImageSource | None
) -> None:
    if _stored(against) < 2:
        raise TooFewImages(
            f"{against.name} has {against.count} images and an evaluation compares with at least "
            "2; give a larger set with --against"
        )
    for other in (against, *([pool] if pool else [])):
        if other.shape != source.shape:
            raise UserError(
                f"{source.name} has images of {spelled(source.shape)} and {other.name} of "
                f"{spelled(other.shape)} (channels x width x height); prepare the pictures of "
                "one again at the other's size and colour"
            )
    if pool is not None and pool.fingerprint == against.fingerprint:
        raise UserError(
            f"{against.name} can't be the reference and its own stand-in; "
            "give further real images for the floor, or none"
        )
