"""What is trained: one loop trains every family through this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from safelight.config import Config, Diffusion, Net
from safelight.diffusion.bound import VARIANCES
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.objective import OBJECTIVES, Objective, asked
from safelight.diffusion.path import PATHS, make_path
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
        error = loss = self.objective(self.denoiser, x_0, t, eps, y)
        if self.uncertainty is not None:
            log_error = self.uncertainty(c_noise(path.log_snr(t)))
            error = error / log_error.exp()
            loss = error + log_error
        # Importance is that of what the network learns from: log_error is not, and may be below 0.
        seen = torch.stack([t, error.detach()])
        level = path.noise_level(asked(self.objective, path, t)).detach()
        return {"loss": importance * loss, "level": level, "seen": seen}

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
            answers=2 if options.variance == "learned" else 1,
        )
    return Denoiser(net, path, prediction, sigma_data, options.variance)


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
        lookup(OBJECTIVES, options.objective, "objective")(weight),
        times(denoiser.path, options.log_mean, options.log_std),
        pairing=lookup(PAIRINGS, options.pairing, "pairing"),
        uncertainty=uncertainty,
        label_dropout=options.label_dropout,
    )


VARIATIONAL = ("bound", "hybrid")
COMPARING = ("mmd", "denoising+mmd")
NORMAL = ("lognormal", "logit-normal")


def compares(options: Diffusion) -> bool:
    """Whether the loss of an image depends on the others of its process's share of a batch.

    Then all of them have to go through the network together, or the result would depend on how
    much memory was free.
    """
    return options.objective in COMPARING or options.pairing != "none"


Rule = tuple[Callable[[Diffusion], bool], str]


def _has_steps(options: Diffusion) -> bool:
    return not {"T", "betas"}.isdisjoint(lookup(PATHS, options.path, "path").heeds)


# What does not go together, and what to do about it.
CONFLICTS: tuple[Rule, ...] = (
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
        lambda o: o.objective == "hybrid" and not _has_steps(o),
        "the hybrid objective counts the bound by a path's steps, and this path has none; choose a "
        "path with steps, such as cosine, or --diffusion.objective bound",
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


USUAL = Diffusion()
# What would change nothing. Runs of before it was refused go on.
UNHEEDED: tuple[Rule, ...] = (
    (
        lambda o: o.objective in ("bound", "mmd") and o.weight != USUAL.weight,
        "the objectives bound and mmd weigh the noise levels in their own way; give "
        f"--diffusion.weight {USUAL.weight}, the usual, or choose another --diffusion.objective",
    ),
    (
        lambda o: o.weight != "min-snr" and o.min_snr != USUAL.min_snr,
        "--diffusion.min-snr is the cap of the weight min-snr; leave it out, or add "
        "--diffusion.weight min-snr",
    ),
    (
        lambda o: o.times not in NORMAL and (o.log_mean, o.log_std) != (None, None),
        "--diffusion.log-mean and --diffusion.log-std are those of normal distributions; leave "
        "them out, or choose --diffusion.times lognormal or logit-normal",
    ),
)


def check_objective(options: Diffusion) -> None:
    """Raises UserError where the objective can't be had with the other options."""
    lookup(VARIANCES, options.variance, "variance")
    _require(CONFLICTS, options)


def require_heeded(options: Diffusion) -> None:
    """Raises UserError where an option would change nothing."""
    _require(UNHEEDED, options)


def _require(rules: tuple[Rule, ...], options: Diffusion) -> None:
    for broken, remedy in rules:
        if broken(options):
            raise UserError(remedy)
