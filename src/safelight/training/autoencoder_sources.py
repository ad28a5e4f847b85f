"""Autoencoders of runs as sources of images: held-out pictures, there and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from safelight.config import Sampling
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.images import ImageSource, dequantise, pieces, quantise
from safelight.machine import full_precision
from safelight.nets.autoencoder import Autoencoder
from safelight.seeding import generator
from safelight.training.checkpoint import Checkpoint
from safelight.training.watching import require_undrawn

if TYPE_CHECKING:
    from safelight.training.run import Run

# The first that there is: not the test split, which what comes back is compared with. An unbiased
# distance between pictures and themselves would come out too small, even below nothing.
HELD_OUT = ("validation", "test", "train")


class Shuffled:
    """Stored pictures in a drawn order, always the same: stored ones stand class by class.

    Fulfils `images.ImageSource`.
    """

    def __init__(self, cache: Cache) -> None:
        self.name, self.fingerprint = cache.name, cache.fingerprint
        self.shape, self.classes, self.count = cache.shape, cache.classes, cache.count
        self._cache = cache
        self._order = torch.randperm(cache.count, generator=generator(0, "held out"))

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        return self._cache.images(self._places(seeds))

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return self._cache.labels(self._places(seeds))

    def _places(self, seeds: Sequence[int]) -> list[int]:
        if wrong := [seed for seed in seeds if not 0 <= seed < self.count]:
            raise UserError(f"{self.name} has the pictures 0 to {self.count - 1}, not {wrong[0]}")
        return self._order[list(seeds)].tolist()


class ReconstructionSource:
    """Fulfils `images.ImageSource` and `images.Restoring`; image i is picture seeds[i] again.

    From the mean of its latents, in float32. At most `micro_batch` images go through the network at
    once.
    """

    evaluations = 1
    slug = "reconstructions"
    classes: tuple[str, ...] = ()  # the pictures are there: none can be asked for by its class

    def __init__(
        self,
        model: Autoencoder,
        fingerprint: str,
        pictures: ImageSource,
        *,
        name: str,
        trained: Mapping[str, str],
        micro_batch: int = 64,
    ) -> None:
        self.name, self.trained, self.pictures = name, trained, pictures
        what = f"reconstruction {fingerprint} {pictures.fingerprint}"
        self.fingerprint = hashlib.sha256(what.encode()).hexdigest()
        self._model, self._micro_batch = model.eval(), micro_batch

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.pictures.shape

    @property
    def count(self) -> int | None:
        return self.pictures.count

    def describe(self) -> str:
        return f"the autoencoder from pictures of {self.pictures.name}, there and back"

    def record(self) -> dict[str, Any]:
        return {"evaluations": self.evaluations, "pictures": self.pictures.name}

    def labels(self, seeds: Sequence[int]) -> None:
        return None

    @torch.inference_mode()
    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        """(b, c, h, w) uint8."""
        device = next(self._model.parameters()).device
        drawn = []
        for part in pieces(len(seeds), self._micro_batch):
            x = dequantise(self.pictures.images(seeds[part])).to(device)
            with full_precision():
                mean, _ = self._model.encode(x)
                drawn.append(quantise(self._model.decode(mean)).cpu())
        return torch.cat(drawn)


def sources(
    run: Run, chosen: Checkpoint, weights: str, samplings: Sequence[Sampling]
) -> list[ReconstructionSource]:
    """The one source there is. Raises UserError where options say how it is drawn."""
    require_undrawn(run, samplings)
    model, digest = run.model(chosen, weights)
    return [
        ReconstructionSource(
            cast(Autoencoder, model),
            digest,
            Shuffled(held_out(run.cache())),
            **run.named(chosen, weights),
            micro_batch=run.plan.smallest,
        )
    ]


def preview(run: Run, model: nn.Module) -> ReconstructionSource:
    """What an autoencoder gives back while it is trained."""
    return ReconstructionSource(
        cast(Autoencoder, model),
        "",
        Shuffled(held_out(run.cache())),
        name=run.name,
        trained={},
        micro_batch=run.plan.smallest,
    )


def held_out(cache: Cache) -> Cache:
    """The pictures to show it by."""
    for split in HELD_OUT:
        try:
            return cache.subset(split)
        except UserError:
            continue
    return cache
