"""Several evaluations side by side: only what was measured alike, and with a plain verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safelight.errors import UserError
from safelight.evaluation import retraining
from safelight.evaluation.estimate import (
    COVERS,
    COVERS_RETRAINING,
    COVERS_SINGLE,
    Estimate,
    Evaluation,
    Interval,
)


@dataclass(frozen=True)
class Measurement:
    """A number with what was judged: how its images were drawn, in words, and their hash.

    state: of a run, which of its states, as options; newest: that of its newest evaluation.
    """

    estimate: Estimate
    drawn: str
    fingerprint: str
    state: Mapping[str, str]
    newest: Mapping[str, str]


Measured = Mapping[str, Measurement]  # by metric


@dataclass(frozen=True)
class Comparison:
    """One metric of several sources, measured by one protocol; best first.

    estimates: of a recipe of several trainings the one that covers retraining. trainings: of such
    sources what each training got. drawn: how the images of each source were drawn, in words, where
    that differs between them.
    """

    name: str
    estimates: tuple[tuple[str, Estimate], ...]
    drawn: Mapping[str, str] = field(default_factory=dict)
    trainings: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    @property
    def of_class(self) -> str:
        """The class whose images it is of; empty: of all."""
        return self.estimates[0][1].of_class

    @property
    def differences(self) -> tuple[tuple[str, Interval], ...]:
        """Each other source's value less the best one's."""
        (best, first), *others = self.estimates
        mine, (least, most) = self._each(best), first.span
        found = ((name, retraining.difference(mine, self._each(name))) for name, _ in others)
        return tuple(
            (name, Interval(d.value, max(d.low, least - most), min(d.high, most - least)))
            for name, d in found
        )

    @property
    def foremost(self) -> tuple[str, ...]:
        """The best one, and those that can't be told from it."""
        near = (name for name, apart in self.differences if not _told_apart(apart))
        return (self.estimates[0][0], *near)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What can be said of the best against each other one."""
        return tuple(self._verdict(name, apart) for name, apart in self.differences)

    @property
    def covers(self) -> tuple[str, ...]:
        """What its intervals cover."""
        if not self.trainings:
            return (COVERS,)
        all_retrained = len(self.trainings) == len(self.estimates)
        return (COVERS_RETRAINING,) if all_retrained else (COVERS_RETRAINING, COVERS_SINGLE)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sources": [self._source_json(*named) for named in self.estimates],
            "best": self.estimates[0][0],
            "differences": [
                {
                    "of": name,
                    "value": apart.value,
                    "low": apart.low,
                    "high": apart.high,
                    "told_apart": _told_apart(apart),
                    "sentence": self._verdict(name, apart),
                }
                for name, apart in self.differences
            ],
            "covers": list(self.covers),
        }

    def _source_json(self, source: str, estimate: Estimate) -> dict[str, Any]:
        trainings = self.trainings.get(source, {})
        return {
            "source": source,
            "drawn": self.drawn.get(source, ""),
            "estimate": estimate.to_json(),
            "trainings": {name: each.to_json() for name, each in trainings.items()},
        }

    def _each(self, source: str) -> list[Estimate]:
        """The estimates of a source's trainings, or its only one."""
        return [*self.trainings.get(source, {"": dict(self.estimates)[source]}).values()]

    def _verdict(self, other: str, apart: Interval) -> str:
        best, first = self.estimates[0]
        sign = -1 if first.higher_is_better else 1  # the best one's advantage
        value, *ends = (sign * x + 0.0 for x in (apart.value, apart.low, apart.high))  # no -0
        low, high = sorted(ends)
        by = first.show_apart(Interval(value, low, high))
        how = f"in {self._what(best, other)}"
        if _told_apart(apart):
            return f"{best} is better than {other} by {by} {how}"
        return f"cannot tell {best} from {other} {how}: they differ by {by}"

    def _what(self, best: str, other: str) -> str:
        """Such as "KID (efficientnet-lite0, 2,000 images, 3 trainings each)"."""
        named = dict(self.estimates)
        counts = list(dict.fromkeys(f"{named[name].n:,}" for name in (best, other)))
        said = [f"{' and '.join(counts)} images"]
        k = [len(self._each(name)) for name in (best, other)]
        if k[0] == k[1] > 1:
            said.append(f"{k[0]} trainings each")
        elif max(k) > 1:
            said.append(f"{k[0]} training{'s' * (k[0] > 1)} and {k[1]}")
        if self.name.endswith(")"):
            return f"{self.name[:-1]}, {', '.join(said)})"
        return f"{self.name} ({', '.join(said)})"


