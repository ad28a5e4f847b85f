"""What was found wrong with the images behind a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safelight.evaluation.compare import Comparison
from safelight.evaluation.estimate import Evaluation
from safelight.evaluation.finding import Finding


def cautions(
    judged: Mapping[str, Sequence[Evaluation]], comparisons: Sequence[Comparison]
) -> list[str]:
    """The findings of the evaluations whose numbers are compared, each once: "NAME: TEXT".

    judged: what the comparisons were made of, oldest first.
    """
    lines = (
        f"{name}: {finding.text}"
        for name, evaluations in judged.items()
        for comparison in comparisons
        for finding in _newest(comparison.name, evaluations)
    )
    return list(dict.fromkeys(lines))


def _newest(metric: str, evaluations: Sequence[Evaluation]) -> tuple[Finding, ...]:
    """Of the last evaluation that has the metric, which is the one that was compared."""
    having = [each for each in evaluations if any(e.name == metric for e in each.estimates)]
    return having[-1].findings if having else ()
