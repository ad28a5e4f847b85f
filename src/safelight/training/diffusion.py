"""Diffusion models as the loop trains them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from safelight.config import Config, Diffusion
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.objective import OBJECTIVES, Objective, asked
from safelight.diffusion.path import Path, make_path
from safelight.diffusion.precond import PREDICTIONS, c_noise, require_regular
from safelight.diffusion.times import TIMES, LossAware, Times, lowest_drawn
from safelight.diffusion.weights import WEIGHTS
from safelight.errors import lookup
from safelight.nets.nonleaky import LABELS
from safelight.nets.uncertainty import Uncertainty
from safelight.seeding import Noise
from safelight.training import options as rules
from safelight.training.batches import Batch
from safelight.training.learner import Problem, Turn
from safelight.training.networks import build_net, settled_net
from safelight.training.options import check_objective, chosen
from safelight.training.pairing import PAIRINGS, Pairing, independent

NOISE_ENOUGH = 5.0  # sigma / alpha: of those in use scaled-linear ends lowest, at 14.6


class DiffusionLearner(nn.Module):
    """Learns a denoiser, algorithm 1 of arXiv:2006.11239 with any objective.

    Args:
        model: the denoiser.
        times: how each image's t is drawn.
        pairing: which noise meets which image.
        uncertainty: learns the mean loss of each noise level, so that all levels count alike.
        label_dropout: share of the labels that are hidden.
    """

    phases = ("denoiser",)

    def __init__(
        self,
        model: Denoiser,
        objective: Objective,
        times: Times,
        *,
        pairing: Pairing = independent,
        uncertainty: Uncertainty | None = None,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.times = times
        self.pairing = pairing
        self.uncertainty = uncertainty
        self.label_dropout = label_dropout

    def forward(self, batch: Batch, noise: Noise, turn: Turn) -> dict[str, Tensor]:
        x_0, y, path = batch.images, batch.labels, self.model.path
        u = noise.uniform(2)
        eps = self.pairing(x_0, noise.normal(*x_0.shape[1:]), y)
        if y is not None:
            y = torch.where(u[:, 1] < self.label_dropout, self._nobody, y)
        t, importance = self.times(path, u[:, 0])
        error = loss = self.objective(told(self.model, batch.varied), x_0, t, eps, y)
        if self.uncertainty is not None:
            log_error = self.uncertainty(c_noise(path.log_snr(t)))
            error = error / log_error.exp()
            loss = error + log_error
        # Importance is that of what the network learns from: log_error is not, and may be below 0.
        seen = torch.stack([t, error.detach()])
        level = path.noise_level(asked(self.objective, path, t)).detach()
        return {"loss": importance * loss, "level": level, "seen": seen}

    def taught(self, phase: str) -> Iterator[nn.Parameter]:
        return self.parameters()

    @property
    def observe(self) -> Callable[[Tensor], None] | None:
        times = self.times
        return (lambda seen: times.observe(*seen)) if isinstance(times, LossAware) else None

    @property
    def _nobody(self) -> int:
        return self.model.net.classes  # type: ignore[return-value]


class Told(nn.Module):
    """A network that is told how each image was varied, (b, LABELS)."""

    def __init__(self, net: nn.Module, varied: Tensor) -> None:
        super().__init__()
        self.net, self.varied = net, varied
        self.told = getattr(net, "told", "level")

    def forward(self, x: Tensor, level: Tensor, y: Tensor | None = None) -> Tensor:
        return self.net(x, level, y, self.varied)  # type: ignore[no-any-return]


def told(model: Denoiser, varied: Tensor | None) -> Denoiser:
    """The same denoiser, of images that were varied so."""
    if varied is None:
        return model
    net = Told(model.net, varied)
    return Denoiser(net, model.path, model.prediction, model.sigma_data, model.variance)


def build_denoiser(config: Config, problem: Problem) -> Denoiser:
    """An untrained denoiser, its weights drawn from the run's seed."""
    options = config.diffusion
    path = make_path(
        options.path,
        T=options.T,
        betas=options.betas,
        shift=options.shift,
        zero_terminal_snr=options.zero_terminal_snr,
    )
    name = chosen(options).prediction
    prediction = lookup(PREDICTIONS, name, "prediction")
    require_regular(path, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = build_net(
            config.net,
            problem.shape,
            problem.classes,
            answers=2 if options.variance == "learned" else 1,
            varied=LABELS if config.data.augment else 0,
        )
    return Denoiser(net, path, prediction, problem.sigma_data, options.variance)


def build_times(options: Diffusion, path: Path) -> Times:
    times = lookup(TIMES, chosen(options).times, "distribution of times")
    return times(path, options.log_mean, options.log_std)


def build_objective(options: Diffusion) -> Objective:
    weight = lookup(WEIGHTS, chosen(options).weight, "weight")(options.min_snr)
    return lookup(OBJECTIVES, options.objective, "objective")(weight)


def lowest_trained(options: Diffusion, path: Path) -> float:
    """The noise level below which a training with these options hardly goes."""
    objective = build_objective(options)
    return lowest_drawn(build_times(options, path), path, lambda t: asked(objective, path, t))


def build_learner(config: Config, problem: Problem) -> DiffusionLearner:
    """Raises UserError where its options do not go together."""
    options = config.diffusion
    check_objective(options)
    denoiser = build_denoiser(config, problem)
    with torch.random.fork_rng(devices=[]):
        uncertainty = Uncertainty() if options.uncertainty else None
    return DiffusionLearner(
        denoiser,
        build_objective(options),
        build_times(options, denoiser.path),
        pairing=lookup(PAIRINGS, options.pairing, "pairing"),
        uncertainty=uncertainty,
        label_dropout=options.label_dropout,
    )


def settled(config: Config) -> Config:
    """The same with nothing of the network and the mathematics left open."""
    usual = {"diffusion": rules.settled(config.diffusion), "net": settled_net(config.net)}
    return config.model_copy(update=usual)


def shortfall(path: Path) -> str:
    """What becomes of a path that does not end in noise; empty where it does."""
    with torch.no_grad():
        level = float(path.noise_level(torch.ones((), dtype=torch.float64)))
    if level >= NOISE_ENOUGH:
        return ""
    return (
        f"this path ends at a noise level of {level:.2g}, where much of a picture is still to be "
        "seen; samplers begin with noise alone, and their pictures will not be like those it "
        "learnt from; take more steps, larger betas, or a larger --diffusion.shift"
    )


def call(model: nn.Module, x: Tensor) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network in a denoiser, and one call for images like x (b, c, h, w)."""
    return cast(Denoiser, model).net, (x, x.new_zeros(len(x)))
