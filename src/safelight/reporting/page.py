"""The verb `report`: one HTML file that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from markupsafe import Markup

from safelight.evaluation.estimate import COVERS
from safelight.files import write_text
from safelight.reporting import copying, curves, numbers, sections, words
from safelight.reporting.collect import ReportData, collect
from safelight.reporting.frame import Frame, render
from safelight.reporting.recipes import commands, recipes

if TYPE_CHECKING:
    from safelight.training.run import Run

SECTIONS = {  # id, which is also the template's name: title in the contents
    "samples": "Samples",
    "classes": "Each class",
    "development": "From noise to picture",
    "training": "While it learned",
    "curves": "Loss",
    "copying": "Nearest training pictures",
    "numbers": "Numbers",
    "data": "Data",
    "reproduce": "Make it again",
    "configuration": "Machine and configuration",
}


def report(run: Run, out: Path | None = None) -> Path:
    """Write the report of a run to `out`, or into the run's folder; gives the path written.

    Draws about two hundred pictures, which takes from seconds to minutes. Raises UserError where
    the run has no checkpoint yet or the file can't be written.
    """
    out = out or run.path / "report.html"
    write_text(out, page(collect(run)))
    return out


def page(data: ReportData) -> str:
    """The HTML of a run's report."""
    frame = Frame(
        kind="report",
        name=data.name,
        headline=sections.headline(data),
        facts=sections.facts(data),
        notices=_notices(data),
        folder="run/",
        sections={key: SECTIONS[key] for key in _sections(data)},
        place=words.place(data.path),
        created=data.created,
        height=data.shape[1],
        width=data.shape[2],
    )
    return render(frame, _context(data))


def _notices(data: ReportData) -> list[str | Markup]:
    """What one has to know of the run before reading on."""
    found: list[str | Markup] = [f"{data.warning.capitalize()}."] if data.warning else []
    if not data.summary.finished:
        steps, planned = map(words.count, (data.summary.steps, data.summary.planned_steps))
        going_on = (
            "This run is not finished: {} of {} steps are done. Give the same "
            "<code>safelight train</code> command again and it goes on."
        )
        found.insert(0, Markup(going_on).format(steps, planned))
    return found


def _context(data: ReportData) -> dict[str, Any]:
    """What the templates may name."""
    frames = sections.frames(data)
    return {
        "data": data,
        "samples": sections.samples(data),
        "sampling": sections.sampling(data),
        "by_class": sections.by_class(data),
        "levels": sections.levels_of(data.development) if data.development else [],
        "strips": sections.strips(data),
        "frames": frames,
        "film": sections.film(frames),
        "plots": curves.curves(data),
        "copying": copying.copying(data),
        "evaluations": numbers.evaluations(data),
        "trends": numbers.trends(data),
        "covers": COVERS,
        "gauge": numbers.gauge,
        "pictures": sections.pictures(data),
        "recipes": recipes(data),
        "commands": commands(data),
        "configuration": _yaml(data),
        "machine": _machine(data),
    }


def _sections(data: ReportData) -> list[str]:
    """What there is to tell: an autoencoder draws no class, and pictures come back of it."""
    without = set() if data.development else {"development"}
    without |= set() if data.restored is None else {"classes", "copying"}
    return [key for key in SECTIONS if key not in without]


def _yaml(data: ReportData) -> str:
    whole = {"config": data.config.model_dump(mode="json"), "plan": data.plan.model_dump()}
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)


def _machine(data: ReportData) -> list[tuple[str, str]]:
    summary = data.summary
    return [
        ("machine", summary.device),
        ("precision", summary.precision),
        *sorted(summary.versions.items()),
    ]
