"""The kinds of metric that look at features: what a row knows, and how it becomes an estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from safelight.errors import UserError
from safelight.evaluation import accuracy
from safelight.evaluation.accuracy import Judge, Verdict
from safelight.evaluation.estimate import Estimate, Interval, by_class
from safelight.evaluation.features import Material
from safelight.evaluation.moments import Features, SideFeatures
from safelight.evaluation.network import Head, Network
from safelight.evaluation.plan import Plan
from safelight.evaluation.protocol import Protocol, software
from safelight.images import ImageSource, spelled


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
            name = by_class(self.published_name, of_class)
            return f"{name} ({network.variant})" if network.variant else name
        return f"{by_class(self.name, of_class)} ({network.called})"

    def networks(self, asked: str, shape: tuple[int, int, int]) -> tuple[str, ...]:
        """The rows of FEATURES that it is taken on: each gives an estimate."""
        return (self.network or asked,)

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
            curve=found.curve,
        )


@dataclass(frozen=True)
class Distance(OnFeatures):
    """A row for a number of two sides.

    measure: of at most `at_most` images a side, where that is given: the first of them.
    require(generated, reference, dimension) refuses too few images. scaled: its kernel is made for
    the scale of networks' features.
    """

    measure: Callable[[Features, Features], Interval]
    require: Callable[[int, int, int], None]
    at_most: int | None = field(default=None, kw_only=True)
    scaled: bool = field(default=False, kw_only=True)

    def check(self, plan: Plan, network: Network) -> None:
        """Raises UserError, before any image is made."""
        if self.scaled and network.units:
            raise UserError(
                f"{self.name} has a kernel for the features of networks, and {network.name} gives "
                f"{network.units}, of which it would make numbers of any size; use --metrics "
                f"{network.name}"
            )
        self.require(len(plan.generated), len(plan.reference), network.dimension)

    def estimate(self, plan: Plan, network: Network, features: SideFeatures) -> Estimate:
        found = self.measure(features.generated, features.reference)
        stand_in = features.stand_in
        floor = None if stand_in is None else self.measure(stand_in, features.reference)
        used = plan.first(self.at_most)
        return self._estimate(used, network, found, floor, used.stand_in_note)


@dataclass(frozen=True)
class Score(OnFeatures):
    """A row for a number of one side's images alone; its floor is that of as many real ones.

    measure: features and, where the network has one, its head. require(images, width) refuses too
    few images, width being the features' dimension. needs_head: the metric is of the classes that a
    network tells apart, and width their number.
    """

    measure: Callable[[Features, Head | None], Interval]
    require: Callable[[int, int], None]
    needs_head: bool = False

    def check(self, plan: Plan, network: Network) -> None:
        """Raises UserError, before any image is made."""
        width = network.dimension
        if self.needs_head:
            if network.head is None:
                raise UserError(
                    f"{self.name} needs a network that tells classes apart, and {network.name} "
                    "tells none; use --features efficientnet-lite0"
                )
            width = len(network.head.bias)
        self.require(len(plan.generated), width)

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
    """A row for shares of images that a judge takes for the class asked.

    judge: who says so. require(plan, train) refuses images that it can't judge, or learn from.
    per_class: a share of each class, in the place of one of all.
    """

    metric: str
    name: str
    judge: Callable[[Material], Judge]
    require: Callable[[Plan, ImageSource | None], None]
    method: str = accuracy.METHOD
    per_class: bool = False

    def of_each_class(self) -> Share:
        return replace(self, metric=f"{self.metric}-per-class", per_class=True)

    def estimates(self, plan: Plan, judge: Judge, verdict: Verdict) -> list[Estimate]:
        network, real = judge.network, verdict.real_images
        shares = accuracy.per_class if self.per_class else accuracy.overall
        how = protocol(plan, network, self.metric, verdict.how, real)
        found = [
            (by_class(self.name, of_class), share, n, floor, how)
            for of_class, share, n, floor in shares(verdict)
        ]
        if verdict.own and not self.per_class:
            share, n = verdict.own.share(), int(verdict.own.seen.sum())
            note = "none: these are the real images that it learnt from"
            own = protocol(plan, network, self.metric, verdict.how, note)
            found.append((f"{self.name}, what it learnt from", share, n, None, own))
        return [
            Estimate(name, share.value, share.low, share.high, n, self.method, floor, protocol=held)
            for name, share, n, floor, held in found
        ]


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
        software=software(),
    )