def compare(
    judged: Mapping[str, Sequence[Evaluation]],
    per_class: bool = False,
    recipes: Mapping[str, Sequence[str]] | None = None,
    fewest: int = 2,
) -> list[Comparison]:
    """The metrics that all have, by each one's newest evaluation that has them.

    Args:
        judged: the evaluations of each, oldest first.
        per_class: those of each class too.
        recipes: which of `judged` are trainings of one recipe, by its name. They are one source
            then, whose interval covers retraining. What is named in none stands for itself.
        fewest: sources.

    Raises UserError where there are fewer sources, where one has no evaluation, where they have no
    metric in common, where a metric was taken by different protocols, and where trainings of one
    recipe were drawn differently or are the same.
    """
    recipes = recipes or {}
    members = {member for names in recipes.values() for member in names}
    sources = {name: [name] for name in judged if name not in members}
    sources |= {name: list(names) for name, names in recipes.items()}
    if len(sources) < fewest:
        raise UserError(
            "a comparison needs at least two runs, recipes or files of evaluate --json; name them "
            "one after another"
        )
    newest = {name: _newest(name, evaluations) for name, evaluations in judged.items()}
    compared = [
        _side_by_side(metric, newest, sources) for metric in _common(newest, per_class=per_class)
    ]
    if per_class and not any(each.of_class for each in compared):
        raise UserError(
            "these have no numbers of each class in common; evaluate them all with --per-class"
        )
    return compared


def lacking(
    judged: Mapping[str, Sequence[Evaluation]], found: Sequence[Comparison], per_class: bool
) -> list[str]:
    """The metrics that some of them have and not all, so that they are not compared."""
    every = [each for of in judged.values() for evaluation in of for each in evaluation.estimates]
    names = {each.name for each in every if per_class or not each.of_class}
    return sorted(names - {each.name for each in found})


def _common(newest: Mapping[str, Measured], per_class: bool) -> list[str]:
    """The metrics that all have."""
    common = [
        metric
        for metric, found in next(iter(newest.values())).items()
        if (per_class or not found.estimate.of_class)
        and all(metric in held for held in newest.values())
    ]
    if not common:
        have = "; ".join(f"{name}: {', '.join(found)}" for name, found in newest.items())
        raise UserError(
            f"these have no metric in common ({have}); evaluate them with the same --features, "
            "--resize and --metrics"
        )
    return common


def _newest(name: str, evaluations: Sequence[Evaluation]) -> Measured:
    if not evaluations:
        raise UserError(f"{name} has not been evaluated; run: safelight evaluate {name}")
    return {  # of a likelihood nothing was drawn, even where other metrics stand beside it
        found.name: Measurement(
            found,
            evaluation.drawn if found.protocol.generated else "",
            evaluation.fingerprint,
            evaluation.trained,
            evaluations[-1].trained,
        )
        for evaluation in evaluations
        for found in evaluation.estimates
    }


def _side_by_side(
    metric: str, newest: Mapping[str, Measured], sources: Mapping[str, Sequence[str]]
) -> Comparison:
    found = {name: measured[metric] for name, measured in newest.items()}
    _require_one_protocol(metric, {name: each.estimate for name, each in found.items()})
    trainings: dict[str, dict[str, Estimate]] = {}
    estimates: list[tuple[str, Estimate]] = []
    for name, members in sources.items():
        if len(members) == 1:
            estimates.append((name, found[members[0]].estimate))
            continue
        _require_trainings(metric, {member: found[member] for member in members})
        trainings[name] = {member: found[member].estimate for member in members}
        estimates.append((name, retraining.combined([*trainings[name].values()])))
    drawn = {name: found[members[0]].drawn for name, members in sources.items()}
    differ = len(set(drawn.values())) > 1
    ranked = tuple(sorted(estimates, key=_rank))
    return Comparison(metric, ranked, drawn if differ else {}, trainings)


def _require_one_protocol(metric: str, found: Mapping[str, Estimate]) -> None:
    (name, first), *others = found.items()
    for other, estimate in others:
        if differing := first.protocol.differences(estimate.protocol):
            raise UserError(
                f"{metric} of {name} and of {other} can't be compared, since they were measured "
                f"differently ({'; '.join(differing)}); evaluate both in the same way"
            )


def _require_trainings(metric: str, found: Mapping[str, Measurement]) -> None:
    """Raise UserError where these can't be several trainings of one recipe."""
    for name, each in found.items():
        if each.state != each.newest:
            raise UserError(
                f"{metric} of {name} is of {_options(each.state)}, and its newest evaluation of "
                f"{_options(each.newest)}, so it can't stand for a training of the recipe; "
                "evaluate it again there with all metrics"
            )
    (name, first), *others = found.items()
    for other, each in others:
        if each.drawn != first.drawn:
            raise UserError(
                f"{name} and {other} are trainings of one recipe, but the images of {metric} were "
                f"drawn differently ({first.drawn or 'nothing said'} against "
                f"{each.drawn or 'nothing said'}); evaluate both in the same way, or give each a "
                "name of its own: A=RUN B=RUN"
            )
    known = {each.fingerprint: name for name, each in found.items() if each.fingerprint}
    for name, each in found.items():
        if known.get(each.fingerprint, name) != name:
            raise UserError(
                f"{name} and {known[each.fingerprint]} are the same images, and no two trainings; "
                "leave one out"
            )


def _options(state: Mapping[str, str]) -> str:
    return " ".join(f"--{name} {value}" for name, value in state.items()) or "no state of a run"


def _rank(named: tuple[str, Estimate]) -> float:
    _, estimate = named
    return -estimate.value if estimate.higher_is_better else estimate.value


def _told_apart(apart: Interval) -> bool:
    return not apart.low <= 0 <= apart.high
