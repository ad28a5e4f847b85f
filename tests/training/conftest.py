"""Real pictures and small configurations for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safelight.config import Autoencoder, Config, Diffusion, Net, Optimiser, Plan, Watch
from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.training.run import Run
from safelight.training.train import train

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


def coding(**changes: Any) -> Config:
    """An autoencoder that halves digits."""
    usual = {
        "family": "autoencoder",
        "net": Config().net,
        "autoencoder": Autoencoder(channels=3, widths=(24,), blocks=1),
        "optimiser": Optimiser(batch=32, lr=4e-3, warmup=20),
    }
    return SMALL.model_copy(update={**usual, **changes})


def latent(coder: Run | Path | str, **changes: Any) -> Config:
    """Diffusion in the latents of an autoencoder, 4x4."""
    place = str(coder.path if isinstance(coder, Run) else coder)
    usual = {
        "net": Net(widths=(16, 32), blocks=1, attention=()),
        "diffusion": Diffusion(autoencoder=place),
    }
    return SMALL.model_copy(update={**usual, **changes})


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """scikit-learn's digits, 8x8, prepared once."""
    return prepare("digits", out=tmp_path_factory.mktemp("data") / "digits", split="70/5/25")


@pytest.fixture(scope="session")
def coder(digits: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An autoencoder that has learnt them."""
    asked = coding(budget="300steps", watch=SELDOM)
    return train(digits, asked, tmp_path_factory.mktemp("coder") / "coder")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def plan(**changes: object) -> Plan:
    values = {
        "steps": 100,
        "micro_batch": 16,
        "precision": "float32",
        "sigma_data": 0.7,
        "validate_every": 6,
        "preview_every": 12,
        "checkpoint_every": 4,
        "threads": 1,
        "processes": 1,
        "step_seconds": 0.0,
    }
    return Plan(**{**values, **changes})
