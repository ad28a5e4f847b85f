"""What was found wrong with the images behind a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safelight.evaluation.compare import Comparison
from safelight.evaluation.estimate import Evaluation


def cautions(
    judged: Mapping[str, Sequence[Evaluation]],
    comparisons: Sequence[Comparison],
    called: Mapping[str, str],
) -> list[str]:
    """The findings of the evaluations whose numbers are compared, each once: "NAME: TEXT"; and
    sources that are the same images.

    judged: what the comparisons were made of, oldest first. called: the name of each.
    """
    compared = [
        (called.get(name, name), found)
        for name, evaluations in judged.items()
        for comparison in comparisons
        for found in _newest(comparison.name, evaluations)
    ]
    lines = [f"{name}: {finding.text}" for name, found in compared for finding in found.findings]
    names: dict[tuple[str, str], dict[str, None]] = {}
    for name, found in compared:
        if found.fingerprint:
            names.setdefault((found.fingerprint, found.drawn), {})[name] = None
    lines += [f"{', '.join(same)} are the same images" for same in names.values() if len(same) > 1]
    return list(dict.fromkeys(lines))


def _newest(metric: str, evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The last evaluation that has the metric, which is the one that was compared, if any."""
    return [each for each in evaluations if any(e.name == metric for e in each.estimates)][-1:]
