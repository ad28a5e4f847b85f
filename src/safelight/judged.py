"""What `compare` is given: runs and files of evaluations, and which are trainings of one recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safelight import paths
from safelight.config import Sampling
from safelight.console import inform
from safelight.errors import DamagedFile, UserError
from safelight.evaluation.estimate import Evaluation, parsed
from safelight.files import read_json
from safelight.sources import is_run
from safelight.training.run import Run


@dataclass(frozen=True)
class Judged:
    """The evaluations of each place, oldest first, and the places of each recipe, by its name."""

    evaluations: Mapping[str, Sequence[Evaluation]]
    recipes: Mapping[str, Sequence[str]]

    @property
    def called(self) -> dict[str, str]:
        """The name of each place that alone has it."""
        return {places[0]: name for name, places in self.recipes.items() if len(places) == 1}


def judged(words: Sequence[str | Path]) -> Judged:
    """Read the places that are named, each a run or a file of `evaluate --json`.

    NAME=PLACE gives it a name. Places of one NAME are trainings of one recipe; so are runs without
    a name whose configurations differ by the seed alone, which is said.

    Raises UserError where a place is named twice or is neither, DamagedFile where it can't be read.
    """
    asked = [_named(word) for word in words]
    places = [place for _, place in asked]
    if twice := [place for i, place in enumerate(places) if place in places[:i]]:
        raise UserError(f"{twice[0]} is named twice; name each run or file once")
    if both := [name for name, _ in asked if name in places]:
        raise UserError(f"{both[0]} is the name of one and the place of another; choose a new name")
    runs = {place: Run.open(place) for place in places if is_run(place)}
    found = {place: _evaluations(place, runs.get(place)) for place in places}
    groups: dict[str, list[str]] = {}
    for name, place in asked:
        groups.setdefault(name or place, []).append(place)
    free = {place: runs[place] for name, place in asked if not name and place in runs}
    recipes = _recipes(free, found)
    named = {name for name, _ in asked if name}
    return Judged(found, {name: groups[name] for name in groups if name in named} | recipes)


def _named(word: str | Path) -> tuple[str, str]:
    """NAME=PLACE -> (NAME, PLACE); a path that exists as it stands is left alone."""
    name, equals, place = str(word).partition("=")
    if not equals or not name or not place or paths.is_there(paths.expanded(word)):
        return "", str(word)
    return name, place


def _evaluations(place: str, run: Run | None) -> Sequence[Evaluation]:
    if run is not None:
        return parsed(run.evaluations(), run.metrics_file)
    path = paths.place(place)
    how = f"safelight evaluate IMAGES --against REAL --json {path}"
    if path.is_file() and path.suffix == ".json":
        held = read_json(path, f"write it again: {how}")
        records = held if isinstance(held, list) else [held]
        if not records or not all(isinstance(record, dict) for record in records):
            raise DamagedFile(f"{path} holds no evaluation; write one: {how}")
        return parsed(records, path)
    if path.suffix == ".json":
        raise UserError(f"there is no file {path}; write it: {how}")
    if path.exists():
        raise UserError(
            f"{path} is no run and no file of evaluate --json; evaluate these images first: "
            f"safelight evaluate {path} --against REAL --json {path.stem}.json"
        )
    if path.with_name(f"{path.name}.json").is_file():
        raise UserError(f"there is no run at {place}; did you mean {place}.json?")
    raise UserError(f"there is no run at {path}; train one: safelight train DATA --out {path}")


def _recipes(
    runs: Mapping[str, Run], found: Mapping[str, Sequence[Evaluation]]
) -> dict[str, list[str]]:
    """The runs that differ by the seed alone, by a name of their own; says which they are."""
    alike: dict[str, list[str]] = {}
    for place, run in runs.items():
        if found[place]:
            alike.setdefault(_recipe(run, found[place][-1]), []).append(place)
    recipes: dict[str, list[str]] = {}
    for places in alike.values():
        if len(places) > 1 and _seeds_differ(places, runs):
            name = _common_name(places, {*runs, *found, *recipes})
            recipes[name] = places
            inform(
                f"{', '.join(places)}: trainings of one recipe, which differ by their seed, "
                f"taken together as {name}; to compare them one by one, name them: a={places[0]}"
            )
    return recipes


def _recipe(run: Run, newest: Evaluation) -> str:
    """All that decides a run but the seed, and which of its images were judged."""
    step = newest.trained.get("checkpoint", "")
    state = "last" if step in ("", str(run.plan.steps)) else step
    return json.dumps(
        [
            run.config.model_dump(mode="json", exclude={"seed"}),
            run.file.fingerprint,
            run.file.shape,
            state,
            newest.trained.get("weights", "ema"),
            # with what an older evaluation could not say, for it was drawn as is usual
            Sampling().model_dump() | dict(newest.sampling),
        ],
        sort_keys=True,
    )


def _seeds_differ(places: Sequence[str], runs: Mapping[str, Run]) -> bool:
    seeds = [runs[place].config.seed for place in places]
    if len(set(seeds)) == len(seeds):
        return True
    inform(
        f"{', '.join(places)} have one configuration, but the seeds {', '.join(map(str, seeds))}: "
        "they are compared one by one, since the same seed is no other training"
    )
    return False


def _common_name(places: Sequence[str], taken: set[str]) -> str:
    """What the names begin with, such as runs/flow for runs/flow-0 and runs/flow-1."""
    shared = os.path.commonprefix(list(places))  # noqa: RUF071 - letters, not folders
    common = shared.rstrip("-_. ").removesuffix("seed").rstrip("-_. ")
    if not common or common.endswith("/") or common in taken:
        return f"{places[0]} and the like"
    return common
