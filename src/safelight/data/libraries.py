"""Libraries that only some sources need, imported when they do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from safelight.errors import MissingLibrary

EXTRAS = {"av": "video", "lmdb": "lmdb", "pyarrow.parquet": "hub", "huggingface_hub": "hub"}


def library(name: str, what: str) -> Any:
    """The module; raises MissingLibrary, which says what is read by it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibrary(
            f"{what} is read by {name.partition('.')[0]}, which cannot be imported here ({error}); "
            f"pip install 'safelight[{EXTRAS[name]}]'"
        ) from error
