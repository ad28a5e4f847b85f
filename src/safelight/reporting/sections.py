"""What the page says and shows of a run, from `ReportData`, ready to be placed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from torch import Tensor

from safelight.reporting import plots, words
from safelight.reporting.collect import Development, ReportData, Samples
from safelight.reporting.counts import CountsShown, counts_shown
from safelight.reporting.pictures import Picture, picture, sheet, spread
from safelight.training.families import family_of

MOST_FRAMES = 36


@dataclass(frozen=True)
class Shown:
    """A picture, what hovering over it tells, and what stands under it."""

    picture: Picture
    title: str


def headline(data: ReportData) -> str:
    """The run in one sentence."""
    summary = data.summary
    family = family_of(data.config)
    kind = "A class-conditional" if data.conditional else "An unconditional"
    called = f"{kind} {family.called}" if family.classes else f"An {family.called}"
    coder = data.config.diffusion.autoencoder
    where = f", in the latents of {coder}," if coder else ""
    classes = f", {words.plural(len(data.pictures.classes), 'class', 'classes')}"
    return (
        f"{called} of "
        f"{words.large(summary.parameters)} parameters, trained on "
        f"{words.count(data.copying.training)} images of {data.pictures.name} "
        f"({words.look(data.shape)}{classes if data.pictures.classes else ''}){where} for "
        f"{words.duration(summary.seconds)} at {words.count(summary.images_per_second)} images a "
        f"second on {summary.device}, {summary.precision}."
    )


def facts(data: ReportData) -> list[tuple[str, str]]:
    """(value, name) of the figures under the headline."""
    summary = data.summary
    return [
        (words.large(summary.parameters), "parameters"),
        (words.count(data.copying.training), "training images"),
        (words.duration(summary.seconds), "training time"),
        (words.count(summary.steps), "steps"),
        (words.large(summary.images_seen), "images seen"),
        (words.count(summary.images_per_second), "images a second"),
    ]


def sampling(data: ReportData) -> str:
    """How the pictures were drawn."""
    drawn = f"Drawn with the averaged weights by {data.sampling}"
    if data.network_calls is None:
        return f"{drawn}, which calls the network as often as a picture needs."
    if data.network_calls == 1:
        return f"{drawn}."
    calls = words.plural(data.network_calls, "call")
    return f"{drawn}; {calls} of the network a picture."


def class_name(data: ReportData, labels: Tensor | None, i: int) -> str:
    """The class of picture i, to stand behind its seed; nothing where there are no classes."""
    return f", class {data.classes[int(labels[i])]}" if labels is not None else ""


def samples(data: ReportData) -> list[Shown]:
    """Of an autoencoder each picture, and then what came back of it."""
    if data.restored is None:
        return gallery(data, data.samples)
    names = [f"picture {seed}" for seed in data.samples.seeds]
    pairs = zip(names, data.restored, data.samples.images, strict=True)
    return [
        Shown(picture(image, title), title)
        for name, there, back in pairs
        for title, image in ((name, there), (f"{name}, restored", back))
    ]


def gallery(data: ReportData, samples: Samples) -> list[Shown]:
    titles = [
        f"seed {seed}{class_name(data, samples.labels, i)}" for i, seed in enumerate(samples.seeds)
    ]
    return [
        Shown(picture(image, f"sample, {title}"), title)
        for image, title in zip(samples.images, titles, strict=True)
    ]


def by_class(data: ReportData) -> list[tuple[str, list[Shown]]]:
    names = data.classes[: len(data.by_class)]
    return [(n, gallery(data, s)) for n, s in zip(names, data.by_class, strict=True)]


@dataclass(frozen=True)
class Strip:
    """One picture on its way from noise."""

    title: str
    states: list[Picture]
    guesses: list[Picture]


def strips(data: ReportData) -> list[Strip]:
    """Of a model that has a way from noise."""
    way = data.development
    return [_strip(data, way, i) for i in range(len(way.seeds))] if way else []


def _strip(data: ReportData, way: Development, i: int) -> Strip:
    title = f"seed {way.seeds[i]}{class_name(data, way.labels, i)}"
    levels = levels_of(way)
    states = zip(way.states[:, i], levels, strict=True)
    guesses = zip(way.guesses[:, i], levels, strict=True)
    return Strip(
        title,
        [picture(x, f"{title}, at noise level {level}") for x, level in states],
        [picture(x, f"{title}, guessed at noise level {level}") for x, level in guesses],
    )


def levels_of(way: Development) -> list[str]:
    return [plots.plain(float(f"{level:.2g}")) for level in way.levels]


@dataclass(frozen=True)
class Frame:
    picture: Picture
    label: str


def frames(data: ReportData) -> list[Frame]:
    """The contact sheets drawn during training, evenly thinned to MOST_FRAMES."""
    kept = [data.previews[i] for i in spread(data.previews, MOST_FRAMES)]
    labels = [f"step {words.count(step)}" for step, _ in kept]
    return [
        Frame(sheet(path, f"samples at {label}"), label)
        for (_, path), label in zip(kept, labels, strict=True)
    ]


def film(shown: Sequence[Frame]) -> Markup:
    """The frames as JSON for the page's script; nothing in it can end the script element."""
    text = json.dumps([{"uri": f.picture.uri, "label": f.label} for f in shown])
    return Markup(text.replace("<", "\\u003c"))


@dataclass(frozen=True)
class DataShown:
    about: str
    counts: CountsShown
    rejected: list[tuple[str, str]]


def pictures(data: ReportData) -> DataShown:
    held = data.pictures
    counts = counts_shown(held.counts)
    about = (
        f"{words.plural(sum(counts.totals), 'picture')} from {held.name}, {words.look(data.shape)}"
        f"{words.shown(data.shape[0])}. Training sees the first split only."
    )
    return DataShown(about, counts, list(held.rejected))
