"""Data sets of the Hugging Face Hub by name: their parquet files are fetched once and kept."""

from __future__ import annotations

import shlex
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safelight.console import inform
from safelight.data.layout import SPLIT_FOLDERS
from safelight.data.libraries import library
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.parquet import Parquet, of_files
from safelight.errors import UserError

PREFIX = "hf:"
REVISIONS = ("main", "refs/convert/parquet")  # the second is made by the Hub of most sets


@dataclass(frozen=True)
class Hub:
    """hf:OWNER/NAME, or hf:OWNER/NAME@CONFIGURATION where it has several."""

    where: str
    divided: bool = False
    takes: tuple[str, ...] = ("label_by",)

    @property
    def set(self) -> str:
        return self.where.removeprefix(PREFIX).partition("@")[0]

    @property
    def name(self) -> str:
        return self.set.rpartition("/")[2]

    def signature(self) -> str:
        return self._parquet.signature()

    def listing(self, options: Options) -> Listing:
        return self._parquet.listing(options)

    @cached_property
    def _parquet(self) -> Parquet:
        for revision in REVISIONS:
            folder = self._fetched(revision)
            paths = sorted(folder.rglob("*.parquet"))
            if paths:
                return of_files(
                    self.name, self.where, folder, self._of_configuration(folder, paths)
                )
        raise UserError(f"{self.where} holds no parquet files; {self._by_hand()}")

    def _fetched(self, revision: str) -> Path:
        """The folder of its files, fetched now or before."""
        hub = library("huggingface_hub", self.where)
        inform(f"looking for {self.where} on this machine and on the Hugging Face Hub")
        try:
            return Path(
                hub.snapshot_download(
                    self.set, repo_type="dataset", revision=revision, allow_patterns="*.parquet"
                )
            )
        # No network, a private or misspelt set, a full disk, and whatever else a library raises.
        except Exception as error:
            said = textwrap.shorten(str(error), 150) or type(error).__name__
            raise UserError(
                f"{self.where} could not be fetched ({said}); {self._by_hand()}"
            ) from error

    def _by_hand(self) -> str:
        fetch = shlex.join(
            ["hf", "download", self.set, "--repo-type", "dataset", "--local-dir", self.name]
        )
        return f"fetch it where there is a network ({fetch}) and prepare that folder"

    def _of_configuration(self, folder: Path, paths: list[Path]) -> list[Path]:
        """Those of the configuration that is asked for, or of the only one."""
        of = {path: configuration(path.relative_to(folder)) for path in paths}
        there = sorted(set(of.values()))
        asked = self.where.partition("@")[2] or there[0]
        if asked not in there or (len(there) > 1 and "@" not in self.where):
            raise UserError(
                f"{self.where} has the configurations {', '.join(there)}; name one of them: "
                f"{PREFIX}{self.set}@{there[0]}"
            )
        return [path for path in paths if of[path] == asked]


def configuration(path: Path) -> str:
    """Of data/train-0.parquet and default/train/0.parquet default, of fine/train-0.parquet fine."""
    folders = [part for part in path.parts[:-1] if part not in SPLIT_FOLDERS]
    name = folders[0] if folders else "default"
    return "default" if name == "data" else name


def is_name(text: str) -> bool:
    return text.startswith(PREFIX)
