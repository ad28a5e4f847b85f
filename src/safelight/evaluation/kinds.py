"""The kinds of metric: what a row of METRICS knows, and how it becomes an estimate."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from safelight.config import Likelihood
from safelight.errors import TooFewImages, UserError
from safelight.evaluation import accuracy, fidelity, likelihood
from safelight.evaluation.accuracy import Verdict
from safelight.evaluation.estimate import Estimate, Interval, by_class
from safelight.evaluation.fidelity import require_restoring, restored
from safelight.evaluation.likelihood import labels_for, mean_interval, require_likelihood
from safelight.evaluation.moments import Features, Floats, SideFeatures
from safelight.evaluation.network import Head, Network
from safelight.evaluation.plan import Plan, Side, spelled
from safelight.evaluation.protocol import Protocol
from safelight.images import ImageSource


@dataclass(frozen=True)
class OnFeatures:
    """What metrics of a feature network's answers have in common.

    name: on any network; published_name: on the network and weights that the literature means by
    it, the name unless given. method: of the interval. network: the row of FEATURES that the metric
    is always on; empty: the one that was asked for.
    """

    metric: str
    name: str
    parameters: str
    method: str
    published_name: str = field(default="", kw_only=True)
    network: str = field(default="", kw_only=True)

    def called(self, network: Network, of_class: str) -> str:
        if network.published and self.published_name:
            return by_class(self.published_name, of_class)
        return f"{by_class(self.name, of_class)} ({network.name})"

    def _estimate(
        self, plan: Plan, network: Network, found: Interval, floor: Interval | None, real: str
    ) -> Estimate:
        """real: which real images the floor is of."""
        return Estimate(
            self.called(network, plan.of_class),
            found.value,
            found.low,
            found.high,
            n=len(plan.generated),
            interval=self.method,
            floor=floor,
            protocol=protocol(plan, network, self.metric, self.parameters, real),
        )


@dataclass(frozen=True)
class Distance(OnFeatures):
    """A row for a number of two sides. `require(generated, reference, dimension)` refuses too few
    images."""

    measure: Callable[[Features, Features], Interval]
    require: Callable[[int, int, int], None]

    def check(self, plan: Plan, network: Network) -> None:
        """Raises TooFewImages, before any image is made."""
        self.require(len(plan.generated), len(plan.reference), network.dimension)

    def estimate(self, plan: Plan, network: Network, features: SideFeatures) -> Estimate:
        found = self.measure(features.generated, features.reference)
        stand_in = features.stand_in
        floor = None if stand_in is None else self.measure(stand_in, features.reference)
        return self._estimate(plan, network, found, floor, plan.stand_in_note)


@dataclass(frozen=True)
class Score(OnFeatures):
    """A row for a number of one side's images alone; its floor is that of as many real ones.

    measure: features and, where the network has one, its head. require(images, dimension) refuses
    too few images. needs_head: the metric is of the classes that a network tells apart.
    """

    measure: Callable[[Features, Head | None], Interval]
    require: Callable[[int, int], None]
    needs_head: bool = False

    def check(self, plan: Plan, network: Network) -> None:
        """Raises UserError, before any image is made."""
        if self.needs_head and network.head is None:
            raise UserError(
                f"{self.metric} needs a network that tells classes apart, and {network.name} "
                "tells none; use --features efficientnet-lite0"
            )
        self.require(len(plan.generated), network.dimension)

    def estimate(self, plan: Plan, network: Network, features: SideFeatures) -> Estimate:
        found, n = self.measure(features.generated, network.head), len(plan.generated)
        floor, real = None, f"none: there are fewer than {n:,} real images to look at"
        for side, held in (
            (plan.reference, features.reference),
            (plan.stand_in, features.stand_in),
        ):
            if side is not None and held is not None and len(side) == n:
                floor, real = self.measure(held, network.head), f"{n:,} images of {side.name}"
                break
        return self._estimate(plan, network, found, floor, real)


@dataclass(frozen=True)
class Share:
    """A row for shares of images that the classifier takes for the class asked.

    shares: a verdict -> (name, share of the generated images, how many, the same of real ones).
    """

    metric: str
    shares: Callable[[Verdict], Iterable[tuple[str, Interval, int, Interval | None]]]

    def estimates(self, plan: Plan, verdict: Verdict) -> list[Estimate]:
        parameters = f"classifier trained on {verdict.judge.trained_on}"
        note = f"the held-out real images of {plan.reference.source.name}"
        if verdict.real is None:
            note = f"none: {plan.reference.source.name} has no labels that the classifier knows"
        how = protocol(plan, verdict.judge.network, self.metric, parameters, note)
        return [
            Estimate(
                name, share.value, share.low, share.high, n, accuracy.METHOD, floor, protocol=how
            )
            for name, share, n, floor in self.shares(verdict)
        ]


@dataclass(frozen=True)
class Fidelity:
    """The row for how well pictures come back, picture by picture."""

    metric: str = "psnr"

    def check(self, side: Side) -> None:
        """Raises UserError, before any image is made."""
        require_restoring(side.source)
        if len(side) < 2:
            raise TooFewImages(f"psnr needs at least 2 images, got {len(side)}; give a larger -n")

    def estimate(self, side: Side, seed: int) -> Estimate:
        source = require_restoring(side.source)
        mean = mean_interval(restored(source, side.seeds))
        how = Protocol(
            metric=self.metric,
            parameters="10 log10(255² / mean square error) of 256 levels, mean over pictures",
            network="none",
            dimension=math.prod(source.shape),
            weights="",
            resize="none",
            image=spelled(source.shape),
            generated=len(side),
            reference=len(side),
            reference_fingerprint=source.pictures.fingerprint,
            seed=seed,
            reference_name=source.pictures.name,
            floor_images="none: each picture is compared with itself",
            software=_software(),
        )
        ends = mean.low, mean.high
        return Estimate(
            "PSNR (dB)",
            mean.value,
            *ends,
            n=len(side),
            interval=fidelity.METHOD,
            floor=None,
            protocol=how,
        )


@dataclass(frozen=True)
class BitsPerDimension:
    """The row for a model's likelihood of real images, by every method that it has."""

    metric: str = "bpd"

    def check(
        self, source: ImageSource, side: Side, parts: Sequence[Side], options: Likelihood
    ) -> None:
        """Raises UserError, before anything is computed."""
        require_likelihood(source).likelihoods(options)
        labels_for(source, side)
        for part in parts:
            if len(part) < 2:
                raise TooFewImages(
                    f"the class {part.of_class}: bits per dimension need at least 2 images, got "
                    f"{len(part)}; give a larger -n, or leave --per-class out"
                )

    def estimates(
        self,
        source: ImageSource,
        side: Side,
        parts: Sequence[Side],
        options: Likelihood,
        seed: int,
    ) -> list[Estimate]:
        """parts: of the side's images those of a class, which get a number of their own."""
        measures = require_likelihood(source).likelihoods(options)
        found = likelihood.bits(measures, side, labels_for(source, side), seed)
        return [
            self._estimate(name, measures[name].parameters, values, part, seed)
            for name, every in found.items()
            for part, values in [(p, every[np.isin(side.seeds, p.seeds)]) for p in (side, *parts)]
        ]

    def _estimate(
        self, name: str, parameters: str, values: Floats, side: Side, seed: int
    ) -> Estimate:
        mean = mean_interval(values)
        how = Protocol(
            metric=self.metric,
            parameters=parameters,
            network="the model's own density",
            dimension=math.prod(side.source.shape),
            weights="",
            resize="none",
            image=spelled(side.source.shape),
            generated=0,
            reference=len(side),
            reference_fingerprint=side.fingerprint,
            seed=seed,
            reference_name=side.name,
            floor_images="none: real images are what is judged",
            software=_software(),
        )
        ends = mean.low, mean.high
        return Estimate(
            f"{by_class('bits per dimension', side.of_class)} ({name})",
            mean.value,
            *ends,
            n=len(side),
            interval=likelihood.METHOD,
            floor=None,
            protocol=how,
        )


def protocol(
    plan: Plan, network: Network, metric: str, parameters: str, floor_images: str
) -> Protocol:
    reference = plan.reference
    return Protocol(
        metric=metric,
        parameters=parameters,
        network=network.name,
        dimension=network.dimension,
        weights=network.weights,
        resize=network.resize,
        image=spelled(reference.source.shape),
        generated=len(plan.generated),
        reference=len(reference),
        reference_fingerprint=reference.fingerprint,
        seed=plan.seed,
        reference_name=reference.name,
        floor_images=floor_images,
        software=_software(),
    )


def _software() -> str:
    ours = importlib.metadata.version("safelight")
    python = platform.python_version()
    return f"safelight {ours}, torch {torch.__version__}, numpy {np.__version__}, Python {python}"
