"""How well an autoencoder gives held-out pictures back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from safelight.config import Config
from safelight.data.cache import Cache
from safelight.images import dequantise, pieces, psnr
from safelight.nets.autoencoder import Autoencoder
from safelight.seeding import generator
from safelight.training.autoencoder import divergence
from safelight.training.codec import Codec
from safelight.training.watching import validation_split

IMAGES = 128


@dataclass(frozen=True)
class Fidelity:
    """The same held-out pictures at every look."""

    images: Tensor  # (b, c, h, w) in [-1, 1]

    @classmethod
    def of(cls, cache: Cache, seed: int, device: torch.device) -> Fidelity:
        order = torch.randperm(cache.count, generator=generator(seed, "validation"))[:IMAGES]
        return cls(dequantise(cache.images(order.sort().values.tolist())).to(device))

    @torch.inference_mode()
    def look(self, model: nn.Module, micro_batch: int) -> dict[str, Any]:
        """ "reconstruction": PSNR of what comes back, the mean in decibels. "bits": what the
        latents tell, the divergence from a normal distribution for each value of a picture.
        """
        autoencoder, ratios, told = cast(Autoencoder, model), [], []
        for part in pieces(len(self.images), micro_batch):
            x = self.images[part]
            mean, std = autoencoder.encode(x)
            ratios.append(psnr(autoencoder.decode(mean).float().clamp(-1, 1), x))
            told.append(divergence(mean, std))
        bits = torch.cat(told).mean() / self.images[0].numel() / torch.log(torch.tensor(2.0))
        return {
            "reconstruction": round(float(torch.cat(ratios).mean()), 3),
            "bits": round(float(bits), 4),
        }

    @staticmethod
    def curves(name: str, found: dict[str, Any]) -> dict[str, float]:
        return {f"validation {what} {name}": value for what, value in found.items()}


def examiner(
    cache: Cache, config: Config, device: torch.device, codec: Codec | None = None
) -> Fidelity | None:
    """None where no pictures were held out."""
    held_out = validation_split(cache)
    return None if held_out is None else Fidelity.of(held_out, config.seed, device)
