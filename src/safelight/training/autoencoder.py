"""Autoencoders as the loop trains them, arXiv:1312.6114 with the weights of arXiv:2112.10752."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from safelight.config import Autoencoder as Options
from safelight.config import Config
from safelight.errors import lookup
from safelight.nets.autoencoder import Autoencoder
from safelight.seeding import Noise
from safelight.training.batches import Batch
from safelight.training.learner import Problem, Turn

LOSSES: dict[str, Callable[[Tensor], Tensor]] = {"squared": Tensor.square, "absolute": Tensor.abs}


class AutoencoderLearner(nn.Module):
    """mean loss(x - decode(z)) + kl · KL(z | x) / d with z ~ N(mean(x), std(x)²), of d values.

    With squares that is the negative bound of eq. (10) of arXiv:1312.6114, up to a factor, for a
    decoder that is uncertain by a deviation of sqrt(kl / 2) in each value.
    """

    phases = ("autoencoder",)
    observe = None

    def __init__(self, model: Autoencoder, options: Options) -> None:
        super().__init__()
        self.model = model
        self.loss = lookup(LOSSES, options.loss, "loss of an autoencoder")
        self.kl = options.kl

    def forward(self, batch: Batch, noise: Noise, turn: Turn) -> dict[str, Tensor]:
        x = batch.images
        again, mean, std = self.model(x, noise.normal(*self.model.latent))
        error = self.loss(x - again.float()).flatten(1).mean(1)
        return {"loss": error + self.kl * divergence(mean, std) / x[0].numel()}

    def taught(self, phase: str) -> Iterator[nn.Parameter]:
        return self.parameters()


def divergence(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, std²) | N(0, 1)) in nats, (b,): appendix B of arXiv:1312.6114."""
    variance = std.square()
    return 0.5 * (mean.square() + variance - 1 - variance.log()).flatten(1).sum(1)


def build_autoencoder(config: Config, problem: Problem) -> Autoencoder:
    """An untrained autoencoder, its weights drawn from the run's seed."""
    options = config.autoencoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Autoencoder(
            problem.shape,
            channels=options.channels,
            widths=options.widths,
            blocks=options.blocks,
            attention=options.attention,
        )


def build_learner(config: Config, problem: Problem) -> AutoencoderLearner:
    return AutoencoderLearner(build_autoencoder(config, problem), config.autoencoder)


def call(model: nn.Module, x: Tensor) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, and one call for images like x (b, c, h, w): there and back."""
    latent: tuple[int, int, int] = model.latent  # type: ignore[assignment]
    return model, (x, x.new_zeros(len(x), *latent))
