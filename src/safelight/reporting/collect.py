"""Reading a run into `ReportData`: everything that the page shows, and nothing about its looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safelight.console import progress
from safelight.errors import DamagedFile
from safelight.evaluation.estimate import Evaluation, parsed
from safelight.evaluation.moments import Floats
from safelight.evaluation.neighbours import Pixels, nearest
from safelight.images import Developing, Restoring, dequantise, gradually, held, pieces
from safelight.paths import expanded
from safelight.reporting import words

if TYPE_CHECKING:
    from safelight.config import Config, Plan
    from safelight.data.cache import Cache
    from safelight.images import ImageSource
    from safelight.training.run import Run, Summary

GRID = 60  # samples in the grid, of seeds 0, 1, ..., if there are as many
A_CLASS = 10  # samples of each class
MOST_CLASSES = 24  # classes that get a row
STRIPS = 4  # samples shown on their way from noise
FRAMES = 9  # states on each way
HELD_OUT = 500  # pictures whose distance to the training split is the measure for the samples'
BATCH = 32


@dataclass(frozen=True)
class Samples:
    """Pictures that the model made: (n, c, h, w) uint8, seeds, and the class of each or None."""

    images: Tensor
    seeds: tuple[int, ...]
    labels: Tensor | None


@dataclass(frozen=True)
class Development:
    """The way from noise: noise levels sigma/alpha, and (frames, n, c, h, w) uint8 twice."""

    levels: tuple[float, ...]
    states: Tensor
    guesses: Tensor
    seeds: tuple[int, ...]
    labels: Tensor | None


@dataclass(frozen=True)
class Neighbours:
    """The nearest picture of each sample: positions and distances (n,), pictures (n, c, h, w)."""

    positions: NDArray[np.int64]
    distances: Floats
    pictures: Tensor


@dataclass(frozen=True)
class HeldOut:
    """All `count` pictures of the split `split`, which the model never saw.

    nearest: of these to each sample. distances: of some of them to their nearest training picture.
    """

    split: str
    count: int
    nearest: Neighbours
    distances: Floats


@dataclass(frozen=True)
class Copying:
    """How near the samples are to the training pictures, by their pixels; `training` is how many.

    held_out: the same of held-out pictures; None where there are none.
    """

    nearest: Neighbours
    training: int
    held_out: HeldOut | None


@dataclass(frozen=True)
class Pictures:
    """The data: (class, split -> images), the files that were left out, and how it was prepared."""

    name: str
    path: Path
    classes: tuple[str, ...]
    counts: tuple[tuple[str, Mapping[str, int]], ...]
    rejected: tuple[tuple[str, str], ...]
    source: str
    options: tuple[str, ...]  # of `safelight prepare`, as words of the command line

    def of(self, split: str) -> int:
        """How many pictures of all classes a split has."""
        return sum(counts.get(split, 0) for _, counts in self.counts)


@dataclass(frozen=True)
class ReportData:
    """All that the page tells about one run."""

    name: str
    path: Path
    created: datetime
    summary: Summary
    config: Config
    plan: Plan
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    conditional: bool
    sampling: str  # the sampler, its steps and guidance, in words
    network_calls: int | None  # for each picture; None where the sampler decides
    samples: Samples
    restored: Tensor | None  # of an autoencoder: the pictures that the samples came of
    by_class: tuple[Samples, ...]
    development: Development | None  # of what comes about step by step
    previews: tuple[tuple[int, Path], ...]
    training: tuple[Mapping[str, Any], ...]
    validation: tuple[Mapping[str, Any], ...]
    judged: tuple[tuple[int, Evaluation], ...]  # (step, what the model's images were found to be)
    warning: str  # what has gone wrong in training; nothing where all is well
    copying: Copying
    evaluations: tuple[Evaluation, ...]
    pictures: Pictures


def collect(run: Run) -> ReportData:
    """Read the run's records, draw its samples, and find their nearest training pictures."""
    source, cache = run.source(), run.cache()
    data = describe(cache)
    seeds = held(source, range(GRID))
    samples = draw(source, seeds, source.labels(seeds), "samples")
    return ReportData(
        name=run.name,
        path=run.path,
        created=datetime.now().astimezone(),
        summary=run.summary,
        config=shown(run.config),
        plan=run.plan,
        shape=source.shape,
        classes=source.classes,
        conditional=samples.labels is not None,
        sampling=source.describe(),
        network_calls=source.evaluations,
        samples=samples,
        restored=source.pictures.images(seeds) if isinstance(source, Restoring) else None,
        by_class=draw_classes(source),
        development=develop(source) if isinstance(source, Developing) else None,
        previews=tuple(run.previews()),
        training=tuple(run.records("train")),
        validation=tuple(run.records("validation")),
        judged=judged(run),
        warning=run.warning(),
        copying=compare_with_training(samples.images, cache, data),
        evaluations=parsed(run.evaluations(), run.metrics_file),
        pictures=data,
    )


