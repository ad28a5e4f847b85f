"""The plots of a run's records, each with its title, legend and note."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from safelight.report import plots, words
from safelight.report.collect import ReportData


@dataclass(frozen=True)
class Key:
    """One entry of a plot's legend: the role names its colour in the style sheet."""

    role: str
    text: str
    strength: str = ""


@dataclass(frozen=True)
class Plot:
    title: str
    svg: Markup
    keys: list[Key]
    note: str = ""


def curves(data: ReportData) -> list[Plot]:
    """The plots for which there are records."""
    every = (_training_plot(data), _validation_plot(data), _noise_plot(data), _speed_plot(data))
    return [plot for plot in every if plot]


def _training_plot(data: ReportData) -> Plot | None:
    if len(data.training) < 2:
        return None
    window = max(1, len(data.training) // plots.WINDOW)
    keys = [
        Key("first", f"mean of the last {words.plural(window, 'record')}"),
        Key("raw", "each record"),
    ]
    return Plot("Training loss", plots.training_loss(data.training), keys)


def _validation_plot(data: ReportData) -> Plot | None:
    if not data.validation:
        return None
    keys = [Key("first", "averaged weights (EMA)")]
    if any(record["weights"] == "raw" for record in data.validation):
        keys.append(Key("second", "raw weights"))
    note = f"Mean over {words.plural(len(data.validation[0]['sigma']), 'noise level')}."
    return Plot("Validation loss", plots.validation_loss(data.validation), keys, note)


def _noise_plot(data: ReportData) -> Plot | None:
    chosen = plots.chosen_validations(data.validation)
    if not chosen:
        return None
    strengths = plots.opacities(len(chosen))
    keys = [
        Key("first", f"step {words.count(record['step'])}", f"{strength:.2f}")
        for record, strength in zip(chosen, strengths, strict=True)
    ]
    svg = plots.loss_by_noise(chosen)
    note = f"Averaged weights.{_psnr(chosen[-1])}"
    return Plot("Validation loss by noise level", svg, keys, note)


def _psnr(record: Mapping[str, Any]) -> str:
    """The guess's PSNR at three levels; nothing in runs from before it was recorded."""
    found = list(zip(record["sigma"], record.get("psnr", ()), strict=False))
    shown = [
        f"{words.significant(psnr, 3)} dB at {words.significant(sigma, 2)}"
        for sigma, psnr in found[:: max(1, (len(found) - 1) // 2)]
    ]
    return f" PSNR of the last guess of the picture: {', '.join(shown)}." if shown else ""


def _speed_plot(data: ReportData) -> Plot | None:
    if len(data.training) < 2:
        return None
    note = "Of the training steps alone. Dips come from other work on the machine."
    return Plot("Speed", plots.speed(data.training), [], note)
