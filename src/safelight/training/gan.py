"""GANs as the loop trains them, arXiv:1406.2661: a discriminator's turn, then the generator's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from safelight.config import Config, Gan
from safelight.errors import UserError, lookup
from safelight.nets.augmentation import AUGMENTATIONS, DRAWS, augment
from safelight.nets.gan import Discriminator, Generator, usual_widths
from safelight.seeding import Noise
from safelight.training.batches import Batch
from safelight.training.learner import Problem, Turn


class Game(NamedTuple):
    """What each network minimises, of the discriminator's logits (b,), image by image.

    discriminator: of real and of generated images, and the smoothing of their labels.
    """

    discriminator: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor], Tensor]


def cross_entropy(real: Tensor, generated: Tensor, smoothing: float) -> Tensor:
    """Labels 1 and 0, or with a smoothing of 0.1 0.9 and 0.1."""
    told = torch.full_like(real, smoothing)
    losses = (
        binary_cross_entropy_with_logits(real, 1 - told, reduction="none"),
        binary_cross_entropy_with_logits(generated, told, reduction="none"),
    )
    return losses[0] + losses[1]


GAMES: dict[str, Game] = {
    # Section 3 of arXiv:1406.2661, the generator's loss not saturating.
    "cross-entropy": Game(cross_entropy, lambda generated: softplus(-generated)),
    # Eqs. (16) and (17) of arXiv:1802.05957.
    "hinge": Game(
        lambda real, generated, _: relu(1 - real) + relu(1 + generated),
        lambda generated: -generated,
    ),
}


class GanLearner(nn.Module):
    """Two networks: `model` generates, `discriminator` tells its images from real ones."""

    phases = ("discriminator", "generator")
    observe = None

    def __init__(self, model: Generator, discriminator: Discriminator, options: Gan) -> None:
        super().__init__()
        self.model = model
        self.discriminator = discriminator
        self.game = lookup(GAMES, options.loss, "loss of a GAN")
        self.how = [lookup(AUGMENTATIONS, name, "augmentation") for name in options.augment]
        self.options = options

    def forward(self, batch: Batch, noise: Noise, turn: Turn) -> dict[str, Tensor]:
        z, y = noise.normal(self.model.latent), batch.labels
        if turn.phase == "generator":
            judged = self._judge(self.model(z, y), y, noise, turn.done)
            return {"loss": self.game.generator(judged)}
        with torch.no_grad():
            images = self.model(z, y)
        generated = self._judge(images, y, noise, turn.done)
        real = self._judge(batch.images, y, noise, turn.done)
        return {"loss": self.game.discriminator(real, generated, self.options.smoothing)}

    def _judge(self, x: Tensor, y: Tensor | None, noise: Noise, done: float) -> Tensor:
        """Logits (b,), float32, of images varied and noised as the options say."""
        if self.how:
            x = augment(x, noise.uniform(DRAWS), self.how)
        deviation = self.noise(done)
        if deviation:
            x = x + deviation * noise.normal(*x.shape[1:])
        logits: Tensor = self.discriminator(x, y)
        return logits.float()

    def noise(self, done: float) -> float:
        """Deviation of the noise on what is judged, after this share of the run."""
        until = self.options.noise_until
        return self.options.noise * (1.0 if until is None else max(0.0, 1 - done / until))

    def taught(self, phase: str) -> Iterator[nn.Parameter]:
        network = self.model if phase == "generator" else self.discriminator
        return network.parameters()


def build_generator(config: Config, problem: Problem) -> Generator:
    """An untrained generator, its weights drawn from the run's seed."""
    options = config.gan
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Generator(
            problem.shape,
            problem.classes,
            latent=options.latent,
            widths=widths(options, problem),
            label_channels=options.label_channels,
        )


def build_learner(config: Config, problem: Problem) -> GanLearner:
    """Raises UserError where it can't be built, or an option would change nothing."""
    options = config.gan
    if not problem.classes and "label_channels" in options.changes():
        raise UserError(
            "--gan.label-channels tells the networks of classes, and there are none here; leave it "
            "out"
        )
    generator = build_generator(config, problem)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        discriminator = Discriminator(
            problem.shape,
            problem.classes,
            widths=options.discriminator_widths or widths(options, problem),
            label_channels=options.label_channels,
            spectral=options.spectral,
        )
    return GanLearner(generator, discriminator, options)


def widths(options: Gan, problem: Problem) -> tuple[int, ...]:
    """As given, or those that are usual for pictures of this size."""
    _, h, w = problem.shape
    found = options.widths or usual_widths(h, w)
    if not found:
        raise UserError(
            f"pictures of {w}x{h} can't be halved to a map of 4 pixels or more, which a GAN begins "
            "with; prepare them at another --size, such as 32"
        )
    return found


def call(model: nn.Module, x: Tensor) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The generator, and one call for as many images as x (b, c, h, w)."""
    return model, (x.new_zeros(len(x), cast(Generator, model).latent),)
