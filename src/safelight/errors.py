"""Errors that are meant to be read: each says what is wrong, where, and what to do instead.

The command line prints a `UserError` as one line and exits with status 2; any other exception
is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

Row = TypeVar("Row")


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


class NonFiniteLoss(UserError):
    """Training produced a NaN or an infinity; the last checkpoint is kept."""


def lookup(table: Mapping[str, Row], name: str, kind: str) -> Row:
    """The row called `name`; raises UserError with the list of names (and the nearest one)."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"unknown {kind} {name!r}; {hint}choose one of: {', '.join(table)}")
