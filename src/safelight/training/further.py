"""Training on: a new run that begins with what another has learnt."""

from __future__ import annotations

from pathlib import Path

from safelight.config import Config
from safelight.training.checkpoint import load_weights
from safelight.training.learner import load_extras
from safelight.training.run import Run
from safelight.training.trainer import Trainer


def further_config(start: Path | str) -> Config:
    """The configuration of the run `start`, for a run that begins with its weights.

    The deviation of the pictures stays what these weights were trained with.
    """
    run = Run.open(start)
    changes: dict[str, object] = {"start": str(run.path.resolve())}
    if run.config.family == "diffusion":
        learnt = {"sigma_data": run.plan.sigma_data}
        changes["diffusion"] = run.config.diffusion.model_copy(update=learnt)
    return run.config.model_copy(update=changes)


def begin(trainer: Trainer) -> None:
    """Take the averaged weights of the run that the configuration names, and no optimiser's state.

    These are what images were drawn with; the rate warms up and falls anew, as the new plan has it.
    Raises UserError where they are of another network.
    """
    if trainer.config.start is None:
        return
    chosen = Run.open(trainer.config.start).checkpoint()
    chosen.state()  # checks that no file has changed
    for model in (trainer.learner.model, trainer.average.module):
        load_weights(model, chosen.weights("ema"), chosen.path)
    load_extras(trainer.learner, chosen.extras())
