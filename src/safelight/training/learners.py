"""What is trained: one loop trains every family through this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from safelight.config import Config, Diffusion, Net
from safelight.diffusion.bound import VARIANCES
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.objective import OBJECTIVES, Objective
from safelight.diffusion.path import make_path
from safelight.diffusion.precond import PREDICTIONS, c_noise, require_regular
from safelight.diffusion.times import TIMES, LossAware, Times
from safelight.diffusion.weights import WEIGHTS
from safelight.errors import UserError, lookup
from safelight.nets.uncertainty import Uncertainty
from safelight.nets.unet import UNet
from safelight.seeding import Noise
from safelight.training.batches import Batch
from safelight.training.pairing import PAIRINGS, Pairing, independent

Shape = tuple[int, int, int]


class Learner(Protocol):
    """A module whose forward pass gives the losses, so that any data-parallel wrapper fits."""

    def __call__(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """ "loss" (b,) of each image, and "level" (b,) to say where a loss was not finite.

        "seen" (2, b), where there is an `observe`: what it wants to know of each image.
        """
        ...

    @property
    def observe(self) -> Callable[[Tensor], None] | None:
        """To be called after each step with what was "seen" of all images of all processes."""
        ...


class DiffusionLearner(nn.Module):
    """Learns a denoiser, algorithm 1 of arXiv:2006.11239 with any objective.

    Args:
        times: how each image's t is drawn.
        pairing: which noise meets which image.
        uncertainty: learns the mean loss of each noise level, so that all levels count alike.
        label_dropout: share of the labels that are hidden.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        objective: Objective,
        times: Times,
        *,
        pairing: Pairing = independent,
        uncertainty: Uncertainty | None = None,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.objective = objective
        self.times = times
        self.pairing = pairing
        self.uncertainty = uncertainty
        self.label_dropout = label_dropout

    def forward(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        x_0, y, path = batch.images, batch.labels, self.denoiser.path
        u = noise.uniform(2)
        eps = self.pairing(x_0, noise.normal(*x_0.shape[1:]), y)
        if y is not None:
            y = torch.where(u[:, 1] < self.label_dropout, self._nobody, y)
        t, importance = self.times(path, u[:, 0])
        loss = self.objective(self.denoiser, x_0, t, eps, y)
        if self.uncertainty is not None:
            log_loss = self.uncertainty(c_noise(path.log_snr(t)))
            loss = loss / log_loss.exp() + log_loss
        seen = torch.stack([t, loss.detach()])
        return {"loss": importance * loss, "level": path.noise_level(t).detach(), "seen": seen}

    @property
    def observe(self) -> Callable[[Tensor], None] | None:
        times = self.times
        return (lambda seen: times.observe(*seen)) if isinstance(times, LossAware) else None

    def extras(self) -> dict[str, Tensor]:
        """What it holds besides the denoiser, to be kept in checkpoints."""
        state = self.state_dict()
        return {name: state[name] for name in state if not name.startswith("denoiser.")}

    def load_extras(self, extras: dict[str, Tensor]) -> None:
        self.load_state_dict(extras, strict=False)  # the denoiser is loaded by itself

    @property
    def _nobody(self) -> int:
        return self.denoiser.net.classes  # type: ignore[return-value]


def build_denoiser(config: Config, shape: Shape, classes: int, sigma_data: float) -> Denoiser:
    """An untrained denoiser, its weights drawn from the run's seed."""
    options = config.diffusion
    path = make_path(
        options.path,
        T=options.T,
        betas=options.betas,
        shift=options.shift,
        zero_terminal_snr=options.zero_terminal_snr,
    )
    prediction = lookup(PREDICTIONS, options.prediction, "prediction")
    require_regular(path, options.prediction)
    learned_variance = options.variance == "learned"
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
            answers=2 if learned_variance else 1,
        )
    return Denoiser(net, path, prediction, sigma_data, learned_variance)


def attention_heights(net: Net, height: int) -> tuple[int, ...]:
    """Where there is attention, in pixels: "coarsest" depends on the pictures."""
    return (height >> (len(net.widths) - 1),) if net.attention == "coarsest" else net.attention


def build_learner(
    config: Config, shape: Shape, classes: int, sigma_data: float
) -> DiffusionLearner:
    """Raises UserError where its options do not go together."""
    options = config.diffusion
    check_objective(options)
    denoiser = build_denoiser(config, shape, classes, sigma_data)
    weight = lookup(WEIGHTS, options.weight, "weight")(options.min_snr)
    times = lookup(TIMES, options.times, "distribution of times")
    with torch.random.fork_rng(devices=[]):
        uncertainty = Uncertainty() if options.uncertainty else None
    return DiffusionLearner(
        denoiser,
        lookup(OBJECTIVES, options.objective, "objective")(weight, options.variance),
        times(denoiser.path, options.log_mean, options.log_std),
        pairing=lookup(PAIRINGS, options.pairing, "pairing"),
        uncertainty=uncertainty,
        label_dropout=options.label_dropout,
    )


VARIATIONAL = ("bound", "hybrid")
COMPARING = ("mmd", "denoising+mmd")
# What does not go together, and what to do about it.
CONFLICTS: tuple[tuple[Callable[[Diffusion], bool], str], ...] = (
    (
        lambda o: o.path == "learned" and o.objective != "bound",
        "a learned path would make other objectives small by leaving the hard noise levels out; "
        "add --diffusion.objective bound --diffusion.times uniform, or choose another path",
    ),
    (
        lambda o: o.objective == "hybrid" and o.variance != "learned",
        "the hybrid objective learns the variance; add --diffusion.variance learned",
    ),
    (
        lambda o: o.objective not in VARIATIONAL and o.variance != "small",
        "only the objectives hybrid and bound look at the variance; leave --diffusion.variance "
        "at small, or choose one of them with --diffusion.objective",
    ),
    (
        lambda o: o.objective in VARIATIONAL and o.times not in ("uniform", "importance"),
        "the objectives hybrid and bound are sums over all times; use --diffusion.times uniform "
        "or importance",
    ),
    (
        lambda o: o.objective in VARIATIONAL and o.pairing != "none",
        "the objectives hybrid and bound are about noise that knows nothing of the image; leave "
        "--diffusion.pairing at none",
    ),
    (
        lambda o: o.objective in COMPARING and o.times == "importance",
        "the objectives with mmd compare pairs of images, and importance weighs single ones; use "
        "other --diffusion.times",
    ),
    (
        lambda o: o.objective != "denoising" and o.uncertainty,
        "a learned uncertainty weighs the noise levels of the denoising objective; leave "
        "--diffusion.uncertainty out with others",
    ),
)


def check_objective(options: Diffusion) -> None:
    """Raises UserError where the objective can't be had with the other options."""
    lookup(VARIANCES, options.variance, "variance")
    for broken, remedy in CONFLICTS:
        if broken(options):
            raise UserError(remedy)
