"""What a rule gives: a finding and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_NAMED = 6


@dataclass(frozen=True)
class Advice:
    """text: what was found and what it means, in sentences.

    change: options of `prepare` that mend it; where they are as before, to prepare again once the
    files are mended; None where neither helps. command: for a run that was trained on it, RUN.
    """

    text: str
    change: Mapping[str, Any] | None = None
    command: str = ""


def listed(names: Sequence[str]) -> str:
    """ "a, b and 7 more"."""
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED:,} more"


def counted(n: int, one: str, many: str) -> str:
    """ "1 picture is", "2,000 pictures are"."""
    return f"{n:,} {one if n == 1 else many}"


def percent(share: float) -> str:
    """0.034 -> "3.4 %"; from 10 % on without decimals, and never "0 %" of something."""
    value = 100 * share
    if 0 < value < 0.1:
        return "under 0.1 %"
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"
