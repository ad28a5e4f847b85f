"""The metrics: every number with its interval, its floor and its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from safelight.evaluation.estimate import Estimate, Evaluation
from safelight.reporting import plots, words
from safelight.reporting.collect import ReportData


@dataclass(frozen=True)
class ProtocolShown:
    hash: str
    names: str
    rows: list[tuple[str, Any]]


@dataclass(frozen=True)
class EvaluationShown:
    about: str
    overall: list[Estimate]
    by_class: list[Estimate]
    protocols: list[ProtocolShown]
    class_protocols: list[ProtocolShown]
    findings: list[str]
    curves: list[Markup]


def evaluations(data: ReportData) -> list[EvaluationShown]:
    """The newest first."""
    numbered = list(enumerate(data.evaluations))
    return [_evaluation(each, number) for number, each in reversed(numbered)]


@dataclass(frozen=True)
class Trend:
    name: str
    svg: Markup
    real: bool  # whether real images' values are drawn too


def trends(data: ReportData) -> list[Trend]:
    """Each number that was measured alike of several checkpoints."""
    found: dict[tuple[str, ...], dict[int, Estimate]] = {}
    for each in data.evaluations:
        if "checkpoint" not in each.trained:  # of an older version
            continue
        how = (each.drawn, each.trained.get("weights", ""))
        for estimate in each.estimates:
            if not estimate.of_class:
                points = found.setdefault((estimate.name, estimate.protocol.hash, *how), {})
                points[int(each.trained["checkpoint"])] = estimate
    return [
        Trend(
            name,
            plots.measured(f"measured-{i}", sorted(points.items())),
            any(point.floor for point in points.values()),
        )
        for i, ((name, *_), points) in enumerate(found.items())
        if len(points) > 1
    ]


def _evaluation(evaluation: Evaluation, number: int) -> EvaluationShown:
    parts = [e for e in evaluation.estimates if e.of_class]
    whole = [e for e in evaluation.estimates if not e.of_class]
    drawn = f" ({evaluation.drawn})" if evaluation.drawn else ""
    about = f"{evaluation.source}{drawn} against {evaluation.against}"
    about = f"{about}, {words.day(evaluation.created)}."
    wrong = [finding.text for finding in evaluation.findings]
    curves = [
        plots.against_count(estimate, f"infinity-{number}-{place}")
        for place, estimate in enumerate(whole)
        if estimate.curve
    ]
    return EvaluationShown(about, whole, parts, _protocols(whole), _protocols(parts), wrong, curves)


def _protocols(estimates: Sequence[Estimate]) -> list[ProtocolShown]:
    """Each different protocol once, with the names of its numbers and the method of interval."""
    groups: dict[str, list[Estimate]] = {}
    for estimate in estimates:
        groups.setdefault(estimate.protocol.hash, []).append(estimate)
    return [
        ProtocolShown(key, _names(group), [*_fields(group[0]), ("interval", group[0].interval)])
        for key, group in groups.items()
    ]


def _names(estimates: Sequence[Estimate]) -> str:
    """ "accuracy[0], accuracy[1], …" is shortened to three names."""
    names = [estimate.name for estimate in estimates]
    return ", ".join(names if len(names) <= 3 else [*names[:2], "…", names[-1]])


def _fields(estimate: Estimate) -> list[tuple[str, Any]]:
    held = estimate.protocol.to_json()
    return [
        (name.replace("_", " "), words.count(v) if isinstance(v, int) else v)
        for name, v in held.items()
        if v not in ("", None)
    ]


def gauge(estimate: Estimate) -> Markup:
    """Value with interval, and the real-against-real band, on one scale that starts at zero."""
    floor = estimate.floor
    ends = [estimate.low, estimate.high, *([floor.low, floor.high] if floor else [])]
    low, high = min(0.0, *ends), max(0.0, *ends)

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low or 1)

    def band(kind: str, start: float, end: float) -> str:
        left, width = place(start), place(end) - place(start)
        return f'<i class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%"></i>'

    real = band("floor", floor.low, floor.high) if floor else ""
    reach = band("reach", estimate.low, estimate.high)
    dot = f'<i class="dot" style="left:{place(estimate.value):.2f}%"></i>'
    return Markup(
        f'<div class="gauge" aria-hidden="true"><i class="track"></i>{real}{reach}{dot}</div>'
    )
