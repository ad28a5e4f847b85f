"""A run's folder: what was asked, what happened, and the models that came of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL.Image import Image
from torch import Tensor, nn

from safelight.config import Config, Plan, RunFile, Sampling
from safelight.configfile import load_yaml, save_yaml
from safelight.data.cache import Cache
from safelight.diffusion.denoiser import Denoiser
from safelight.errors import DamagedFile, UserError
from safelight.files import disk_errors, read_json, write_json, write_text
from safelight.images import save_png
from safelight.locks import locked
from safelight.machine import device
from safelight.paths import place
from safelight.training import choosing, diffusion_sources, snapshots
from safelight.training.batches import centred
from safelight.training.checkpoint import EMA, RAW, Checkpoint, checkpoints, load_weights
from safelight.training.codec import Codec
from safelight.training.families import Family, classes_told, family_of
from safelight.training.learner import Problem
from safelight.training.source import USUAL, DiffusionSource
from safelight.training.watching import ModelSource

ALL = "all"  # checkpoints


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
    """RUN/config.yaml · log.jsonl · checkpoints/ · averages/ · samples/ · metrics.json …

    weights, wherever they are asked for: "ema" for the average that is looked at in training, "raw"
    for the last weights, or the width of another average, such as "0.1" (see `choosing`).
    """

    def __init__(self, path: Path, file: RunFile) -> None:
        self.path, self.file = path, file

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Raises UserError where there is no run at `path`, DamagedFile where it can't be read."""
        path = place(path)
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
    def create(cls, path: Path, file: RunFile, codec: Codec | None = None) -> Run:
        """codec: where latents are learnt; the run keeps a copy."""
        run = cls(path, file)
        if codec is not None:
            codec.save(path)
            run.__dict__["codec"] = codec
        save_yaml(path / "config.yaml", file)
        return run

    def replan(self, plan: Plan) -> None:
        """Write down what has become of the plan on the way."""
        self.file = self.file.model_copy(update={"plan": plan})
        save_yaml(self.path / "config.yaml", self.file)

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

    def warning(self, upto: int | None = None) -> str:
        """What has gone wrong, by the validations of the averaged weights (records[:upto])."""
        records = [r for r in self.records("validation") if r["weights"] == "ema"][:upto]
        return self.family.warning(records, self.plan.steps) if records else ""

    def rewind(self, step: int) -> None:
        """Forget what was logged, drawn and kept after `step`; resuming will do it again."""
        kept = [record for record in self._records() if record["step"] <= step]
        write_text(self._log, "".join(json.dumps(record) + "\n" for record in kept))
        for later, picture in self.previews():
            if later > step:
                picture.unlink()
        snapshots.forget(self.averages_folder, step)

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

    @property
    def averages_folder(self) -> Path:
        return self.path / "averages"

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

    def steps(self, wanted: str | None) -> list[str | None]:
        """The checkpoints that `wanted` names, oldest first: all, 500,1000 or a single one.

        None, which is the newest whatever it is, stays None. Raises UserError for unknown ones.
        """
        if wanted is None:
            return [None]
        every = [self.checkpoint(), *checkpoints(self.checkpoint_folder)]
        found = every if wanted == ALL else map(self.checkpoint, wanted.split(","))
        return [str(step) for step in sorted({each.step for each in found})]

    def states(self, wanted: str | None, weights: str) -> list[tuple[str | None, str]]:
        """(checkpoint, weights) of each that is named, such as all and ema,0.1; see `steps`.

        Raises UserError for weights that can't be had.
        """
        usual = self.config.ema
        words = dict.fromkeys(choosing.settled(word, usual) for word in weights.split(","))
        found = [(step, word) for step in self.steps(wanted) for word in words]
        for step, word in found:
            self._average(self.checkpoint(step), word)
        return found

    @property
    def command(self) -> str:
        """What goes on with this run."""
        words = ("safelight", "train", self.file.cache, "--resume", "--out", str(self.path))
        return shlex.join(words)

    def further(self, budget: str) -> str:
        """What trains on from its weights, in a new run."""
        out = ("--out", f"{self.path}-further")
        words = ("safelight", "train", self.file.cache, "--start", str(self.path))
        return shlex.join((*words, "--budget", budget, *out))

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
        """The pictures that it learnt from, of the size that it learnt; all of their splits.

        Raises UserError where they have changed since.
        """
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
        return centred(cache, self.config.data)

    def alike(self, cache: Cache) -> Cache:
        """Its own pictures, named as a cache, of the size that it learnt; others as they are."""
        own = cache.path.resolve() == Path(self.file.cache).resolve()
        return centred(cache, self.config.data) if own else cache

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it was trained to tell apart; empty for an unconditional model."""
        return classes_told(self.config, self.file.classes)

    @property
    def classless(self) -> bool:
        """Whether it can draw without a class: it knows none, or saw pictures without theirs."""
        return not self.classes or self.config.diffusion.label_dropout > 0

    def model(self, chosen: Checkpoint, weights: str) -> tuple[nn.Module, str]:
        """The model of a checkpoint, ready to draw with, and the hash of its weights.

        One checkpoint gives both: while a run goes on, the newest is soon another.
        """
        shape = self.codec.latent if self.codec else self.file.shape
        problem = Problem(shape, len(self.classes), self.plan.sigma_data)
        model = self.family.model(self.config, problem)
        digest, state = self._read(chosen, choosing.settled(weights, self.config.ema))
        load_weights(model, state, chosen.path)
        return model.to(device()).eval().requires_grad_(False), digest

    def _read(self, chosen: Checkpoint, word: str) -> tuple[str, dict[str, Tensor]]:
        """The hash of the weights, and they themselves."""
        made = self._average(chosen, word)
        if made is None:
            return chosen.state().digest(word), chosen.weights(word)  # state: no file has changed
        return made.digest(word), made.weights()

    def _average(self, chosen: Checkpoint, word: str) -> choosing.Average | None:
        """How these weights are made; None for those that the checkpoint has."""
        if word in (EMA, RAW):
            return None
        return choosing.average(self.averages_folder, chosen, word, self.config.ema)

    def named(self, chosen: Checkpoint, weights: str) -> dict[str, Any]:
        """The name of a source of its images, and what it was trained to be, as options."""
        word = choosing.settled(weights, self.config.ema)
        return {
            "name": f"{self.name} (step {chosen.step}, {choosing.called(word)})",
            "trained": {"checkpoint": str(chosen.step), "weights": word},
        }

    def source(
        self,
        sampling: Sampling = USUAL,
        checkpoint: str | None = None,
        weights: str = EMA,
    ) -> ModelSource:
        """Its images. Raises UserError where `sampling` asks for what the model has not."""
        return self.sources((sampling,), checkpoint, weights)[0]

    def sources(
        self,
        samplings: Sequence[Sampling],
        checkpoint: str | None = None,
        weights: str = "ema",
    ) -> Sequence[ModelSource]:
        """One for each way of drawing; they share the network, which is read once."""
        return self.family.sources(self, self.checkpoint(checkpoint), weights, samplings)

    def diffusion_source(
        self,
        sampling: Sampling = USUAL,
        checkpoint: str | None = None,
        weights: str = "ema",
        lowest: float | None = None,
    ) -> DiffusionSource:
        """The images of a diffusion model; raises UserError where the run is of another family.

        lowest: the noise level to draw down to, unless `sampling` says; where training ended
        unless given.
        """
        self.require_diffusion()
        return diffusion_sources.sources(
            self, self.checkpoint(checkpoint), weights, (sampling,), lowest
        )[0]

    def denoiser(self, checkpoint: str | None = None, weights: str = "ema") -> Denoiser:
        """The trained denoiser; raises UserError where the run is of another family."""
        self.require_diffusion()
        return diffusion_sources.load(self, self.checkpoint(checkpoint), weights).denoiser

    def require_diffusion(self) -> None:
        """Raises UserError where the run is of another family."""
        if self.config.family != "diffusion":
            raise UserError(
                f"{self.path} is of the family {self.config.family}; this needs a diffusion model, "
                "which goes from noise to picture step by step"
            )

    def require_pixels(self) -> None:
        """Raises UserError where the run is of another family, or draws latents."""
        self.require_diffusion()
        if self.config.diffusion.autoencoder is not None:
            raise UserError(
                f"{self.path} draws the latents of an autoencoder; this needs a diffusion model of "
                "the pictures themselves, trained without --diffusion.autoencoder"
            )

    @cached_property
    def codec(self) -> Codec | None:
        """The autoencoder in whose latents the model draws; None where it draws pictures."""
        if self.config.diffusion.autoencoder is None:
            return None
        return Codec.load(self.path, device())

    @property
    def family(self) -> Family:
        return family_of(self.config)

    @property
    def _log(self) -> Path:
        return self.path / "log.jsonl"

    def _records(self) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        return [r for r in map(_parsed, self._log.read_text("utf-8").splitlines()) if r]


def _parsed(line: str) -> dict[str, Any] | None:
    """One record; None for a line that a kill cut short."""
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return record
