"""How far the images of a model are from real ones while it is trained: a curve of like points.

At every step the same seeds, the same real images and the same feature network, so that all points
have one protocol.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safelight.data.places import user_cache
from safelight.errors import TooFewImages, UserError, lookup
from safelight.evaluation.classifier import labelled
from safelight.evaluation.estimate import Estimate, Evaluation, Interval, now
from safelight.evaluation.evaluate import Drawn
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.kernel import require_enough
from safelight.evaluation.kinds import Distance
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.moments import Features, SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan, plan
from safelight.evaluation.store import features_of, looked_at_once
from safelight.images import ImageSource

MEASURED = ("kid", "fd")  # where images are enough
SEED = 0  # as `evaluate` has it unless told otherwise: it finds the same numbers
BATCH = 64  # likewise


@dataclass(frozen=True)
class _Bench:
    """What does not change from one look to the next. floors: of each row, if there can be one."""

    network: Network
    rows: Sequence[Distance]
    reference: Features
    floors: Mapping[str, Interval | None]


class Underway:
    """Fulfils `training.watching.Judge`.

    KID, and FD where both sides have more images than the network has features. Memory: the
    network, and n of its features (500 of 1,280: 2.6 MB); those of the real images are read from
    the disk, where they are kept.
    """

    def __init__(
        self,
        against: ImageSource,
        *,
        pool: ImageSource | None,
        train: ImageSource,
        features: str,
        n: int,
        store: Path | None = None,
    ) -> None:
        """Looks at no image yet. Raises UserError.

        Args:
            against: real images; `pool` has further ones for the floor, none of them in `against`.
            train: those that the model learns from.
            features: a row of FEATURES.
            n: images of the model.
            store: where features are kept (default: the user's cache folder).
        """
        lookup(FEATURES, features, "feature network")
        require_enough(n, min(n, against.count or 0))
        if features == "classifier":
            _require_learnable(against, train)
        self._against, self._pool, self._train = against, pool, train
        self._features, self._n, self._store = features, n, store or user_cache()
        self._ready: _Bench | None = None

    @property
    def about(self) -> str:
        held = self._against
        real = f"{min(self._n, held.count or 0):,} of {held.name}"
        if held.fingerprint == self._train.fingerprint:
            real += " (which it learns from: no pictures were held out)"
        names = [row.metric.upper() for row in self._ready.rows] if self._ready else ["KID"]
        return f"{' and '.join(names)} ({self._features}) of {self._n:,} images against {real}"

    def prepare(self, source: ImageSource) -> None:
        self._bench(self._sides(source))

    def cost(self, source: ImageSource) -> float:
        """The seconds that a look will take, after the real images have been looked at.

        Drawing and features grow with the images, and a batch is timed; the distances are taken
        once, of that batch over and over.
        """
        sides = self._sides(source)
        bench = self._bench(sides)
        few = sides.generated.seeds[:BATCH]
        looked_at_once(source, few, bench.network, BATCH)  # allocates memory and chooses kernels
        began = time.monotonic()
        features = looked_at_once(source, few, bench.network, BATCH)
        drawn = time.monotonic()
        _estimates(sides, bench, np.resize(features, (self._n, features.shape[1])))
        return (drawn - began) * self._n / len(few) + time.monotonic() - drawn

    def look(self, source: ImageSource) -> dict[str, Any]:
        """An `Evaluation` as JSON, without the fingerprint of what is soon another model."""
        sides = self._sides(source)
        bench = self._bench(sides)
        features = looked_at_once(source, sides.generated.seeds, bench.network, BATCH)
        estimates = _estimates(sides, bench, features)
        how: dict[str, Any] = {}
        if isinstance(source, Drawn):
            how = {"drawn": source.describe(), "sampling": source.sampling.model_dump()}
        found = Evaluation(source.name, self._against.name, now(), tuple(estimates), **how)
        return found.to_json()

    def curves(self, found: Mapping[str, Any]) -> dict[str, float]:
        estimates = Evaluation.from_json(found).estimates
        values = {
            f"{each.name}/{what}": value
            for each in estimates
            for what, value in (("value", each.value), ("low", each.low), ("high", each.high))
        }
        floors = {f"{each.name}/real images": each.floor.value for each in estimates if each.floor}
        return values | floors

    def told(self, found: Mapping[str, Any]) -> str:
        return "; ".join(map(str, Evaluation.from_json(found).estimates))

    def _sides(self, source: ImageSource) -> Plan:
        return plan(source, self._against, self._pool, self._n, SEED)

    def _bench(self, sides: Plan) -> _Bench:
        """Made at the first call, which looks at the real images."""
        if self._ready is None:
            material = Material(self._against.shape, self._train, self._store)
            network = FEATURES[self._features](material)
            rows = [row for row in map(_row, MEASURED) if _allowed(row, sides, network)]
            reference, *further = (
                features_of(side.source, side.seeds, [network], self._store, BATCH)[0]
                for side in (sides.reference, sides.stand_in)
                if side is not None
            )
            floors = {
                row.metric: row.measure(further[0], reference) if further else None for row in rows
            }
            self._ready = _Bench(network, rows, reference, floors)
        return self._ready


def _row(metric: str) -> Distance:
    row = METRICS[metric]
    if not isinstance(row, Distance):
        raise TypeError(f"{metric} is no distance")
    return row


def _allowed(row: Distance, sides: Plan, network: Network) -> bool:
    try:
        row.check(sides, network)
    except TooFewImages:
        return False
    return True


def _estimates(sides: Plan, bench: _Bench, generated: Features) -> list[Estimate]:
    """The floors are the same at every step."""
    features = SideFeatures(generated, bench.reference, None)
    found = [(row, row.estimate(sides, bench.network, features)) for row in bench.rows]
    return [dataclasses.replace(each, floor=bench.floors[row.metric]) for row, each in found]


def _require_learnable(against: ImageSource, train: ImageSource) -> None:
    """Raises UserError where no classifier can be trained, or only on what it is to judge by."""
    other = "or use another network with --watch.evaluate-features"
    if against.fingerprint == train.fingerprint:
        raise UserError(
            f"the classifier would judge by the pictures that it was trained on, {train.name}, "
            f"since none were held out; prepare them with --split 80/10/10, {other}"
        )
    if len(train.classes) < 2:
        raise UserError(
            f"the classifier needs at least two classes and {train.name} has {len(train.classes)}; "
            "use another network with --watch.evaluate-features"
        )
    labelled(train)
