"""Real pictures and a small configuration for the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.config import Config, Net, Optimiser, Watch
from safelight.data.cache import Cache
from safelight.data.prepare import prepare

# Small enough that a step takes milliseconds; dropout, flips and shifts so that each source of
# randomness is in play.
SMALL = Config(
    budget="12steps",
    net=Net(widths=(8, 16), blocks=1, attention=(4,), dropout=0.1),
    optimiser=Optimiser(batch=16, warmup=2),
    watch=Watch(checkpoint_every=4, validate_every=6, preview_every=12, tensorboard=False),
    precision="float32",
)

# For runs of hundreds of steps: looking at each sixth would take longer than all of them.
SELDOM = Watch(checkpoint_every=100, tensorboard=False)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """scikit-learn's digits, 8x8, prepared once."""
    return prepare("digits", out=tmp_path_factory.mktemp("data") / "digits", split="70/5/25")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"
