"""Errors that are meant to be read: each says what is wrong, where, and what to do instead.

The command line prints a `UserError` as one line and exits with status 2; any other exception
is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # the processes that decode pictures import this module
    from pydantic import ValidationError

Row = TypeVar("Row")
RULE = "Input "  # what the validator calls a value: "Input should be greater than 0"


class UserError(Exception):
    """A mistake that the user can mend. The message is one line."""


class TooFewImages(UserError):
    """A statistic was asked of fewer images than it needs."""


class MissingWeights(UserError):
    """A pretrained network's weights are not on this machine."""


class MissingLibrary(UserError):
    """An optional library is not installed."""


class DamagedFile(UserError):
    """A cache, checkpoint or record that was cut short, edited, or made by a newer version."""


class OutOfMemory(UserError):
    """Memory ran out in a training step that can't be split any further."""


class NonFiniteLoss(UserError):
    """Training produced a NaN or an infinity; the last checkpoint is kept."""


def lookup(table: Mapping[str, Row], name: str, kind: str) -> Row:
    """The row called `name`; raises UserError with the list of names (and the nearest one)."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"unknown {kind} {name!r}; {hint}choose one of: {', '.join(table)}")


def first_error(error: ValidationError) -> str:
    """The first thing that a description has wrong: field, rule and value."""
    first: Any = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the whole"
    reason = first["msg"].removeprefix("Value error, ").removeprefix(RULE)
    got = "" if repr(first["input"]) in reason else f" (got {first['input']!r})"
    return f"{field}: {reason}{got}"


def first_wrong(error: ValidationError) -> str:
    """The same, the field as its option on the command line."""
    first: Any = error.errors()[0]
    if not first["loc"]:  # of several options together; it names them itself
        return str(first["msg"]).removeprefix("Value error, ")
    field, colon, said = first_error(error).partition(":")
    return f"--{field.replace('_', '-')}{colon}{said}"
