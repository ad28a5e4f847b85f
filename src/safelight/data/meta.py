"""meta.json: what a cache holds, where it came from, and how to make it again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from safelight import files
from safelight.data.decode import Channels
from safelight.errors import DamagedFile

FORMAT = 1
FILE = "meta.json"


class Options(BaseModel):
    """What was asked of `prepare`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int | None = None
    classes: tuple[str, ...] = ()
    per_class: int | None = None
    split: str | None = None
    channels: Channels = "auto"
    labels: Literal["folders", "none"] = "folders"
    seed: int = 0

    def arguments(self) -> list[str]:
        """As on the command line, without the defaults."""
        words = []
        for name, default in Options().model_dump().items():
            value = getattr(self, name)
            if value != default:
                text = ",".join(value) if isinstance(value, tuple) else str(value)
                words += [f"--{name.replace('_', '-')}", text]
        return words


class NewerFormat(DamagedFile):
    """A cache that a newer safelight made: to be left alone."""


class Rejected(BaseModel):
    model_config = ConfigDict(frozen=True)

    file: str
    reason: str


class Meta(BaseModel):
    """The record of a cache.

    `counts` has a row for each class (one called "all" where there are none): split -> images.
    `hashes` are SHA-256 of the arrays' contents, `stamp` the time of images.npy in nanoseconds.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    name: str
    source: str
    signature: str
    options: Options
    classes: tuple[str, ...]
    size: int
    channels: int
    count: int
    counts: dict[str, dict[str, int]]
    hashes: dict[Literal["images", "labels", "splits"], str]
    stamp: int
    resize: str
    enlarged: int
    rejected: tuple[Rejected, ...]
    ignored: dict[str, int]
    versions: dict[str, str]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.count, self.channels, self.size, self.size)


def command(source: str, options: Options, out: Path) -> str:
    """The command line that makes the cache."""
    return shlex.join(["safelight", "prepare", source, *options.arguments(), "--out", str(out)])


def read_meta(folder: Path) -> Meta:
    """Raises DamagedFile where it is missing, damaged or of a newer version."""
    path = folder / FILE
    remedy = f"prepare it again: safelight prepare SOURCE --out {shlex.quote(str(folder))}"
    value: Any = files.read_json(path, remedy)
    version = value.get("format") if isinstance(value, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise NewerFormat(
            f"{path} was made by a newer safelight (format {version}, this one reads up to "
            f"{FORMAT}); upgrade safelight, or prepare the pictures again with another --out"
        )
    try:
        return Meta.model_validate(value)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DamagedFile(f"{path} is damaged at {field or 'its start'!r}; {remedy}") from error
