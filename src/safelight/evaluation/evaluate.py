"""Judging a source of images against real ones: the function behind `safelight evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safelight.config import Likelihood, Sampling
from safelight.console import inform
from safelight.data.named import user_cache
from safelight.errors import UserError, lookup
from safelight.evaluation.accuracy import require_classes, require_judgeable, verdict
from safelight.evaluation.classifier import Classifier, classifier, labelled
from safelight.evaluation.estimate import Estimate, Evaluation, now
from safelight.evaluation.features import FEATURES, Loader
from safelight.evaluation.metrics import METRICS, BitsPerDimension, Distance, Share
from safelight.evaluation.moments import Features, SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan, Side, held_out, plan
from safelight.evaluation.store import features_of
from safelight.images import ImageSource

USUAL = ("fd", "kid", "accuracy")
Key = tuple[str, str]  # of a network: its name and its weights' hash


@runtime_checkable
class Drawn(Protocol):
    """A source whose images depend on options as well as on weights, such as a diffusion model."""

    @property
    def sampling(self) -> Sampling:
        """The options."""
        ...

    def describe(self) -> str:
        """The same in words."""
        ...


@runtime_checkable
class Trained(Protocol):
    """A source that is one of a run's states."""

    @property
    def trained(self) -> Mapping[str, str]:
        """The options that name it."""
        ...


def evaluate(
    source: ImageSource,
    against: ImageSource,
    *,
    pool: ImageSource | None,
    train: ImageSource | None = None,
    features: str = "efficientnet-lite0",
    metrics: Sequence[str] = (),
    n: int | None = None,
    seed: int = 0,
    likelihood: Likelihood = Likelihood(),  # noqa: B008 - frozen
    batch: int = 64,
    store: Path | None = None,
) -> Evaluation:
    """Judge `source` against the real images `against`. Raises UserError.

    Args:
        pool: further real images, none of them in `against`, that play the generated set for the
            floor; without it, `against` is divided at random where it is large enough.
        train: labelled real images for the classifier.
        features: a row of FEATURES.
        metrics: rows of METRICS; none named, all of USUAL that these images allow, and what is
            left out is said.
        n: images of `source` (default: all that are stored, 2,000 of a model); the reference has
            as many, or all of `against` if that is fewer. For a likelihood, the real images that
            are judged (default: 200).
        likelihood: how that is measured.
        batch: images made at once, whose features are kept at once.
        store: where features and classifiers are kept (default: the user's cache folder).
    """
    rows = [lookup(METRICS, name, "metric") for name in dict.fromkeys(metrics or USUAL)]
    load = lookup(FEATURES, features, "feature network")
    sides, judged = plan(source, against, pool, n, seed), held_out(against, n, seed)
    densities = [row for row in rows if isinstance(row, BitsPerDimension)]
    for row in densities:
        row.check(source, judged, likelihood)
    looking = [row for row in rows if not isinstance(row, BitsPerDimension)]
    if looking and features == "classifier":
        require_judgeable(source, against, train)
    bench = _Bench(sides, train, load, store or user_cache(), batch, strict=bool(metrics))
    estimates = bench.estimates(looking) if looking else []
    for row in densities:
        estimates += row.estimates(source, judged, likelihood, seed)
    measured = likelihood if densities else None
    return _record(source, against, estimates, drawn=bool(looking), measured=measured)


def _record(
    source: ImageSource,
    against: ImageSource,
    estimates: Sequence[Estimate],
    drawn: bool,
    measured: Likelihood | None,
) -> Evaluation:
    """The estimates with the options that they came of: of the run, of drawing, of bpd."""
    how: dict[str, Any] = {}
    if isinstance(source, Trained):
        how["trained"] = source.trained
    if measured is not None:
        how["likelihood"] = measured.model_dump()
    if drawn and isinstance(source, Drawn):
        how |= {"drawn": source.describe(), "sampling": source.sampling.model_dump()}
    return Evaluation(source.name, against.name, now(), tuple(estimates), source.fingerprint, **how)


@dataclass(frozen=True)
class _Bench:
    """What images are looked at with. strict: what is asked for must be had, or it is an error."""

    sides: Plan
    train: ImageSource | None
    load: Loader
    store: Path
    batch: int
    strict: bool

    def estimates(self, rows: Sequence[Distance | Share]) -> list[Estimate]:
        """Those that these images allow; raises UserError where that is none."""
        shares = [r for r in rows if isinstance(r, Share) and self._allows(self._require_judgeable)]
        distances, network = self._distances([row for row in rows if isinstance(row, Distance)])
        if not shares and not distances:
            raise UserError(
                f"no metric can be had of {self.sides.generated.source.name} with these images, "
                "for the reasons above; give more images, or a larger -n"
            )
        judge = classifier(self.train, self.store) if shares else None
        looked = self._look(network, judge)
        found: list[Estimate] = []
        if network:
            found += [row.estimate(self.sides, network, looked(network)) for row in distances]
        if judge:
            said = verdict(judge, self.sides, looked(judge.network))
            found += [held for row in shares for held in row.estimates(self.sides, said)]
        return found

    def _distances(self, rows: Sequence[Distance]) -> tuple[list[Distance], Network | None]:
        """Those that these images allow, and the network that they need."""
        if not rows:
            return [], None
        network = self.load(self.train, self.store)
        allowed = [r for r in rows if self._allows(partial(r.check, self.sides, network))]
        return allowed, network if allowed else None

    def _require_judgeable(self) -> None:
        source = self.sides.generated.source
        require_judgeable(source, self.sides.reference.source, self.train)
        require_classes(source, self.train)
        labelled(self.train)

    def _allows(self, check: Callable[[], None]) -> bool:
        """Whether a metric can be had of these images."""
        try:
            check()
        except UserError as refusal:
            if self.strict:
                raise
            inform(f"left out: {refusal}")
            return False
        return True

    def _look(
        self, network: Network | None, judge: Classifier | None
    ) -> Callable[[Network], SideFeatures]:
        """Look at every image once with every network; the result gives a network's features."""
        # Both networks may be the classifier: one entry then.
        wanted = {held.key: held for held in (network, judge.network if judge else None) if held}
        generated = self._features(self.sides.generated, list(wanted.values()))
        reference = self._features(self.sides.reference, list(wanted.values()))
        # Only distances have their floor from the stand-in; the classifier's is on the reference.
        pool = self.sides.stand_in
        stand_in = self._features(pool, [network]) if network and pool else {}
        return lambda held: SideFeatures(
            generated[held.key], reference[held.key], stand_in.get(held.key)
        )

    def _features(self, side: Side, networks: Sequence[Network]) -> dict[Key, Features]:
        kept = features_of(side.source, side.seeds, networks, self.store, self.batch)
        return {held.key: features for held, features in zip(networks, kept, strict=True)}
