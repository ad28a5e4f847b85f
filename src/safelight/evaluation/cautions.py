"""What was found wrong with the images behind a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from safelight.evaluation.compare import Comparison
from safelight.evaluation.estimate import Evaluation


def cautions(
    judged: Mapping[str, Sequence[Evaluation]], comparisons: Sequence[Comparison]
) -> list[str]:
    """The findings of the evaluations whose numbers are compared, each once: "NAME: TEXT".

    judged: what the comparisons were made of.
    """
    lines = (
        f"{name}: {finding.text}"
        for name, evaluations in judged.items()
        for comparison in comparisons
        for evaluation in _newest(comparison.name, evaluations)
        for finding in evaluation.findings
    )
    return list(dict.fromkeys(lines))


def _newest(metric: str, evaluations: Sequence[Evaluation]) -> Iterator[Evaluation]:
    """Of each source the last one that has the metric."""
    having = (each for each in evaluations if any(e.name == metric for e in each.estimates))
    yield from {each.source: each for each in having}.values()
