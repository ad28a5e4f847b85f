"""A run's folder: what was asked, what happened, and the models that came of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from safelight.config import Config, Plan, RunFile, Sampling
from safelight.configfile import load_yaml, save_yaml
from safelight.data.cache import Cache
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.path import Path as DiffusionPath
from safelight.errors import DamagedFile, UserError
from safelight.files import disk_errors, read_json, write_json, write_text
from safelight.images import save_png
from safelight.locks import locked
from safelight.training.checkpoint import Checkpoint, checkpoints, load_weights
from safelight.training.learners import build_denoiser, lowest_trained
from safelight.training.source import USUAL, DiffusionSource, Model


@dataclass(frozen=True)
class Summary:
    """A run in figures, as its newest checkpoint has them."""

    parameters: int
    steps: int
    planned_steps: int
    images_seen: int
    seconds: float  # of training
    images_per_second: float
    device: str
    precision: str
    finished: bool
    versions: dict[str, str]


class Run:
    """RUN/config.yaml · log.jsonl · checkpoints/ · samples/ · metrics.json · report.html"""

    def __init__(self, path: Path, file: RunFile) -> None:
        self.path, self.file = path, file

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Raises UserError where there is no run at `path`, DamagedFile where it can't be read."""
        path = Path(path)
        if not path.is_dir():
            raise UserError(
                f"there is no run at {path}; train one: safelight train DATA --out {path}"
            )
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"{path} is not a run (it has no config.yaml); name a folder that train made"
            )
        remedy = f"restore it from a copy, or train again into another folder than {path}"
        return cls(path, load_yaml(RunFile, path / "config.yaml", remedy))

    @classmethod
    def create(cls, path: Path, file: RunFile) -> Run:
        save_yaml(path / "config.yaml", file)
        return cls(path, file)

    @property
    def config(self) -> Config:
        return self.file.config

    @property
    def plan(self) -> Plan:
        return self.file.plan

    @property
    def name(self) -> str:
        return self.path.resolve().name

    # What happened

    def append(self, kind: str, **values: Any) -> None:
        """Add a record to log.jsonl. A line that a kill cuts short is dropped on resuming."""
        with disk_errors(self._log), self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"kind": kind, **values}) + "\n")

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self._records() if record["kind"] == kind]

    def rewind(self, step: int) -> None:
        """Forget what was logged and drawn after `step`; resuming will do it again."""
        kept = [record for record in self._records() if record["step"] <= step]
        write_text(self._log, "".join(json.dumps(record) + "\n" for record in kept))
        for later, picture in self.previews():
            if later > step:
                picture.unlink()

    def previews(self) -> list[tuple[int, Path]]:
        """(step, contact sheet of always the same seeds), oldest first."""
        pictures = sorted((self.path / "samples" / "progress").glob("step-*.png"))
        return [(int(picture.stem.removeprefix("step-")), picture) for picture in pictures]

    def save_preview(self, step: int, sheet: Image) -> None:
        save_png(sheet, self.path / "samples" / "progress" / f"step-{step:08d}.png")

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.json"

    def evaluations(self) -> list[dict[str, Any]]:
        """What `evaluate` found, oldest first."""
        if not self.metrics_file.exists():
            return []
        remedy = "move it away, and run `safelight evaluate` again"
        found = read_json(self.metrics_file, remedy)
        if not isinstance(found, list):
            raise DamagedFile(f"{self.metrics_file} holds no list of evaluations; {remedy}")
        return found

    def add_evaluation(self, evaluation: dict[str, Any]) -> None:
        with locked(self.path / "config.yaml"):  # two that end at once write one after the other
            write_json(self.metrics_file, [*self.evaluations(), evaluation])

    # What came of it

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, name: str | None = None) -> Checkpoint:
        """The newest checkpoint, or the one called `name` (step-00001000, or 1000)."""
        found = checkpoints(self.checkpoint_folder)
        if not found:
            raise UserError(f"{self.path} has no checkpoint yet; go on with: {self.command}")
        if name is None:
            return found[-1]
        for candidate in found:
            if name in (candidate.path.name, str(candidate.step)):
                return candidate
        steps = ", ".join(str(candidate.step) for candidate in found)
        raise UserError(f"{self.path} has no checkpoint {name!r}; choose one of: {steps}")

    @property
    def command(self) -> str:
        """What goes on with this run."""
        words = ("safelight", "train", self.file.cache, "--resume", "--out", str(self.path))
        return shlex.join(words)

    @property
    def summary(self) -> Summary:
        state = self.checkpoint().state()
        done = state.progress
        return Summary(
            parameters=state.parameters,
            steps=done.step,
            planned_steps=self.plan.steps,
            images_seen=done.images,
            seconds=done.seconds,
            images_per_second=done.images / max(done.seconds, 1e-9),
            device=state.device,
            precision=self.plan.precision,
            finished=done.step == self.plan.steps,
            versions=state.versions,
        )

    def cache(self) -> Cache:
        """The pictures that it learnt from; raises UserError where they have changed since."""
        if not Path(self.file.cache).exists():
            raise UserError(
                f"the pictures of {self.path} are no longer at {self.file.cache}; say where they "
                f"are now: safelight train PLACE --resume --out {shlex.quote(str(self.path))}"
            )
        cache = Cache.open(Path(self.file.cache))
        if cache.subset("train").fingerprint != self.file.fingerprint:
            raise DamagedFile(
                f"{self.file.cache} has changed since {self.path} was trained on it; "
                "prepare the pictures as they were, or train a new run"
            )
        return cache

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it was trained to tell apart; empty for an unconditional model."""
        return self.file.classes if self.config.data.conditional else ()

    @property
    def classless(self) -> bool:
        """Whether it can draw without a class: it knows none, or saw pictures without theirs."""
        return not self.classes or self.config.diffusion.label_dropout > 0

    def denoiser(self, checkpoint: str | None = None, weights: str = "ema") -> Denoiser:
        """The trained denoiser; weights "ema" or "raw"."""
        return self._model(self.checkpoint(checkpoint), weights).denoiser

    def _model(self, chosen: Checkpoint, weights: str) -> Model:
        """What one checkpoint holds: while a run goes on, the newest is soon another."""
        denoiser = build_denoiser(
            self.config, self.file.shape, len(self.file.classes), self.plan.sigma_data
        )
        digest = chosen.state().digest(weights)  # checks that no file has changed
        load_weights(denoiser, chosen.weights(weights), chosen.path)
        lowest = lowest_trained(self.config.diffusion, denoiser.path)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return Model(denoiser.to(device).requires_grad_(False), digest, lowest)

    def source(
        self,
        sampling: Sampling = USUAL,
        checkpoint: str | None = None,
        weights: str = "ema",
        lowest: float | None = None,
    ) -> DiffusionSource:
        """Its images. Raises UserError where `sampling` asks for what the model has not.

        lowest: the noise level to draw down to, unless `sampling` says; where training ended
        unless given.
        """
        return self.sources((sampling,), checkpoint, weights, lowest)[0]

    def sources(
        self,
        samplings: Sequence[Sampling],
        checkpoint: str | None = None,
        weights: str = "ema",
        lowest: float | None = None,
    ) -> list[DiffusionSource]:
        """One for each way of drawing; they share the network, which is read once."""
        chosen = self.checkpoint(checkpoint)
        model = self._model(chosen, weights)
        weaker = {
            name: self._weaker(name, weights, model.denoiser.path)
            for name in {sampling.weaker for sampling in samplings}
        }
        return [
            DiffusionSource(
                model,
                name=f"{self.name} (step {chosen.step}, {weights})",
                trained={"checkpoint": str(chosen.step), "weights": weights},
                shape=self.file.shape,
                classes=self.classes,
                classless=self.classless,
                sampling=sampling,
                weaker=weaker[sampling.weaker],
                lowest=lowest,
                micro_batch=self.plan.micro_batch,
            )
            for sampling in samplings
        ]

    def _weaker(self, name: str | None, weights: str, path: DiffusionPath) -> Model | None:
        """The model called STEP, of this run, or RUN:STEP."""
        if name is None:
            return None
        place, colon, step = name.rpartition(":")
        other = Run.open(Path(place).expanduser()) if colon else self
        model = other._model(other.checkpoint(step), weights)
        for what, same in (
            ("pictures of another shape", other.file.shape == self.file.shape),
            ("other classes", other.classes == self.classes),
            ("another path", _agree(model.denoiser.path, path)),
        ):
            if not same:
                raise UserError(
                    f"--weaker {name} has {what} than {self.path}; name a checkpoint that "
                    "differs only in its training or its network"
                )
        return model

    @property
    def _log(self) -> Path:
        return self.path / "log.jsonl"

    def _records(self) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        return [r for r in map(_parsed, self._log.read_text("utf-8").splitlines()) if r]


def _agree(a: DiffusionPath, b: DiffusionPath) -> bool:
    """Whether both have the same alpha and sigma at all times."""
    t = torch.linspace(0, 1, 65, dtype=torch.float64)
    return torch.allclose(a.alpha(t), b.alpha(t)) and torch.allclose(a.sigma(t), b.sigma(t))


def _parsed(line: str) -> dict[str, Any] | None:
    """One record; None for a line that a kill cut short."""
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return record
