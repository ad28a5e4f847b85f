"""Files of published weights: where they lie, where they come from, and how they are read."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from safelight.console import inform
from safelight.errors import DamagedFile, MissingWeights
from safelight.files import writing
from safelight.paths import place


@dataclass(frozen=True)
class Weights:
    """A published file.

    of: the network, as people call it. place: the environment variable that may name the file.
    file: its name in torch's own folder. begins: how its sha256 begins, where its publisher says.
    instead: what to ask for where the file can't be had.
    """

    of: str
    place: str
    url: str
    file: str
    megabytes: int
    begins: str = ""
    instead: str = "--features efficientnet-lite0"

    def path(self) -> Path:
        """The file: from the environment variable, torch's folder, or the network.

        Raises MissingWeights, which says where to get it and where to put it.
        """
        if chosen := os.environ.get(self.place):
            path = place(chosen)
            if not path.is_file():
                raise MissingWeights(
                    f"{self.place} names {path}, which is no file; get it: {self.url}"
                )
            return path
        path = Path(torch.hub.get_dir()) / "checkpoints" / self.file
        if not path.is_file():
            self._download(path)
        return path

    def _download(self, path: Path) -> None:
        inform(f"fetching the {self.of} weights ({self.megabytes:,} MB) from {self.url}")
        prefix = self.begins or None
        try:
            with writing(path) as temporary:
                torch.hub.download_url_to_file(self.url, str(temporary), prefix, progress=False)
        except (OSError, RuntimeError) as error:
            raise MissingWeights(
                f"the {self.of} weights can't be had here ({error}); get {self.url} on a machine "
                f"that can and put it at {path}, or name the file in {self.place}, "
                f"or use {self.instead}"
            ) from error

    def damaged(self, path: Path) -> DamagedFile:
        """The error to raise where `path` holds something else."""
        return DamagedFile(
            f"{path} does not hold the {self.of} weights; delete it and run the command again, or "
            f"get it again: {self.url}"
        )

    def read(self, path: Path) -> dict[str, Tensor]:
        """The tensors of a .safetensors file, or of one that torch wrote, by their names.

        Nothing that could run code is unpickled. Raises DamagedFile where these are not tensors.
        """
        try:
            if path.suffix == ".safetensors":
                return load_file(path)
            held = torch.load(path, map_location="cpu", weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise self.damaged(path) from error
        if not isinstance(held, dict) or not all(isinstance(x, Tensor) for x in held.values()):
            raise self.damaged(path)
        return held
