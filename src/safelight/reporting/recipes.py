"""How to make each figure of the page again: the commands and the seeds."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.config import Config, Likelihood, Sampling, Section
from safelight.evaluation.estimate import Evaluation
from safelight.evaluation.metrics import of_the_network_asked
from safelight.evaluation.protocol import Protocol
from safelight.evaluation.resizes import unusual
from safelight.presets import PRESETS
from safelight.reporting import words
from safelight.reporting.collect import A_CLASS, FRAMES, STRIPS, ReportData
from safelight.reporting.shell import prepared_first
from safelight.reporting.words import place
from safelight.training.networks import further_options
from safelight.training.options import unsettled

OTHER_PICTURES = "PICTURES"  # in a command: real ones that are not the run's own
IN_ONE_WORD = ("optimiser.betas",)  # several numbers, with commas between them


@dataclass(frozen=True)
class Recipe:
    title: str
    about: str
    command: str


def commands(data: ReportData) -> dict[str, str]:
    """The commands for this run, for a shell."""
    run, cache = (shlex.quote(place(path)) for path in (data.path, data.pictures.path))
    held_out = data.copying.held_out
    against = f"{cache}:{held_out.split}" if held_out else cache
    judging = f"safelight evaluate {run} --against {against}"
    return {
        "resume": f"safelight train {cache} --resume --out {run}",
        "conditional": f"safelight prepare FOLDER --out {cache}\nsafelight train {cache} --out RUN",
        "evaluate": f"{judging}\nsafelight report {run}",
        "memorisation": f"{judging} --metrics memorisation\nsafelight report {run}",
        "report": f"safelight report {run}",
        "again": prepared_first(data.pictures, f"{_train(data, cache)} --out AGAIN"),
    }


def _train(data: ReportData, cache: str) -> str:
    """The command that trains the same weights: what the plan had measured is given in figures."""
    planned = data.config.model_copy(
        update={
            "budget": f"{data.plan.steps}steps",
            "precision": data.plan.precision,
            "diffusion": unsettled(data.config.diffusion),
        }
    )
    options = {
        name: list(_differences(_beside(planned, preset), preset))
        for name, preset in PRESETS.items()
        # Options of another library's network can't be taken back beside another --net.kind.
        if not preset.net.options or preset.net.kind == planned.net.kind
    }
    preset = min(options, key=lambda name: len(options[name]))
    changed = [word for name, value in options[preset] for word in _option(name, value)]
    return f"safelight train {cache} {shlex.join(['--preset', preset, *changed])}"


def _beside(config: Config, preset: Config) -> Config:
    """The same, of --net.options only those that are given on top of the preset's."""
    options = further_options(config.net, preset.net) or preset.net.options
    return config.model_copy(update={"net": config.net.model_copy(update={"options": options})})


