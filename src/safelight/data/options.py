"""What is asked of `prepare`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, TypedDict, Unpack

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from tyro.constructors import PrimitiveConstructorSpec

from safelight.data import splits
from safelight.data.look import (
    Channels,
    Filter,
    Fit,
    Look,
    Size,
    parse_background,
)
from safelight.errors import UserError, first_wrong
from safelight.sizes import as_option, parse_size

OF_A_SIZE = ("fit", "enlarge", "filter")  # the options that say how a picture comes to have it
Names = Annotated[
    tuple[str, ...],
    PrimitiveConstructorSpec(  # on the command line several names are one word
        nargs=1,
        metavar="A,B,...",
        instance_from_str=lambda words: tuple(filter(None, words[0].split(","))),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda names: [",".join(names)],
    ),
]
Background = Annotated[str, BeforeValidator(parse_background)]
Renamed = Annotated[
    dict[str, str],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="OLD=NEW,...",
        instance_from_str=lambda words: renamed(words[0]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda names: [as_words(names)],
    ),
]
Wide = Annotated[Size, BeforeValidator(parse_size), PlainSerializer(as_option, return_type=str)]


def renamed(word: str) -> dict[str, str]:
    """'old=new,other=new' -> old and other, both to be called new. Raises ValueError."""
    pairs = [pair.partition("=") for pair in word.split(",") if pair]
    if not all(old and new for old, _, new in pairs):
        raise ValueError(f"{word!r} names no classes anew: give OLD=NEW, such as Coast=coast")
    names = {old: new for old, _, new in pairs}
    for old, _, new in pairs:
        if names[old] != new:
            raise ValueError(f"{word!r} gives {old} two names: {new} and {names[old]}")
    return names


def parse_fraction(value: Any) -> str:
    """3%, "3%" and 0.03 are "3%". Raises ValueError."""
    text = str(value)
    try:
        share = Fraction(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share <= 1:
        raise ValueError(f"{value!r} is no part of the pictures: give one such as 3% or 0.03")
    return f"{float(share * 100):.12g}%"


def parse_every(value: Any) -> str:
    """A number of frames, or of seconds: 10, "10", "0.5s". Raises ValueError."""
    found = re.fullmatch(r"(\d+)|(\d*\.?\d+)s", str(value))
    if found is None or not float(found[1] or found[2]):
        raise ValueError(
            f"{value!r} is no distance between frames: give 10 for each tenth, or 0.5s for one in "
            "each half second"
        )
    return found[1].lstrip("0") if found[1] else f"{float(found[2]):g}s"


def as_words(value: Any) -> str:
    """As on the command line."""
    if isinstance(value, dict):
        value = [f"{old}={new}" for old, new in value.items()]
    return ",".join(value) if isinstance(value, tuple | list) else str(value)


class Options(BaseModel):
    """How pictures are prepared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Wide | None = None
    """Side of the pictures in pixels, or WIDTHxHEIGHT.

    Unless given they keep their own, which must then be the same for all.
    """
    classes: Names = ()
    """Only these, such as cat,frog."""
    per_class: Annotated[int, Field(ge=1)] | None = None
    """As many pictures of each class, over all splits."""
    split: str | None = None
    """Percents for train/validation/test, such as 80/10/10, stratified by class.

    Unless given, the splits that the source has stay (5 % of train validate where it has none for
    that, unless it has too few), and what has none is divided 80/10/10.
    """
    channels: Channels = "auto"
    """auto is grey where all pictures are stored so."""
    fit: Fit = "crop"
    """crop cuts out the middle; letterbox keeps all of the picture, with bars beside it."""
    enlarge: bool = True
    """Without it, crop rejects what is smaller than the size, and letterbox does not scale it."""
    filter: Filter = "lanczos"
    """How pixels are put together into larger ones; all but nearest are antialiased."""
    background: Background = "white"
    """white, black, grey or '#rrggbb': behind what is transparent, and the letterbox's bars."""
    labels: Literal["folders", "none", "sources"] = "folders"
    """none ignores the folders' names; sources makes each of several sources a class."""
    duplicates: Literal["keep", "drop", "drop-near"] = "keep"
    """What becomes of pictures that are there twice.

    drop leaves those out that equal another to the last value at this size, and drop-near those too
    that nearly do. Of each the first stays, or the one that tests. All are told of, and where the
    pictures are divided here, duplicates stay on one side, unless they are most of their class.
    """
    store: Literal["pixels", "files"] = "pixels"
    """What is kept: the pixels, or where each file lies, which is decoded each time.

    files is for sets larger than the disk. They have to stay as they are, and channels auto is rgb.
    """
    seed: int = 0
    """Decides which pictures, and their split."""
    label_by: Names = ()
    """The column, attribute or labels that make the classes, such as breed or Smiling,Male."""
    rename: Renamed = Field(default_factory=dict)
    """New names of classes, such as Coast=coast; those that get one name are one class."""
    fraction: Annotated[str, BeforeValidator(parse_fraction)] | None = None
    """A part of each class, such as 3% or 0.03."""
    every: Annotated[str, BeforeValidator(parse_every)] | None = None
    """Of a video each tenth frame (10), or one for each half second (0.5s)."""

    @field_validator("classes", "label_by", mode="before")
    @classmethod
    def _one_is_several(cls, names: Any) -> Any:
        return tuple(filter(None, names.split(","))) if isinstance(names, str) else names

    @field_validator("classes", mode="after")
    @classmethod
    def _in_one_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({unicodedata.normalize("NFC", name) for name in names}))

    @field_validator("split", mode="after")
    @classmethod
    def _sums_to_the_whole(cls, split: str | None) -> str | None:
        if split is not None:
            try:
                splits.parse_split(split)
            except UserError as error:
                raise ValueError(str(error)) from error
        return split

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        """Without a size all pictures have to have one, and keep it."""
        usual = {name: type(self).model_fields[name].default for name in OF_A_SIZE}
        given = [name for name in OF_A_SIZE if getattr(self, name) != usual[name]]
        if self.size is None and given:
            option = "--no-enlarge" if given[0] == "enlarge" else f"--{given[0]}"
            raise ValueError(
                f"{option} changes nothing where pictures keep their own size; add --size, "
                "or leave it out"
            )
        return self

    @field_validator("label_by", "rename", mode="after")
    @classmethod
    def _of_labels_that_count(cls, value: Any, told: ValidationInfo) -> Any:
        if value and told.data.get("labels") == "none" and not told.data.get("classes"):
            raise ValueError("changes nothing with --labels none; leave one of them out")
        return value

    @field_validator("fraction", mode="after")
    @classmethod
    def _not_with_a_number(cls, fraction: str | None, told: ValidationInfo) -> str | None:
        if fraction is not None and told.data.get("per_class") is not None:
            raise ValueError("--per-class says how many already; leave one of them out")
        return fraction

    @property
    def share(self) -> Fraction | None:
        """The part of each class; None for all of it."""
        return None if self.fraction is None else Fraction(self.fraction.removesuffix("%")) / 100

    @property
    def labelled(self) -> bool:
        """Whether the source's own classes are wanted, be it only to choose by."""
        return self.labels == "folders" or (self.labels == "none" and bool(self.classes))

    def look(self, size: Size) -> Look:
        """How every picture is made, at this size."""
        # Whether all are grey is known at the end, when there is nothing to be widened.
        anew = self.store == "files" and self.channels == "auto"
        channels: Channels = "rgb" if anew else self.channels
        return Look(size, channels, self.fit, self.enlarge, self.filter, self.background)

    def arguments(self, base: Options | None = None) -> list[str]:
        """As on the command line, without those that are as in `base`, or as by default."""
        usual, words = (base or Options()).model_dump(), []
        for name, value in self.model_dump().items():
            option = name.replace("_", "-")
            if value != usual[name] and isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            elif value != usual[name]:
                words += [f"--{option}", as_words(value)]
        return words


class Wanted(TypedDict, total=False):
    """The fields of `Options`, as keyword arguments of `prepare`."""

    size: int | str | Size | None
    classes: tuple[str, ...] | list[str]
    per_class: int | None
    split: str | None
    channels: Channels
    fit: Fit
    enlarge: bool
    filter: Filter
    background: str
    labels: Literal["folders", "none", "sources"]
    duplicates: Literal["keep", "drop", "drop-near"]
    store: Literal["pixels", "files"]
    seed: int
    label_by: str | tuple[str, ...] | list[str]
    rename: Mapping[str, str]
    fraction: float | str | None
    every: int | str | None


def options_of(**wanted: Unpack[Wanted]) -> Options:
    """The options in one; raises UserError for what can't be meant."""
    try:
        return Options.model_validate(wanted)
    except ValidationError as error:
        raise UserError(first_wrong(error)) from error
