"""The verb `report`: one HTML file that opens offline."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import safelight
from safelight.evaluation.estimate import COVERS
from safelight.files import write_text
from safelight.reporting import copying, curves, numbers, sections, words
from safelight.reporting.collect import ReportData, collect
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
SMOOTH_FROM = 64  # pixels; larger pictures are no longer shown with square pixels
MOST_REJECTED = 100

# A darkroom lamp: a housing, and the red window that lights without spoiling the paper.
LAMP = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" aria-hidden="true">'
    '<path fill="#4a413c" d="M14 1h4v5h6l4 6v14a3 3 0 0 1-3 3H7a3 3 0 0 1-3-3V12l4-6h6z"/>'
    '<circle cx="16" cy="18.5" r="7.5" fill="#b3260e"/>'
    '<circle cx="16" cy="18.5" r="4" fill="#ff6a3d"/></svg>'
)


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
    environment = Environment(
        loader=PackageLoader("safelight.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = words.count
    environment.filters["plural"] = words.plural
    return environment.get_template("report.html.j2").render(_context(data))


def _context(data: ReportData) -> dict[str, Any]:
    """What the templates may name."""
    frames = sections.frames(data)
    return {
        **_frame(data),
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
        "most_rejected": MOST_REJECTED,
        "recipes": recipes(data),
        "commands": commands(data),
        "configuration": _yaml(data),
        "machine": _machine(data),
    }


def _frame(data: ReportData) -> dict[str, Any]:
    """What stands around the sections."""
    return {
        "data": data,
        "version": safelight.__version__,
        "created": f"{words.day(data.created.isoformat())}, {data.created:%H:%M}",
        "place": words.place(data.path),
        "headline": sections.headline(data),
        "facts": sections.facts(data),
        "sections": [{"id": key, "title": SECTIONS[key]} for key in _sections(data)],
        "lamp": Markup(LAMP.replace(' xmlns="http://www.w3.org/2000/svg"', "")),
        "icon": base64.b64encode(LAMP.encode()).decode(),
        "smooth": " smooth" if max(data.shape[1:]) > SMOOTH_FROM else "",
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