def judged(run: Run) -> tuple[tuple[int, Evaluation], ...]:
    """What was measured on the way; raises DamagedFile where the log can't be that."""
    found = []
    for record in run.records("evaluation"):
        try:
            found.append((int(record["step"]), Evaluation.from_json(record)))
        except DamagedFile as error:
            raise DamagedFile(
                f"{run.path / 'log.jsonl'}: the evaluation at step {record['step']} {error}; "
                "delete that line"
            ) from error
    return tuple(found)


def shown(config: Config) -> Config:
    """The same with the autoencoder's place as a page may tell it."""
    options = config.diffusion
    if options.autoencoder is None:
        return config
    place = words.place(expanded(options.autoencoder))
    diffusion = options.model_copy(update={"autoencoder": place})
    return config.model_copy(update={"diffusion": diffusion})


def draw(source: ImageSource, seeds: Sequence[int], labels: Tensor | None, what: str) -> Samples:
    """Make these pictures in batches, with progress."""
    parts = []
    with progress(f"drawing {what}", len(seeds)) as advance:
        for part in pieces(len(seeds), BATCH):
            y = None if labels is None else labels[part]
            parts.append(gradually(source, seeds[part], y, advance))
    return Samples(torch.cat(parts), tuple(seeds), labels)


def draw_classes(source: ImageSource) -> tuple[Samples, ...]:
    """A_CLASS pictures of each class, of the first seeds after the grid's that ask for it.

    The first MOST_CLASSES classes; empty where the model knows no classes.
    """
    K, shown = len(source.classes), min(len(source.classes), MOST_CLASSES)
    if not shown:
        return ()
    first = first_seed(K)
    seeds = [first + k + i * K for k in range(shown) for i in range(A_CLASS)]
    drawn = draw(source, seeds, source.labels(seeds), "each class")
    return tuple(_part(drawn, slice(k * A_CLASS, (k + 1) * A_CLASS)) for k in range(shown))


def first_seed(classes: int) -> int:
    """The first seed after the grid's that asks for class 0: seed s asks for s modulo classes."""
    return -(-GRID // classes) * classes


def _part(samples: Samples, part: slice) -> Samples:
    labels = None if samples.labels is None else samples.labels[part]
    return Samples(samples.images[part], samples.seeds[part], labels)


def develop(source: Developing) -> Development:
    seeds = range(STRIPS)
    labels = source.labels(seeds)
    levels, states, guesses = source.develop(seeds, labels, FRAMES)
    return Development(tuple(levels), states, guesses, tuple(seeds), labels)


def compare_with_training(samples: Tensor, cache: Cache, data: Pictures) -> Copying:
    """The nearest training pictures of the samples, and of pictures held out from training."""
    train = cache.subset("train")
    split = next((name for name in ("test", "validation") if data.of(name)), "")
    held_out = _held_out(samples, train, cache.subset(split), split) if split else None
    return Copying(neighbours(samples, train), train.count, held_out)


def neighbours(samples: Tensor, stored: ImageSource) -> Neighbours:
    found = nearest(_pixels(samples), Pixels(stored), 1)
    positions = found.positions[:, 0]
    return Neighbours(positions, found.distances[:, 0], stored.images(positions.tolist()))


def _held_out(samples: Tensor, train: ImageSource, other: Cache, split: str) -> HeldOut:
    """The distances are of at most HELD_OUT pictures, evenly spread over the split."""
    some = other.images(range(0, other.count, -(-other.count // HELD_OUT)))
    distances = nearest(_pixels(some), Pixels(train), 1).distances[:, 0]
    return HeldOut(split, other.count, neighbours(samples, other), distances)


def _pixels(images: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = dequantise(images).flatten(1).numpy()
    return found


def describe(cache: Cache) -> Pictures:
    """What the data section tells of the cache."""
    meta = cache.meta
    return Pictures(
        name=cache.name,
        path=cache.path,
        classes=meta.classes,
        counts=tuple(meta.counts.items()),
        rejected=tuple((left_out.file, left_out.reason) for left_out in meta.rejected),
        source=meta.source,
        options=tuple(meta.options.arguments()),
    )
