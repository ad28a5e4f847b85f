"""meta.json: what a cache holds, where it came from, and how to make it again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from safelight import files
from safelight.data.look import Size, said
from safelight.data.options import Options
from safelight.errors import DamagedFile

FORMAT = 2  # of 1, all pictures were square
FILE = "meta.json"


class NewerFormat(DamagedFile):
    """A cache that a newer safelight made: to be left alone."""


class Rejected(BaseModel):
    model_config = ConfigDict(frozen=True)

    file: str
    reason: str


class Meta(BaseModel):
    """The record of a cache.

    `counts` has a row for each class (one called "all" where there are none): split -> images.
    `resize` says how they came to have their size. `formats` counts those of the originals, and
    `changes` what else was done, by the values of `Change`. `ignored` counts files whose ending is
    no picture's, by ending, and `left_aside` names the first of them.
    `hashes` are SHA-256 of the contents of the other files, `stamp` is the time of images.npy in
    nanoseconds. `same`, `nearly` and `across` count pictures that are there twice: to the last
    value, nearly, and with the other in another split. `grey` are without colour, be it stored or
    not, and `constant` are of one colour. `places` are what the pictures are read from where their
    pixels are not stored: kinds of readers, and their roots.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    name: str
    source: str
    signature: str
    options: Options
    classes: tuple[str, ...]
    width: int
    height: int
    channels: int
    count: int
    counts: dict[str, dict[str, int]]
    hashes: dict[Literal["images", "labels", "splits", "sizes", "names", "duplicates"], str]
    stamp: int
    resize: str
    places: tuple[tuple[str, str], ...] = ()
    enlarged: int
    same: int = 0
    nearly: int = 0
    across: int = 0
    grey: int = 0
    constant: int = 0
    formats: dict[str, int] = {}  # of format 1 these are not known
    changes: dict[str, int] = {}
    rejected: tuple[Rejected, ...]
    ignored: dict[str, int]
    left_aside: tuple[str, ...] = ()
    versions: dict[str, str]

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_version(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("format") == 1 and "size" in value:
            side = value["size"]
            kept = {name: field for name, field in value.items() if name != "size"}
            return {**kept, "format": FORMAT, "width": side, "height": side}
        return value

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, c, h, w)."""
        return (self.count, self.channels, self.height, self.width)

    @property
    def size(self) -> Size:
        """(width, height)."""
        return self.width, self.height

    @property
    def looks(self) -> str:
        """In words: '32x32, colour'."""
        kind = {1: "grey", 3: "colour"}.get(self.channels, f"{self.channels} channels")
        return f"{said(self.size)}, {kind}"


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
