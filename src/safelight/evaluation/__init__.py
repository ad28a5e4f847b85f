"""Judging: numbers that carry their interval, their floor and their protocol."""

from __future__ import annotations

from safelight.evaluation.estimate import COVERS, Estimate, Evaluation, Interval
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.protocol import Protocol
from safelight.evaluation.table import table

__all__ = [
    "COVERS",
    "FEATURES",
    "METRICS",
    "Estimate",
    "Evaluation",
    "Interval",
    "Protocol",
    "evaluate",
    "table",
]
