"""Checkpoints: a folder a step, complete or absent, with nothing in it that runs code.

CHECKPOINT/model.safetensors       the weights
CHECKPOINT/ema-0.050.safetensors   their average; the number is its width. A wide one beside it
CHECKPOINT/optimiser.safetensors   the optimiser's tensors, named <parameter>.<state>
CHECKPOINT/learner.safetensors     what is learnt or remembered besides the model, if anything
CHECKPOINT/state.json              step, time spent, versions, and the hash of each file above
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from safelight.errors import DamagedFile, UserError, lookup
from safelight.files import TEMPORARY, read_json, save_tensors, sha256, write_json, writing_folder

FORMAT = 1
EXTRAS = "learner.safetensors"
DIGITS = 8  # of the step in a folder's name
RAW, EMA = "raw", "ema"  # the last weights, and the average that is drawn with


class Progress(BaseModel):
    """Where a run is."""

    model_config = ConfigDict(frozen=True)

    step: int
    images: int
    seconds: float
    """Of training, over all resumptions."""


class State(BaseModel):
    """state.json"""

    format: int
    progress: Progress
    files: Annotated[dict[str, str], Field(min_length=3)]
    """SHA-256 of each file: weights, averages, optimiser; and the learner's, if it has one."""
    parameters: int
    device: str
    versions: dict[str, str]

    def digest(self, kind: str) -> str:
        """The hash of the weights; kind: see `Checkpoint.weights`."""
        return self.files[_file(self.files, kind)]


@dataclass(frozen=True)
class Checkpoint:
    path: Path

    @property
    def step(self) -> int:
        return int(self.path.name.removeprefix("step-"))

    def state(self) -> State:
        """state.json, after checking that this version reads it and that no file has changed."""
        remedy = f"delete {self.path} to go on from the checkpoint before it"
        values = read_json(self.path / "state.json", remedy)
        if isinstance(values, dict) and str(values.get("format", FORMAT)) > str(FORMAT):
            raise DamagedFile(f"{self.path} was made by a newer version; update safelight")
        try:
            state = State.model_validate(values)
        except ValidationError as error:
            raise DamagedFile(f"{self.path / 'state.json'} was edited; {remedy}") from error
        for name, digest in state.files.items():
            file = self.path / name
            if not file.is_file() or sha256(file) != digest:
                raise DamagedFile(f"{file} is missing, cut short or edited; {remedy}")
        return state

    def weights(self, kind: str) -> dict[str, Tensor]:
        """kind: "raw", "ema" for the average that is drawn with, or one's name: "ema-0.250"."""
        return _load(self.path / _file((file.name for file in self.path.glob("*")), kind))

    def extras(self) -> dict[str, Tensor]:
        """What the learner held besides the model; nothing where it held nothing."""
        path = self.path / EXTRAS
        return _load(path) if path.exists() else {}


def save(
    folder: Path,
    progress: Progress,
    model: nn.Module,
    averages: dict[str, dict[str, Tensor]],
    optimiser: Optimizer,
    extras: dict[str, Tensor],
    about: dict[str, Any],
) -> Checkpoint:
    """Write FOLDER/step-00001234; `averages` maps names such as "ema-0.050" to weights.

    extras: what the learner holds besides the model.
    """
    path = folder / f"step-{progress.step:0{DIGITS}d}"
    with writing_folder(path) as temporary:
        save_tensors(model.state_dict(), temporary / "model.safetensors")
        for name, weights in averages.items():
            save_tensors(weights, temporary / f"{name}.safetensors")
        save_tensors(_flatten(optimiser), temporary / "optimiser.safetensors")
        if extras:
            save_tensors(extras, temporary / EXTRAS)
        files = {file.name: sha256(file) for file in sorted(temporary.iterdir())}
        state = State(format=FORMAT, progress=progress, files=files, **about)
        write_json(temporary / "state.json", state.model_dump())
    return Checkpoint(path)


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: Path) -> None:
    """Copy weights into a model; raises UserError where they belong to another architecture."""
    state = model.state_dict()
    for name in sorted(state.keys() | weights.keys()):
        have = tuple(weights[name].shape) if name in weights else None
        want = tuple(state[name].shape) if name in state else None
        if have != want:
            raise UserError(
                f"{where} belongs to another network: {name} is {have or 'absent'} there and "
                f"{want or 'absent'} here; use the configuration it was trained with"
            )
    model.load_state_dict(weights)


def load_optimiser(optimiser: Optimizer, checkpoint: Checkpoint) -> None:
    tensors = _load(checkpoint.path / "optimiser.safetensors")
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = _laid_out(tensor, parameters[int(index)])
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """The same in memory as its parameter is: fused optimisers go through both as they lie."""
    if moment.shape != parameter.shape:  # a count of steps
        return moment
    return torch.empty_like(parameter, dtype=moment.dtype, device=moment.device).copy_(moment)


def checkpoints(folder: Path) -> list[Checkpoint]:
    """All complete ones, oldest first."""
    return [Checkpoint(path) for path in sorted(folder.glob(f"step-{'[0-9]' * DIGITS}"))]


def prune(folder: Path, keep: int) -> None:
    for old in checkpoints(folder)[:-keep]:
        # Renamed first: a kill while it is emptied must not leave half of a checkpoint.
        doomed = old.path.replace(folder / f"{TEMPORARY}{old.path.name}")
        shutil.rmtree(doomed, ignore_errors=True)


def _file(names: Iterable[str], kind: str) -> str:
    """The weights' file; of the averages, the narrowest is drawn with (see `ema.kept`)."""
    averages = sorted((name for name in names if name.startswith("ema-")), reverse=True)
    files = {RAW: "model.safetensors"}
    for name in averages:
        files |= {EMA: name, name.removesuffix(".safetensors"): name}
    return lookup(files, kind, "weights")


def _flatten(optimiser: Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{key}": value
        for index, entries in state.items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise DamagedFile(
            f"{path} is missing or damaged; delete {path.parent} to use the checkpoint before it"
        ) from error
