from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.equality import random_inception


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the FID Inception as its file has them, but random."""
    drawn = torch.randint(0, 256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(5))
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    return random_inception(path, drawn.to(torch.uint8))