def _differences(config: Config, preset: Config) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every option that is not as in the preset."""
    usual = _flat(preset)
    for name, value in _flat(config).items():
        if value != usual[name]:
            yield name, value


def _flat(values: Section, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values:
        flat |= _flat(value, f"{name}.") if isinstance(value, Section) else {prefix + name: value}
    return flat


def _option(name: str, value: Any) -> list[str]:
    """An option of `safelight train`: a switch is turned off by --section.no-name."""
    section, dot, own = name.rpartition(".")
    if isinstance(value, bool):
        return [f"--{section}{dot}{own if value else 'no-' + own}"]
    if isinstance(value, dict):
        return [f"--{name}", json.dumps(value)]
    parts = [str(part) for part in (value if isinstance(value, tuple) else (value,))]
    return [f"--{name}", *([",".join(parts)] if name in IN_ONE_WORD else parts)]


def _evaluate(data: ReportData, evaluation: Evaluation) -> str:
    """The commands that find the numbers of this evaluation, one for each count of images."""
    counts: dict[int, list[Protocol]] = {}
    parts = [
        e for e in evaluation.estimates if e.of_class and e.protocol.metric != "accuracy-per-class"
    ]
    for estimate in evaluation.estimates:
        if estimate in parts:  # their images are some of those of the whole
            continue
        protocol = estimate.protocol
        counts.setdefault(protocol.generated or protocol.reference, []).append(protocol)
    whole = [_evaluate_at(data, evaluation, *count) for count in counts.items()]
    return "\n".join(f"{command} --per-class" if parts else command for command in whole)


def _evaluate_at(
    data: ReportData, evaluation: Evaluation, n: int, protocols: Sequence[Protocol]
) -> str:
    metrics = dict.fromkeys(protocol.metric for protocol in protocols)
    networks = [each.network for each in protocols if of_the_network_asked(each.metric)]
    resizes = [name for each in protocols if (name := unusual(each.resize))]
    drawn = any(protocol.generated for protocol in protocols)
    words = [
        *("safelight", "evaluate", place(data.path)),
        *_against(data, evaluation),
        *(["--features", networks[0]] if networks else []),
        *(["--resize", resizes[0]] if resizes else []),
        *("--metrics", ",".join(metrics)),
        *("-n", str(n), "--seed", str(protocols[0].seed)),
        *(word for name, value in evaluation.trained.items() for word in (f"--{name}", value)),
        *(_changed(Sampling(), evaluation.sampling) if drawn else []),
        *(_changed(Likelihood(), evaluation.likelihood, "likelihood.") if "bpd" in metrics else []),
    ]
    return shlex.join(words)


def _against(data: ReportData, evaluation: Evaluation) -> list[str]:
    """Nothing for the test split of the run's own cache, which `evaluate` takes by itself."""
    name, _, split = evaluation.against.partition(":")
    if name != data.pictures.name:
        return ["--against", OTHER_PICTURES]
    place_of = ":".join(filter(None, (place(data.pictures.path), split)))
    return [] if split == "test" else ["--against", place_of]


def _changed(usual: Section, given: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The options of `evaluate` that were not as usual."""
    for name in type(usual).model_fields:
        value = given.get(name, getattr(usual, name))
        if value != getattr(usual, name):
            words = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield from (f"--{prefix}{name.replace('_', '-')}", words)


def recipes(data: ReportData) -> list[Recipe]:
    """The model, the page, and each figure that depends on seeds."""
    shell = commands(data)
    return [
        Recipe(
            "The model",
            f"Training seed {data.config.seed}; the same pictures, machine and "
            f"{words.plural(data.plan.threads, 'thread')} give the same weights.",
            shell["again"],
        ),
        Recipe("This page", "Draws the same pictures from the same seeds.", shell["report"]),
        *_samples(data),
        *_development(data),
        *_numbers(data),
    ]


def _development(data: ReportData) -> list[Recipe]:
    if data.development is None:
        return []
    develop = (
        "from safelight.training.run import Run\n\n"
        f"source = Run.open({place(data.path)!r}).diffusion_source()\n"
        f"seeds = range({STRIPS})\n"
        f"levels, x_t, x_0 = source.develop(seeds, source.labels(seeds), {FRAMES})"
    )
    return [Recipe("From noise to picture", f"Seeds 0 to {STRIPS - 1}, in Python.", develop)]


def _numbers(data: ReportData) -> list[Recipe]:
    return [_numbers_of(data, newest) for newest in data.evaluations[-1:] if newest.estimates]


def _numbers_of(data: ReportData, evaluation: Evaluation) -> Recipe:
    about, command = (
        "Each protocol above says what decides its number.",
        _evaluate(data, evaluation),
    )
    if OTHER_PICTURES in command:
        about += f" {OTHER_PICTURES} stands for the place of {evaluation.against}."
    return Recipe("Numbers", about, command)


def _samples(data: ReportData) -> list[Recipe]:
    """The two grids. `sample` counts its -n for each class, and seed s is of class s modulo K."""
    run, K = shlex.quote(place(data.path)), len(data.classes) if data.conditional else 1
    drawn = len(data.samples.seeds)
    grid = Recipe(
        "Samples, and nearest training pictures" if data.restored is None else "Samples",
        f"Seeds 0 to {drawn - 1}{', classes in turn' if data.conditional else ''}.",
        f"safelight sample {run} -n {-(-drawn // K)} --seed 0 --out samples",
    )
    if not data.by_class:
        return [grid]
    first = data.by_class[0].seeds
    about = f"{data.classes[0]}: seeds {first[0]}, {first[1]} to {first[-1]}, and so on in turn."
    command = f"safelight sample {run} -n {A_CLASS} --seed {first[0]} --out each-class"
    return [grid, Recipe("Each class", about, command)]
