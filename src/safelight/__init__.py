"""Safelight trains, samples and judges image generators on one's own pictures."""

from safelight.config import Config, Sampling
from safelight.errors import UserError
from safelight.verbs import compare, demo, evaluate, prepare, presets, report, sample, train

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Sampling",
    "UserError",
    "compare",
    "demo",
    "evaluate",
    "prepare",
    "presets",
    "report",
    "sample",
    "train",
]
