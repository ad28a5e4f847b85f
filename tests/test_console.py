"""What is said of how far a work is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from safelight import console


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_parts_of_one_tell_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """X5: without a terminal, before the first image is done; ten tenths are one image."""
    clock = Clock()
    monkeypatch.setattr(console.time, "monotonic", clock)
    with console.progress("sampling", 3) as advance:
        for _ in range(30):
            clock.now += 5.0
            advance(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 30 * 5 / console.LINE_EVERY
    assert lines[0] == "sampling: 0 of 3, 0:02:15 left"
    assert lines[-1] == "sampling: 3 of 3, 0:00:00 left"


def test_a_bar_shows_whole_ones_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(console, "status", shown)
    with console.progress("sampling", 3) as advance:
        for _ in range(30):
            advance(0.1)
    assert isinstance(shown.file, io.StringIO)
    assert "3/3" in shown.file.getvalue()
