"""Where data is looked for, and where what is made is kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from safelight.paths import expanded

DATA_PLACE = "SAFELIGHT_DATA"  # the environment variable: a folder with sets already on disk
CACHE_PLACE = "SAFELIGHT_CACHE"  # the environment variable: where caches and downloads are kept


def user_cache() -> Path:
    """The folder for what can be made again."""
    chosen = os.environ.get(CACHE_PLACE)
    return expanded(chosen) if chosen else platformdirs.user_cache_path("safelight")


def downloads() -> Path:
    """Where sets are fetched to."""
    return user_cache() / "datasets"


def roots_of(name: str, place: Path | None) -> list[Path]:
    """Where a copy of the set may be: the place given, or the usual ones."""
    if place is not None:
        return [place]
    chosen = os.environ.get(DATA_PLACE)
    bases = [expanded(chosen)] if chosen else []
    bases.append(downloads())
    return [root for base in bases for root in (base, base / name)]
