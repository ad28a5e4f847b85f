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
from safelight.errors import TooFewImages, UserError, lookup
from safelight.evaluation.accuracy import Judge, require_judgeable
from safelight.evaluation.copying import Copying
from safelight.evaluation.cost import announce
from safelight.evaluation.estimate import Estimate, Evaluation, now
from safelight.evaluation.evidence import gathered
from safelight.evaluation.features import FEATURES, Material, require_resized
from safelight.evaluation.fidelity import compared_with_itself
from safelight.evaluation.finding import Finding
from safelight.evaluation.guards import findings
from safelight.evaluation.kinds import (
    BitsPerDimension,
    Distance,
    Fidelity,
    OnFeatures,
    Score,
    Share,
)
from safelight.evaluation.metrics import METRICS, TOGETHER, USUAL
from safelight.evaluation.moments import SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan, Side, class_plans, held_out, plan, with_learnt
from safelight.evaluation.signature import signature
from safelight.evaluation.store import Looked, ahead, looked_at
from safelight.images import ImageSource, Restoring

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
        learnt: the pictures that `source` learnt from, for memorisation.
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
    usual = (*USUAL, "psnr") if isinstance(source, Restoring) else USUAL
    rows = [lookup(METRICS, name, "metric") for name in _named(metrics or usual, per_class)]
    lookup(FEATURES, features, "feature network")
    if resize is not None:
        on_features = [row for row in rows if isinstance(row, OnFeatures)]
        asked = [name for row in on_features for name in row.networks(features, source.shape)]
        require_resized(asked, resize)
    sides, judged = plan(source, against, pool, n, seed), held_out(against, n, seed)
    parts = class_plans(sides, pool) if per_class else []
    if learnt is not None:
        sides, *parts = (with_learnt(each, learnt) for each in (sides, *parts))
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
    bench = _Bench(sides, parts, material, features, batch, strict=bool(metrics))
    estimates = bench.estimates(looking) if looking else []
    found = findings(gathered(sides, train or pool, material.store, batch)) if looking else ()
    for row in densities:
        estimates += row.estimates(source, judged, judged_parts, likelihood, seed)
    estimates += [ratio.estimate(sides.generated, seed) for ratio in ratios]
    measured = likelihood if densities else None
    return _record(source, against, estimates, found, drawn=bool(looking), measured=measured)


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


@dataclass(frozen=True)
class _Measured:
    """A metric of the images of one plan, which these allow, and the network that it asks."""

    row: Distance | Score | Copying
    network: Network
    sides: Plan


@dataclass(frozen=True)
class _Bench:
    """What images are looked at with. strict: what is asked for must be had, or it is an error."""

    sides: Plan
    parts: Sequence[Plan]  # of a class each
    material: Material
    features: str  # the row of FEATURES that was asked for
    batch: int
    strict: bool

    def estimates(self, rows: Sequence[Distance | Score | Copying | Share]) -> list[Estimate]:
        """Those that these images allow; raises UserError where that is none."""
        shares = [row for row in rows if isinstance(row, Share) and self._judgeable(row)]
        measured = self._measured([row for row in rows if not isinstance(row, Share)])
        if not shares and not measured:
            raise UserError(
                f"no metric can be had of {self.sides.generated.source.name} with these images, "
                "for the reasons above; give more images, or a larger -n"
            )
        judges = {row.judge: row.judge(self.material) for row in shares}
        looked = self._look(measured, list(judges.values()))
        found = [m.row.estimate(m.sides, m.network, looked(m.sides, m.network)) for m in measured]
        for kind, judge in judges.items():
            said = judge.verdict(self.sides, looked(self.sides, judge.network))
            rows_of = [row for row in shares if row.judge == kind]
            found += [held for row in rows_of for held in row.estimates(self.sides, judge, said)]
        return found

    def _measured(self, rows: Sequence[Distance | Score | Copying]) -> list[_Measured]:
        """Those that these images allow, of all and of each class."""
        named = [(r, name) for r in rows for name in r.networks(self.features, self.material.shape)]
        networks = {name: FEATURES[name](self.material) for _, name in named}
        asked = [(row, networks[name]) for row, name in named]
        return [
            _Measured(row, network, sides)
            for row, network in asked
            if self._allows(partial(row.check, self.sides, network))
            for sides in (self.sides, *self._allowed_parts(row, network))
        ]

    def _allowed_parts(self, row: Distance | Score | Copying, network: Network) -> list[Plan]:
        """The classes that have images enough; what is left out is said once for all of them."""
        refused: dict[str, list[str]] = {}
        for part in self.parts:
            try:
                row.check(part, network)
            except TooFewImages as refusal:
                if self.strict:
                    raise TooFewImages(f"the class {part.of_class}: {refusal}") from None
                refused.setdefault(str(refusal), []).append(part.of_class)
        for reason, names in refused.items():
            inform(f"left out of {', '.join(names)}: {reason}")
        without = {name for names in refused.values() for name in names}
        return [part for part in self.parts if part.of_class not in without]

    def _judgeable(self, row: Share) -> bool:
        source, against = self.sides.generated.source, self.sides.reference.source
        return self._allows(partial(row.require, source, against, self.material.train))

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
        self, measured: Sequence[_Measured], judges: Sequence[Judge]
    ) -> Callable[[Plan, Network], SideFeatures]:
        """Look at every image once with every network; the result gives a network's features."""
        # Several may ask the same network: one entry then.
        wanted = {each.network.key: each.network for each in measured}
        seen = [signature(), *(judge.network for judge in judges)]  # the former for the guards
        wanted |= {network.key: network for network in seen}
        within = [each.sides for each in measured]
        plans = [self.sides, *(part for part in self.parts if part in within)]
        # Of those who learnt from other real images the floor is the reference, of copying the
        # held-out pictures.
        copying = {m.network.key: m.network for m in measured if isinstance(m.row, Copying)}
        others = {m.network.key: m.network for m in measured if not isinstance(m.row, Copying)}
        others |= {judge.network.key: judge.network for judge in judges if judge.needs_stand_in}
        passes = (
            ([p.generated for p in plans], wanted),
            ([p.reference for p in plans], wanted),
            ([p.stand_in for p in plans if p.stand_in], others),
            ([p.learnt.training for p in plans if p.learnt], copying),
        )
        announce(
            [part for each, by in passes for part in ahead(each, [*by.values()], *self._where)]
        )
        generated, reference, stand_in, training = (self._looked_at(*each) for each in passes)

        def features(sides: Plan, held: Network) -> SideFeatures:
            pool = sides.stand_in if held.key in stand_in else None
            learnt = sides.learnt if held.key in training else None
            return SideFeatures(
                generated[held.key].of(sides.generated),
                reference[held.key].of(sides.reference),
                None if pool is None else stand_in[held.key].of(pool),
                None if learnt is None else training[held.key].of(learnt.training),
                None if learnt is None else reference[held.key].of(learnt.held_out),
            )

        return features

    @property
    def _where(self) -> tuple[Path, int]:
        """Where features are kept, and of how many images at once."""
        return self.material.store, self.batch

    def _looked_at(
        self, sides: Sequence[Side], networks: Mapping[Key, Network]
    ) -> dict[Key, Looked]:
        """By network; nothing where there is none."""
        if not networks:
            return {}
        found = looked_at(sides, list(networks.values()), *self._where)
        return dict(zip(networks, found, strict=True))
