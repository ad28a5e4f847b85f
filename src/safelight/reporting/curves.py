"""The plots of a run's records, each with its title, legend and note."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safelight.reporting import measured, plots, words
from safelight.reporting.collect import ReportData
from safelight.reporting.plots import Key, Plot


def curves(data: ReportData) -> list[Plot]:
    """The plots for which there are records."""
    logged, found = (records[0] if records else {} for records in (data.training, data.validation))
    losses = [name for name in logged if name.split()[-1] == "loss"]
    watched = [row for row in WATCHED if row[0] in found]
    every = (
        *(_training_plot(data, name) for name in losses),
        *(_validation_plot(data, *row) for row in watched),
        *measured.curves(data),
        _noise_plot(data),
        _speed_plot(data),
    )
    return [plot for plot in every if plot]


# What validation may find: its name in the log, the axis, and the title.
WATCHED = (
    ("mean", "validation loss", "Validation loss"),
    ("diversity", "diversity", "Diversity of the images"),
    ("distance", "distance", "Distance from real images"),
    ("reconstruction", "PSNR (dB)", "PSNR of held-out pictures"),
    ("bits", "bits", "What the latents tell"),
)
NOTES = {
    "diversity": "How far an image is from the nearest other one; real images have 1. It falls "
    "where many seeds give the same.",
    "distance": "How far an image is from the nearest real one; real images have 1.",
    "reconstruction": "Mean over the pictures, each from the mean of its latents.",
    "bits": "Divergence of the latents from a normal distribution, for each value of a picture.",
}


def _training_plot(data: ReportData, loss: str) -> Plot | None:
    if len(data.training) < 2:
        return None
    window = max(1, len(data.training) // plots.WINDOW)
    keys = [Key("first", f"mean of the last {window} records"), Key("raw", "each record")]
    if window == 1:
        keys = [Key("first", "each record")]
    title = "Training loss" if loss == "loss" else loss.capitalize()
    return Plot(title, plots.training_loss(data.training, loss), keys)


def _validation_plot(data: ReportData, column: str, label: str, title: str) -> Plot:
    keys = [Key("first", "averaged weights (EMA)")]
    if any(record["weights"] == "raw" for record in data.validation):
        keys.append(Key("second", "raw weights"))
    note = NOTES.get(column) or f"Mean over {_levels(data)}."
    return Plot(title, plots.validation(data.validation, column, label), keys, note)


def _levels(data: ReportData) -> str:
    return words.plural(len(data.validation[0]["sigma"]), "noise level")


def _noise_plot(data: ReportData) -> Plot | None:
    chosen = plots.chosen_validations([r for r in data.validation if "sigma" in r])
    if not chosen:
        return None
    strengths = plots.opacities(len(chosen))
    keys = [
        Key("first", f"step {words.count(record['step'])}", f"{strength:.2f}")
        for record, strength in zip(chosen, strengths, strict=True)
    ]
    svg = plots.loss_by_noise(chosen)
    latent = data.config.diffusion.autoencoder is not None  # they don't lie in [-1, 1]
    note = f"Averaged weights.{'' if latent else _psnr(chosen[-1])}"
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
