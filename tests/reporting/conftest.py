from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from safelight.reporting.collect import ReportData, collect
from tests.profiling.conftest import base, no_network  # noqa: F401 - fixtures
from tests.reporting.stand_in import StandInRun


@pytest.fixture(scope="session")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The real handwritten digits that scikit-learn ships: (n, 1, 8, 8) uint8, labels."""
    held = load_digits()
    images = torch.from_numpy((held.images * 255 / 16).round()).to(torch.uint8)
    return images[:, None], torch.from_numpy(held.target)


@pytest.fixture
def stand_in(tmp_path: Path, digits: tuple[torch.Tensor, torch.Tensor]) -> StandInRun:
    images, labels = digits
    return StandInRun(tmp_path / "a run", images, labels, tuple(map(str, range(10))))


@pytest.fixture
def collected(stand_in: StandInRun) -> Callable[[], ReportData]:
    return lambda: collect(stand_in)  # type: ignore[arg-type]
