"""What the terminal shows: results on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Pipeable(Console):
    """A console whose reader may leave, as in `safelight demo | head`: the work goes on unseen."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# no emoji: rich would draw a tram for the split in "digits:train: 3 of 5"
results = Pipeable(highlight=False, soft_wrap=True, emoji=False)
status = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

LINE_EVERY = 15.0  # seconds between progress lines where there is no terminal to draw a bar on


class Advance(Protocol):
    """count: of what is counted, parts of one included."""

    def __call__(self, count: float = 1, note: str = "") -> None: ...


def say(text: str) -> None:
    """Print one result line (rich markup is not interpreted)."""
    results.print(text, markup=False)


def wrapped(text: str, indent: str = "") -> str:
    """Lines that fit a terminal, broken between words; elsewhere the line as it is.

    indent: before each line but the first.
    """
    if not results.is_terminal:
        return text
    return textwrap.fill(text, results.width, subsequent_indent=indent)


def inform(text: str) -> None:
    """Print one line about what is going on, out of the way of the results."""
    status.print(text, markup=False)


@contextlib.contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Advance]:
    """A bar with the time left; plain lines now and then where there is no terminal."""
    shown = _bar if status.is_terminal else _lines
    with shown(description, total, done) as advance:
        yield advance


@contextlib.contextmanager
def _bar(description: str, total: int, done: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=status) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")
        count_now: float = done

        def advance(count: float = 1, note: str = "") -> None:
            nonlocal count_now
            count_now += count
            bar.update(task, completed=_rounded(count_now))
            if note:
                bar.update(task, note=note)

        yield advance


@contextlib.contextmanager
def _lines(description: str, total: int, done: int) -> Iterator[Advance]:
    began = last = time.monotonic()
    count_now: float = done

    def advance(count: float = 1, note: str = "") -> None:
        nonlocal last, count_now
        count_now += count
        now = time.monotonic()
        if now - last < LINE_EVERY:
            return
        last = now
        rate = (count_now - done) / (now - began)
        left = timedelta(seconds=round((total - count_now) / rate)) if rate else "unknown"
        whole = int(_rounded(count_now))
        inform(f"{description}: {whole} of {total}, {left} left{'; ' if note else ''}{note}")

    yield advance
    sys.stderr.flush()


def _rounded(count: float) -> float:
    """Ten tenths are one."""
    return round(count, 6)
