"""Several evaluations side by side: only what was measured alike, and with a plain verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from safelight.errors import UserError
from safelight.evaluation.estimate import COVERS, Estimate, Evaluation, Interval
from safelight.images import pieces

COLUMNS = 3  # of classes beside one another: as many as 80 characters hold
Measured = Mapping[str, tuple[Estimate, str]]  # by metric, each with how the images were drawn


@dataclass(frozen=True)
class Comparison:
    """One metric of several sources, measured by one protocol; best first.

    drawn: how the images of each source were drawn, in words, where that differs between them.
    """

    name: str
    estimates: tuple[tuple[str, Estimate], ...]
    drawn: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_class(self) -> str:
        """The class whose images it is of; empty: of all."""
        return self.estimates[0][1].of_class

    @property
    def sentences(self) -> tuple[str, ...]:
        """What can be said of the best against each other one."""
        (best, first), *others = self.estimates
        return tuple(_verdict(best, first, name, other) for name, other in others)


def difference(first: Estimate, second: Estimate) -> Interval:
    """second - first. Its interval takes the two as independent samples.

    They are judged by the same reference images, whose chance moves both alike: the interval is,
    if anything, too wide.
    """
    value = second.value - first.value
    low = math.hypot(second.value - second.low, first.high - first.value)
    high = math.hypot(second.high - second.value, first.value - first.low)
    return Interval(value, value - low, value + high)


def compare(
    judged: Mapping[str, Sequence[Evaluation]], per_class: bool = False
) -> list[Comparison]:
    """The metrics that all have, by each one's newest evaluation that has them.

    With `per_class` those of each class too.

    Raises UserError where there are fewer than two sources, where one has no evaluation, where
    they have no metric in common, and where a metric was taken by different protocols.
    """
    if len(judged) < 2:
        raise UserError("a comparison needs at least two runs; name them one after another")
    newest = {name: _newest(name, evaluations) for name, evaluations in judged.items()}
    common = [
        metric
        for metric, (estimate, _) in next(iter(newest.values())).items()
        if (per_class or not estimate.of_class) and all(metric in held for held in newest.values())
    ]
    if not common:
        have = "; ".join(f"{name}: {', '.join(found)}" for name, found in newest.items())
        raise UserError(
            f"these have no metric in common ({have}); evaluate them with the same --features "
            "and --metrics"
        )
    compared = [_side_by_side(metric, newest) for metric in common]
    if per_class and not any(each.of_class for each in compared):
        raise UserError(
            "these have no numbers of each class in common; evaluate them all with --per-class"
        )
    return compared


def tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """One for each metric; where it is of classes too, one with a column for each.

    With more classes than COLUMNS leaves room for there are several.
    """
    metrics: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        metrics.setdefault(comparison.estimates[0][1].overall, []).append(comparison)
    return [
        by_class(name, found[part], found[0])
        if any(each.of_class for each in found)
        else table(found[0])
        for name, found in metrics.items()
        for part in pieces(len(found), COLUMNS)
    ]


def by_class(name: str, compared: Sequence[Comparison], first: Comparison) -> Table:
    """The sources below one another as in `first`, the classes side by side."""
    said = [f"{each.of_class or 'all'}: {it}" for each in compared for it in each.sentences]
    shown = _empty(name, said, ["", *(each.of_class or "all" for each in compared)])
    columns = [dict(each.estimates) for each in compared]
    for source, _ in first.estimates:
        cells = [_cell(column[source], column[source]) for column in columns]
        shown.add_row(*map(Text, (_called(source, first), *cells)))
    floors = [(held, held.floor) for each in compared for _, held in each.estimates[:1]]
    real = [_cell(held, floor) if floor else "none" for held, floor in floors]
    shown.add_row(*map(Text, ("real images instead", *real)))
    return shown


def _cell(estimate: Estimate, of: Estimate | Interval) -> str:
    return f"{estimate.show(of.value)}\n{estimate.show(of.low)} to {estimate.show(of.high)}"


def _called(source: str, comparison: Comparison) -> str:
    return "\n".join(filter(None, (source, comparison.drawn.get(source))))


def _empty(title: str, said: Sequence[str], columns: Sequence[str]) -> Table:
    shown = Table(
        title=Text(title),
        caption=Text("\n".join((*said, COVERS))),
        caption_justify="left",
        box=None,
        padding=(0, 2),
    )
    for column in columns:
        shown.add_column(Text(column), justify="right" if column else "left", no_wrap=bool(column))
    return shown


def table(comparison: Comparison) -> Table:
    columns = ("", "value", "95 % interval", "real images instead")
    shown = _empty(comparison.name, comparison.sentences, columns)
    for name, found in comparison.estimates:
        floor = found.show(found.floor.value) if found.floor else "none"
        interval = f"{found.show(found.low)} to {found.show(found.high)}"
        called = _called(name, comparison)
        shown.add_row(*map(Text, (called, found.show(found.value), interval, floor)))
    return shown


def _newest(name: str, evaluations: Sequence[Evaluation]) -> Measured:
    if not evaluations:
        raise UserError(f"{name} has not been evaluated; run: safelight evaluate {name}")
    return {  # of a likelihood nothing was drawn, even where other metrics stand beside it
        found.name: (found, evaluation.drawn if found.protocol.generated else "")
        for evaluation in evaluations
        for found in evaluation.estimates
    }


def _side_by_side(metric: str, newest: Mapping[str, Measured]) -> Comparison:
    found = [(name, measured[metric][0]) for name, measured in newest.items()]
    drawn = {name: measured[metric][1] for name, measured in newest.items()}
    (name, first), *others = found
    for other, estimate in others:
        if differing := first.protocol.differences(estimate.protocol):
            raise UserError(
                f"{metric} of {name} and of {other} can't be compared, since they were measured "
                f"differently ({'; '.join(differing)}); evaluate both in the same way"
            )
    differ = len(set(drawn.values())) > 1
    return Comparison(metric, tuple(sorted(found, key=_rank)), drawn if differ else {})


def _rank(named: tuple[str, Estimate]) -> float:
    _, estimate = named
    return -estimate.value if estimate.higher_is_better else estimate.value


def _verdict(best: str, first: Estimate, name: str, other: Estimate) -> str:
    apart = difference(first, other)
    if apart.low <= 0 <= apart.high:
        return f"{best} and {name}: cannot tell from {first.n:,} and {other.n:,} images"
    near, far = sorted((abs(apart.low), abs(apart.high)))
    return (
        f"{best} is better than {name} by {first.show(abs(apart.value))} "
        f"[{first.show(near)}, {first.show(far)}]"
    )
