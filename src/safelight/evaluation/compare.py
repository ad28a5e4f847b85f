"""Several evaluations side by side: only what was measured alike, and with a plain verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from safelight.errors import UserError
from safelight.evaluation.estimate import COVERS, Estimate, Evaluation, Interval

HIGHER_IS_BETTER = ("accuracy", "accuracy-per-class")
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


def compare(judged: Mapping[str, Sequence[Evaluation]]) -> list[Comparison]:
    """The metrics that all have, by each one's newest evaluation that has them.

    Raises UserError where there are fewer than two sources, where one has no evaluation, where
    they have no metric in common, and where a metric was taken by different protocols.
    """
    if len(judged) < 2:
        raise UserError("a comparison needs at least two runs; name them one after another")
    newest = {name: _newest(name, evaluations) for name, evaluations in judged.items()}
    first, *others = newest.values()
    common = [metric for metric in first if all(metric in other for other in others)]
    if not common:
        have = "; ".join(f"{name}: {', '.join(found)}" for name, found in newest.items())
        raise UserError(
            f"these have no metric in common ({have}); evaluate them with the same --features "
            "and --metrics"
        )
    return [_side_by_side(metric, newest) for metric in common]


def table(comparison: Comparison) -> Table:
    shown = Table(
        title=Text(comparison.name),
        caption=Text("\n".join((*comparison.sentences, COVERS))),
        caption_justify="left",
        box=None,
        padding=(0, 2),
    )
    for column in ("", "value", "95 % interval", "real images instead"):
        shown.add_column(column, justify="right" if column else "left")
    for name, found in comparison.estimates:
        floor = found.show(found.floor.value) if found.floor else "none"
        interval = f"{found.show(found.low)} to {found.show(found.high)}"
        called = "\n".join(filter(None, (name, comparison.drawn.get(name))))
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
    higher = estimate.protocol.metric in HIGHER_IS_BETTER
    return -estimate.value if higher else estimate.value


def _verdict(best: str, first: Estimate, name: str, other: Estimate) -> str:
    apart = difference(first, other)
    if apart.low <= 0 <= apart.high:
        return f"{best} and {name}: cannot tell from {first.n:,} and {other.n:,} images"
    near, far = sorted((abs(apart.low), abs(apart.high)))
    return (
        f"{best} is better than {name} by {first.show(abs(apart.value))} "
        f"[{first.show(near)}, {first.show(far)}]"
    )
