"""Every optimiser, and the learning rate over a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from safelight.config import Optimiser
from safelight.data.cache import Cache
from safelight.training.optimisers import OPTIMISERS, learning_rate
from safelight.training.trainer import Trainer
from tests.training.conftest import SMALL, plan


@pytest.mark.parametrize("final", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_learning_rate(decay: str, final: float) -> None:
    """It rises, is whole, and falls towards its last share; halfway it is halfway there."""
    options = Optimiser(lr=1.0, warmup=10, decay=decay, final=final)
    rates = np.array([learning_rate(options, step, 1000) for step in range(1000)])
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[11:]) <= 0).all()
    assert rates.max() == pytest.approx(1.0, abs=0.02)
    left = {"none": 1.0, "linear": 1e-3, "cosine": np.sin(np.pi / 2000) ** 2}[decay]
    assert rates[-1] == pytest.approx(final + (1 - final) * left)
    assert rates[500] == pytest.approx(1.0 if decay == "none" else (1.0 + final) / 2)


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_lowers_the_loss_and_resumes(
    name: str, digits: Cache, tmp_path: Path
) -> None:
    """B4, X6: the state that each keeps survives the round trip through a checkpoint."""
    rate = {"sgd": 0.05, "adadelta": 1.0}.get(name, 3e-3)
    options = Optimiser(name=name, lr=rate, batch=32, warmup=2, decay="none")
    config = SMALL.model_copy(update={"optimiser": options})
    first = Trainer(config, plan(micro_batch=32), digits, Accelerator())
    losses = [first.advance()["denoiser"] for _ in range(40)]
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])
    saved = first.save(tmp_path)
    second = Trainer(config, plan(micro_batch=32), digits, Accelerator())
    second.load(saved)
    for _ in range(3):
        assert first.advance() == second.advance()
    for one, other in zip(first.learner.parameters(), second.learner.parameters(), strict=True):
        assert torch.equal(one, other)
