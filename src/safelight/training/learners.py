"""What is trained: one loop trains every family through this."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from safelight.config import Config, Net
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.objective import TIMES, WEIGHTS, Objective
from safelight.diffusion.path import make_path
from safelight.diffusion.precond import PREDICTIONS, require_regular
from safelight.errors import lookup
from safelight.nets.unet import UNet
from safelight.seeding import Noise
from safelight.training.batches import Batch

Shape = tuple[int, int, int]


class Learner(Protocol):
    """A module whose forward pass gives the losses, so that any data-parallel wrapper fits."""

    def __call__(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """ "loss" (b,) of each image, and "level" (b,) to say where a loss was not finite."""
        ...


class DiffusionLearner(nn.Module):
    """Learns a denoiser by denoising, algorithm 1 of arXiv:2006.11239."""

    def __init__(self, denoiser: Denoiser, objective: Objective, label_dropout: float) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.objective = objective
        self.label_dropout = label_dropout

    def forward(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        u = noise.uniform(2)
        eps = noise.normal(*batch.images.shape[1:])
        y = batch.labels
        if y is not None:
            y = torch.where(u[:, 1] < self.label_dropout, self._nobody, y)
        t = self.objective.times(self.denoiser.path, u[:, 0])
        loss = self.objective.at(self.denoiser, batch.images, t, eps, y)
        path = self.denoiser.path
        return {"loss": loss, "level": path.sigma(t) / path.alpha(t)}

    @property
    def _nobody(self) -> int:
        return self.denoiser.net.classes  # type: ignore[return-value]


def build_denoiser(config: Config, shape: Shape, classes: int, sigma_data: float) -> Denoiser:
    """An untrained denoiser, its weights drawn from the run's seed."""
    options = config.diffusion
    path = make_path(options.path, T=options.T)
    prediction = lookup(PREDICTIONS, options.prediction, "prediction")
    require_regular(path, options.prediction)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = UNet(
            shape,
            classes if config.data.conditional else 0,
            widths=config.net.widths,
            blocks=config.net.blocks,
            attention=attention_heights(config.net, shape[1]),
            norm=config.net.norm,
            activation=config.net.activation,
            embedding=config.net.embedding,
            dropout=config.net.dropout,
        )
    return Denoiser(net, path, prediction, sigma_data)


def attention_heights(net: Net, height: int) -> tuple[int, ...]:
    """Where there is attention, in pixels: "coarsest" depends on the pictures."""
    return (height >> (len(net.widths) - 1),) if net.attention == "coarsest" else net.attention


def build_learner(
    config: Config, shape: Shape, classes: int, sigma_data: float
) -> DiffusionLearner:
    options = config.diffusion
    objective = Objective(
        lookup(TIMES, options.times, "distribution of times")(options.log_mean, options.log_std),
        lookup(WEIGHTS, options.weight, "weight"),
    )
    denoiser = build_denoiser(config, shape, classes, sigma_data)
    return DiffusionLearner(denoiser, objective, options.label_dropout)
