"""What benchmarks share: rows that outlive a stop, and what commands and drawing cost."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safelight.files import write_json
from safelight.images import ImageSource
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

    def get(self, source: ImageSource, n: int, measure: Callable[[], Row]) -> Row:
        key = {"n": n, "source": source.fingerprint}
        for row in self._rows:
            if row["key"] == key:
                return row
        row = {"key": key, **measure()}
        self._rows.append(row)
        write_json(self._file, self._rows)
        return row


def pairs(words: Sequence[str]) -> dict[str, str]:
    """NAME=BUDGET of the command line: a run's own budget, such as the steps that a time paid for.

    So that runs can be had of equal time where there is no quiet machine: what a step costs is
    measured on one (`train` announces the steps), and training takes as long as it likes.
    """
    return dict(word.split("=", 1) for word in words)


MEASURED = """
import re, sys
from pathlib import Path
from safelight.cli import main
main(sys.argv[1:])
status = Path("/proc/self/status").read_text()
print("PEAK", re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""


def peak_megabytes(*words: str | Path) -> float:
    """Of a fresh process with this command (Linux)."""
    command = [sys.executable, "-c", MEASURED, *map(str, words)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return round(int(printed.split("PEAK")[1]) / 1024, 1)


def evaluations(source: DiffusionSource, images: int = 16) -> float:
    """The network's calls for an image; counted where the sampler decides on them."""
    if source.evaluations is not None:
        return source.evaluations
    with source.counting() as asked:
        source.images(range(images))
    return round(sum(asked) / images, 1)


def seconds(sources: Sequence[DiffusionSource], images: int = 64) -> list[float]:
    """Seconds for 1,000 images of each, from so many drawn at once; one after the other.

    Not kept with what else is measured: times are compared within a run on a quiet machine.
    """
    return [round(_seconds(source, images) * 1000 / images, 1) for source in sources]


def _seconds(source: DiffusionSource, images: int) -> float:
    source.images(range(1))  # what the first call prepares is not counted
    began = time.monotonic()
    source.images(range(images))
    return time.monotonic() - began
