"""Snapshots of the averages while a run trains, of which averages of other widths are made.

RUN/averages/step-00001234.safetensors   all averages after that step, named ema-0.050/<parameter>
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from safelight.errors import DamagedFile
from safelight.files import save_tensors, writing

# Of the logarithm of the step, back from the last one. The averages of the last step are in its
# checkpoint; with them these 15 make every width from 0.02 to 0.25 to within 1 %
# (tests/training/test_posthoc.py).
GAPS = 0.01 * 1.32 ** np.arange(15)


def planned(steps: int) -> frozenset[int]:
    """The steps of a run of so many after which one is kept; densest towards the end."""
    return frozenset(int(step) for step in steps * np.exp(-np.cumsum(GAPS)) if step >= 1)


def save(folder: Path, step: int, averages: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write the averages, by their names, as they are after `step`: what is a number, in float32.

    Half precision would round by as much as averages differ by where the learning rate has fallen
    to zero: there they are within a few ten-thousandths of one another.
    """
    numbers = {
        f"{name}/{parameter}": value.float()
        for name, average in averages.items()
        for parameter, value in average.items()
        if value.is_floating_point()
    }
    with writing(folder / f"step-{step:08d}.safetensors") as temporary:
        save_tensors(numbers, temporary)


def found(folder: Path) -> dict[int, Path]:
    """Those that there are, by their steps, oldest first."""
    files = sorted(folder.glob("step-*.safetensors"))
    return {int(file.stem.removeprefix("step-")): file for file in files}


def forget(folder: Path, after: int) -> None:
    """Remove those of later steps: training again from `after` writes them again."""
    for step, file in found(folder).items():
        if step > after:
            file.unlink()


def read(file: Path, average: str) -> dict[str, Tensor]:
    """One average of a snapshot. Raises DamagedFile."""
    try:
        with safe_open(file, "pt") as held:
            names = [name for name in held.keys() if name.startswith(f"{average}/")]  # noqa: SIM118
            return {name.removeprefix(f"{average}/"): held.get_tensor(name) for name in names}
    except (SafetensorError, FileNotFoundError) as error:
        raise DamagedFile(
            f"{file} is missing or damaged; delete it to make averages of what is left"
        ) from error
