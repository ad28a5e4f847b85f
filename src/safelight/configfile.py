"""Descriptions in and out of YAML, and what is wrong with one in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from safelight.config import Section
from safelight.errors import DamagedFile, UserError
from safelight.files import write_text

Model = TypeVar("Model", bound=Section)


def parse(model: type[Model], values: Any, where: str) -> Model:
    """Validate plain values; raises a UserError naming the first field that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {first_error(error)}") from error


def first_error(error: ValidationError) -> str:
    """The first thing that was wrong: field, rule and value."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the whole"
    said = first["msg"].removeprefix("Value error, ")
    return f"{field}: {said} (got {first['input']!r})"


def save_yaml(path: Path, value: Section) -> None:
    write_text(path, yaml.safe_dump(value.model_dump(mode="json"), sort_keys=False))


def load_yaml(model: type[Model], path: Path, remedy: str) -> Model:
    """Read `path`; raises DamagedFile with the remedy where it is missing, cut short or newer."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedFile(f"{path} is missing; {remedy}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path} is damaged; {remedy}") from error
    newest = model.model_fields["format"].default if "format" in model.model_fields else None
    if isinstance(values, dict) and newest and values.get("format", newest) > newest:
        raise DamagedFile(
            f"{path} was made by a newer version (format {values['format']}, this one reads "
            f"{newest}); update safelight"
        )
    try:
        return parse(model, values, str(path))
    except UserError as error:
        raise DamagedFile(f"{error}; {remedy}") from error
