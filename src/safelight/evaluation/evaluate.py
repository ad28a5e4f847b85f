"""Judging a source of images against real ones: the function behind `safelight evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from safelight.config import Sampling
from safelight.console import inform
from safelight.data.named import user_cache
from safelight.errors import UserError, lookup
from safelight.evaluation.accuracy import require_classes, require_judgeable, verdict
from safelight.evaluation.classifier import Classifier, classifier, labelled
from safelight.evaluation.estimate import Estimate, Evaluation, now
from safelight.evaluation.features import FEATURES
from safelight.evaluation.metrics import METRICS, Distance, Share
from safelight.evaluation.moments import Features, SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan, Side, plan
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
    batch: int = 256,
    store: Path | None = None,
) -> Evaluation:
    """Judge `source` against the real images `against`. Raises UserError.

    pool: further real images, none of them in `against`, that play the generated set for the
    floor; without it, `against` is divided at random where it is large enough. train: labelled
    real images for the classifier. metrics: rows of METRICS; none named, all of USUAL that these
    images allow, and what is left out is said. n: images of `source` (default: all that are
    stored, 2,000 of a model); the reference has as many, or all of `against` if that is fewer.
    batch: images made at once. store: where features and classifiers are kept (default: the
    user's cache folder).
    """
    rows = [lookup(METRICS, name, "metric") for name in dict.fromkeys(metrics or USUAL)]
    load = lookup(FEATURES, features, "feature network")
    store = store or user_cache()
    sides = plan(source, against, pool, n, seed)
    strict = bool(metrics)
    if features == "classifier":
        require_judgeable(source, against, train)

    def judgeable() -> None:
        require_judgeable(source, against, train)
        require_classes(source, train)
        labelled(train)

    shares = [row for row in rows if isinstance(row, Share) and _allowed(judgeable, strict)]
    distances = [row for row in rows if isinstance(row, Distance)]
    network = load(train, store) if distances else None
    if network:
        check = partial(Distance.check, plan=sides, network=network)
        distances = [row for row in distances if _allowed(partial(check, row), strict)]
        network = network if distances else None
    if not shares and not distances:
        raise UserError(
            f"no metric can be had of {source.name} with these images, for the reasons above; "
            "give more images, or a larger -n"
        )
    judge = classifier(train, store) if shares else None
    looked = _look(sides, network, judge, store, batch)
    estimates: list[Estimate] = []
    if network:
        estimates += [row.estimate(sides, network, looked(network)) for row in distances]
    if judge:
        said = verdict(judge, sides, looked(judge.network))
        estimates += [held for row in shares for held in row.estimates(sides, said)]
    found = Evaluation(source.name, against.name, now(), tuple(estimates), source.fingerprint)
    if isinstance(source, Drawn):
        return replace(found, drawn=source.describe(), sampling=source.sampling.model_dump())
    return found


def _allowed(check: Callable[[], None], strict: bool) -> bool:
    """Whether a metric can be had of these images; if it was asked for by name, it must be."""
    try:
        check()
    except UserError as refusal:
        if strict:
            raise
        inform(f"left out: {refusal}")
        return False
    return True


def _look(
    sides: Plan, network: Network | None, judge: Classifier | None, store: Path, batch: int
) -> Callable[[Network], SideFeatures]:
    """Look at every image once with every network; the result gives a network's features."""
    # Both networks may be the classifier: one entry then.
    wanted = {held.key: held for held in (network, judge.network if judge else None) if held}

    def of(side: Side, networks: Sequence[Network]) -> dict[Key, Features]:
        kept = features_of(side.source, side.seeds, networks, store, batch)
        return {held.key: features for held, features in zip(networks, kept, strict=True)}

    generated = of(sides.generated, list(wanted.values()))
    reference = of(sides.reference, list(wanted.values()))
    # Only distances have their floor from the stand-in; the classifier's is on the reference.
    stand_in = of(sides.stand_in, [network]) if network and sides.stand_in else {}
    return lambda held: SideFeatures(
        generated[held.key], reference[held.key], stand_in.get(held.key)
    )
