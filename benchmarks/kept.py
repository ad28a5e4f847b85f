"""What the longer benchmarks share: rows that outlive a stop, and what drawing costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safelight.files import write_json
from safelight.training.source import DiffusionSource

Row = dict[str, Any]


class Rows:
    """Measured rows in a JSON file, each with the key of what it measured: n and the source.

    A source's fingerprint covers its weights and how they are sampled, so a model that was trained
    again, or another n, is measured again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[Row] = json.loads(file.read_text()) if file.exists() else []

    def get(self, source: DiffusionSource, n: int, measure: Callable[[], Row]) -> Row:
        key = {"n": n, "source": source.fingerprint}
        for row in self._rows:
            if row["key"] == key:
                return row
        row = {"key": key, **measure()}
        self._rows.append(row)
        write_json(self._file, self._rows)
        return row


def cost(source: DiffusionSource, images: int = 64) -> Row:
    """Seconds for 1,000 images, and the network's calls for each, of so many drawn at once.

    These are not the images that are judged: what was found out about those may be kept already.
    """
    seeds = range(images)
    source.images(seeds[:1])  # what the first call prepares is not counted
    with source.counting() as asked:
        began = time.monotonic()
        source.images(seeds)
        seconds = time.monotonic() - began
    return {
        "evaluations": round(sum(asked) / images, 1),
        "seconds for 1,000": round(seconds * 1000 / images, 1),
    }
