"""Where the time of a training step goes, told: files in the run's folder, and a table."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from safelight.console import inform, status
from safelight.files import write_json, writing_folder
from safelight.reporting import words
from safelight.reporting.paper import COLOURS, PAPER, save
from safelight.training.devices import describe, versions
from safelight.training.run import Run
from safelight.training.step_times import StepTimes

FOLDER = "step-times"  # of a run
SUMMARY, TRACE, PICTURE = "summary.json", "trace.json.gz", "shares.png"
LETTERS = 110  # of a line below the picture


def tell(found: StepTimes, run: Run) -> None:
    """Write what was found into a folder of the run, in the place of what was there; show it."""
    path, about = run.path / FOLDER, _about(found, run)
    with writing_folder(path) as folder:
        summary = {"format": 1, **about, "versions": versions(), **found.to_json()}
        write_json(folder / SUMMARY, summary)
        found.save_trace(folder / TRACE)
        save(lambda: figure(found, about), folder / PICTURE)
    status.print(table(found))
    inform(_told(found))
    inform(f"a step's picture, numbers and trace (for https://ui.perfetto.dev): {path}")


def _about(found: StepTimes, run: Run) -> dict[str, Any]:
    return {
        "run": run.name,
        "device": describe(found.device),
        "precision": run.plan.precision,
        "batch": run.config.optimiser.batch,
        "micro_batch": run.plan.smallest,
    }


def _told(found: StepTimes) -> str:
    """Which steps these are, and what looking at them did."""
    steps = f"means of the steps {words.count(found.first)} to {words.count(found.last)}"
    what = "time of the GPU" if found.device.type == "cuda" else "time of the processor"
    if found.slower is None:
        return f"{steps}, {what}"
    before = words.plural(len(found.before), "step")
    return (
        f"{steps}, {what}; looked at, they took {found.slower:.2f} times as long as {before} before"
    )


def _rows(found: StepTimes) -> list[tuple[str, float]]:
    """The kinds that take time and their seconds, the largest first."""
    taken = [(kind, share.seconds) for kind, share in found.shares.items() if share.seconds]
    return sorted(taken, key=lambda row: -row[1])


def table(found: StepTimes) -> Table:
    """A row for each kind that takes time, and the whole step."""
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    shown.add_column("a training step")
    for header in ("share", "ms"):
        shown.add_column(header, justify="right")
    for kind, seconds in [*_rows(found), ("all", found.whole)]:
        shown.add_row(kind, f"{100 * seconds / found.whole:.1f} %", f"{1e3 * seconds:,.2f}")
    return shown


def figure(found: StepTimes, about: Mapping[str, Any]) -> Figure:
    """A bar for each kind that takes time; they sum up to the step."""
    rows = _rows(found)
    shares = [100 * seconds / found.whole for _, seconds in rows]
    drawn = Figure(figsize=(7.4, 1.2 + 0.27 * len(rows)), layout="constrained", facecolor=PAPER)
    axes = drawn.add_subplot()
    axes.set_facecolor(PAPER)
    bars = axes.barh([kind for kind, _ in rows], shares, color=COLOURS["first"], height=0.7)
    values = [f"{s:.1f} %   {1e3 * t:,.1f} ms" for s, (_, t) in zip(shares, rows, strict=True)]
    axes.bar_label(bars, values, padding=4, fontsize=8, color=COLOURS["quiet"])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(shares))  # room for the words beside the longest
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.grid(visible=False)  # each bar says its value
    axes.set_xlabel("% of a step", fontsize=8)
    whole = f"Where a training step goes: {1e3 * found.whole:,.1f} ms in all"
    axes.set_title(whole, fontsize=10, color=COLOURS["ink"], loc="left")
    images = f"{about['batch']} images a step, {about['micro_batch']} at once"
    setting = f"{about['run']}: {about['device']}, {about['precision']}, {images}"
    below = textwrap.fill(f"{setting}; {_told(found)}", LETTERS)
    drawn.supxlabel(below, fontsize=7.5, color=COLOURS["quiet"])
    return drawn
