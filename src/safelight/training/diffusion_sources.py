"""Diffusion models of runs as sources of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from safelight.config import Sampling
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.path import Path as DiffusionPath
from safelight.errors import UserError
from safelight.training.checkpoint import Checkpoint
from safelight.training.diffusion import lowest_trained
from safelight.training.source import DiffusionSource, Model

if TYPE_CHECKING:
    from safelight.training.run import Run

PREVIEW = Sampling(steps=10, guidance=1.0)  # without guidance it costs half


def load(run: Run, chosen: Checkpoint, weights: str) -> Model:
    model, digest = run.model(chosen, weights)
    denoiser = cast(Denoiser, model)
    return Model(denoiser, digest, lowest_trained(run.config.diffusion, denoiser.path))


def sources(
    run: Run,
    chosen: Checkpoint,
    weights: str,
    samplings: Sequence[Sampling],
    lowest: float | None = None,
) -> list[DiffusionSource]:
    """One for each way of drawing; they share the network, which is read once.

    Raises UserError where one asks for what the model has not.
    """
    model = load(run, chosen, weights)
    weaker = {
        name: _weaker(run, name, weights, model.denoiser.path)
        for name in {sampling.weaker for sampling in samplings}
    }
    return [
        DiffusionSource(
            model,
            **run.named(chosen, weights),
            shape=run.file.shape,
            classes=run.classes,
            classless=run.classless,
            sampling=sampling,
            weaker=weaker[sampling.weaker],
            lowest=lowest,
            micro_batch=run.plan.smallest,
            codec=run.codec,
        )
        for sampling in samplings
    ]


def preview(run: Run, model: nn.Module) -> DiffusionSource:
    """What a denoiser draws while it is trained."""
    denoiser = cast(Denoiser, model)
    return DiffusionSource(
        Model(denoiser, "", lowest_trained(run.config.diffusion, denoiser.path)),
        name=run.name,
        shape=run.file.shape,
        classes=run.classes,
        classless=run.classless,
        sampling=PREVIEW,
        micro_batch=run.plan.smallest,
        codec=run.codec,
    )


def _weaker(run: Run, name: str | None, weights: str, path: DiffusionPath) -> Model | None:
    """The model called STEP, of this run, or RUN:STEP."""
    if name is None:
        return None
    place, colon, step = name.rpartition(":")
    other = run.open(place) if colon else run
    other.require_diffusion()
    model = load(other, other.checkpoint(step), weights)
    for what, same in (
        ("pictures of another shape", other.file.shape == run.file.shape),
        ("other classes", other.classes == run.classes),
        ("another autoencoder", _coded(other) == _coded(run)),
        ("another path", _agree(model.denoiser.path, path)),
    ):
        if not same:
            raise UserError(
                f"--weaker {name} has {what} than {run.path}; name a checkpoint that "
                "differs only in its training or its network"
            )
    return model


def _coded(run: Run) -> str | None:
    return run.codec.fingerprint if run.codec else None


def _agree(a: DiffusionPath, b: DiffusionPath) -> bool:
    """Whether both have the same alpha and sigma at all times."""
    t = torch.linspace(0, 1, 65, dtype=torch.float64)
    return torch.allclose(a.alpha(t), b.alpha(t)) and torch.allclose(a.sigma(t), b.sigma(t))
