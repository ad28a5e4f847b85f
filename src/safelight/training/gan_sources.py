"""GANs of runs as sources of images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from safelight.config import Sampling
from safelight.images import in_turn, pieces, quantise
from safelight.machine import full_precision
from safelight.nets.gan import Generator
from safelight.seeding import image_noise
from safelight.training.checkpoint import Checkpoint
from safelight.training.watching import require_undrawn

if TYPE_CHECKING:
    from safelight.training.run import Run


class GanSource:
    """Fulfils `images.ImageSource`; image i is a function of seeds[i] and labels[i], in float32.

    At most `micro_batch` images go through the generator at once.
    """

    count = None
    evaluations = 1
    slug = "gan"

    def __init__(
        self,
        generator: Generator,
        fingerprint: str,
        *,
        name: str,
        trained: Mapping[str, str],
        shape: tuple[int, int, int],
        classes: tuple[str, ...],
        micro_batch: int = 64,
    ) -> None:
        self.name, self.trained, self.shape, self.classes = name, trained, shape, classes
        self.fingerprint = hashlib.sha256(f"gan {fingerprint}".encode()).hexdigest()
        self._generator, self._micro_batch = generator.eval(), micro_batch

    def describe(self) -> str:
        return "one call of the generator"

    def record(self) -> dict[str, Any]:
        return {"evaluations": self.evaluations}

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return in_turn(self.classes, seeds)

    @torch.inference_mode()
    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        """(b, c, h, w) uint8."""
        labels = self.labels(seeds) if labels is None else labels
        device = next(self._generator.parameters()).device
        drawn = []
        for part in pieces(len(seeds), self._micro_batch):
            z = image_noise(seeds[part], device).normal(self._generator.latent)
            y = None if labels is None or not self.classes else labels[part].to(device)
            with full_precision():
                drawn.append(quantise(self._generator(z, y)).cpu())
        return torch.cat(drawn)


def sources(
    run: Run, chosen: Checkpoint, weights: str, samplings: Sequence[Sampling]
) -> list[GanSource]:
    """The one source there is. Raises UserError where options say how it is drawn."""
    require_undrawn(run, samplings)
    generator, digest = run.model(chosen, weights)
    return [
        GanSource(
            cast(Generator, generator),
            digest,
            **run.named(chosen, weights),
            shape=run.file.shape,
            classes=run.classes,
            micro_batch=run.plan.smallest,
        )
    ]


def preview(run: Run, model: nn.Module) -> GanSource:
    """What a generator draws while it is trained."""
    return GanSource(
        cast(Generator, model),
        "",
        name=run.name,
        trained={},
        shape=run.file.shape,
        classes=run.classes,
        micro_batch=run.plan.smallest,
    )
