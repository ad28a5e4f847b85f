"""Judging a source of images against real ones: the function behind `safelight evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safelight.config import Likelihood, Sampling
from safelight.console import inform
from safelight.data.places import user_cache
from safelight.errors import UserError, lookup
from safelight.evaluation.accuracy import require_judgeable
from safelight.evaluation.bench import Bench
from safelight.evaluation.copying import Copying
from safelight.evaluation.estimate import Estimate, Evaluation, now
from safelight.evaluation.evidence import gathered
from safelight.evaluation.features import FEATURES, Material, require_resized
from safelight.evaluation.fidelity import compared_with_itself
from safelight.evaluation.finding import Finding
from safelight.evaluation.guards import findings
from safelight.evaluation.kinds import Distance, OnFeatures, Score, Share
from safelight.evaluation.metrics import METRICS, TOGETHER, USUAL
from safelight.evaluation.plan import class_plans, held_out, plan, require_as_large, with_learnt
from safelight.evaluation.resizes import RESIZES
from safelight.evaluation.store import going_on
from safelight.evaluation.unseen import BitsPerDimension, Fidelity
from safelight.images import ImageSource, Restoring


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
    learnt: ImageSource | None = None,
    features: str = "efficientnet-lite0",
    resize: str | None = None,
    metrics: Sequence[str] = (),
    per_class: bool = False,
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
        learnt: the pictures that `source` learnt from, of which copies are looked for; without
            them, of `train` or of `pool`.
        features: a row of FEATURES.
        resize: a row of RESIZES, for what is measured on the network inception.
        metrics: rows of METRICS; none named, all of USUAL that these images allow, and what is
            left out is said; of an autoencoder psnr too.
        per_class: give each number of each class by itself too, against real images of that class.
        n: images of `source` (default: all that are stored, 2,000 of a model); the reference has
            as many, or all of `against` if that is fewer. For a likelihood, the real images that
            are judged (default: 200).
        likelihood: how that is measured.
        batch: images made at once, whose features are kept at once.
        store: where features and classifiers are kept (default: the user's cache folder).
    """
    require_known(metrics, features, resize)
    usual = (*USUAL, "psnr") if isinstance(source, Restoring) else USUAL
    rows = [METRICS[name] for name in _named(metrics or usual, per_class)]
    if resize is not None:
        on_features = [row for row in rows if isinstance(row, OnFeatures)]
        asked = [name for row in on_features for name in row.networks(features, source.shape)]
        require_resized(asked, resize)
    sides, judged = plan(source, against, pool, n, seed), held_out(against, n, seed)
    parts = class_plans(sides, pool) if per_class else []
    if learnt is not None:
        require_as_large(learnt, source)
    if learnt is not None and any(isinstance(row, Copying) for row in rows):
        sides, *parts = (with_learnt(each, learnt) for each in (sides, *parts))
        if sides.learnt is not None and len(sides.learnt.training) < (learnt.count or 0):
            inform(f"copies are counted of {sides.learnt.describe()}; a larger -n looks at more")
    judged_parts = [judged.part(part.of_class) for part in parts]
    densities = [row for row in rows if isinstance(row, BitsPerDimension)]
    for row in densities:
        row.check(source, judged, judged_parts, likelihood)
    ratios = [row for row in rows if isinstance(row, Fidelity)]
    for ratio in ratios:
        ratio.check(sides.generated)
    looking = [row for row in rows if isinstance(row, Distance | Score | Copying | Share)]
    if looking and (reason := compared_with_itself(source, against)):
        if metrics:
            raise UserError(reason)
        inform(f"left out: {', '.join(row.metric for row in looking)}, since {reason}")
        looking = []
    if looking and features == "classifier":
        require_judgeable(source, against, train)
    material = Material(source.shape, train, store or user_cache(), resize)
    bench = Bench(sides, parts, material, features, batch, strict=bool(metrics))
    estimates: list[Estimate] = []
    found: tuple[Finding, ...] = ()
    if looking:
        with going_on():
            estimates = bench.estimates(looking)
            found = findings(gathered(sides, learnt or train or pool, material.store, batch))
    for row in densities:
        estimates += row.estimates(source, judged, judged_parts, likelihood, seed)
    estimates += [ratio.estimate(sides.generated, seed) for ratio in ratios]
    measured = likelihood if densities else None
    return _record(source, against, estimates, found, drawn=bool(looking), measured=measured)


def require_known(metrics: Sequence[str], features: str, resize: str | None) -> None:
    """Raise UserError for a name that no table has."""
    for name in metrics:
        lookup(METRICS, name, "metric")
    lookup(FEATURES, features, "feature network")
    if resize is not None:
        lookup(RESIZES, resize, "resize")


def _named(metrics: Sequence[str], per_class: bool) -> list[str]:
    """The metrics, each once; of a judge, the share of each class is a metric of its own."""
    parts = {name: (f"{name}-per-class",) for name in METRICS if f"{name}-per-class" in METRICS}
    further = TOGETHER | (parts if per_class else {})
    return list(dict.fromkeys(row for name in metrics for row in (name, *further.get(name, ()))))


def _record(
    source: ImageSource,
    against: ImageSource,
    estimates: Sequence[Estimate],
    found: tuple[Finding, ...],
    drawn: bool,
    measured: Likelihood | None,
) -> Evaluation:
    """The estimates with the options that they came of: of the run, of drawing, of bpd."""
    how: dict[str, Any] = {"findings": found}
    if isinstance(source, Trained):
        how["trained"] = source.trained
    if measured is not None:
        how["likelihood"] = measured.model_dump()
    if drawn and isinstance(source, Drawn):
        how |= {"drawn": source.describe(), "sampling": source.sampling.model_dump()}
    return Evaluation(source.name, against.name, now(), tuple(estimates), source.fingerprint, **how)
