"""The validation loss of a denoiser, by noise level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from safelight.config import Config
from safelight.data.cache import Cache
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.objective import Denoising
from safelight.diffusion.path import Path
from safelight.diffusion.weights import edm_weight
from safelight.images import dequantise, pieces
from safelight.seeding import ImageNoise, derive, generator
from safelight.training.codec import Codec
from safelight.training.watching import validation_split

IMAGES = 128
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # sigma / alpha


@dataclass(frozen=True)
class Validation:
    """Held-out pictures with fixed noise: the same question at every step of every run.

    The loss at a level is |x_0 - D|² over the best that a linear denoiser of white images of this
    deviation could do: 1 is what a network knows before it has learnt anything, on every path and
    for every parameterisation.
    """

    images: Tensor  # (b, c, h, w) in [-1, 1], or latents
    labels: Tensor | None
    eps: Tensor
    latent: bool = False

    @classmethod
    def of(
        cls,
        cache: Cache,
        conditional: bool,
        seed: int,
        device: torch.device,
        codec: Codec | None = None,
    ) -> Validation:
        """codec: where latents are learnt."""
        order = torch.randperm(cache.count, generator=generator(seed, "validation"))[:IMAGES]
        images = dequantise(torch.from_numpy(cache.read(order.sort().values.numpy())))
        if codec is not None:
            images = codec.encode(images)
        noise = ImageNoise([derive(seed, "validation", i) for i in range(len(images))], device)
        labels = cache.labels(order.sort().values.tolist()) if conditional else None
        return cls(
            images.to(device),
            None if labels is None else labels.to(device),
            noise.normal(*images.shape[1:]),
            latent=codec is not None,
        )

    def look(self, model: nn.Module, micro_batch: int) -> dict[str, Any]:
        """ "sigma": the noise levels; "loss", "psnr": at each; "mean": the loss over all of them.

        "psnr" is that of the guess D of x_0: 10 log10(4 / mean |x_0 - D|²), in decibels; of
        pictures, not of latents, which know no largest value.
        "missing": those of LEVELS that the path does not have. Nothing where it has none of them.
        """
        denoiser = cast(Denoiser, model)
        levels = levels_of(denoiser.path)
        if not levels:
            return {}
        losses = [self._loss(denoiser, level, micro_batch) for level in levels]
        weights = edm_weight(torch.tensor(levels), denoiser.sigma_data).tolist()
        psnr = [10 * math.log10(4 * w / loss) for w, loss in zip(weights, losses, strict=True)]
        found = {
            "sigma": levels,
            "missing": [level for level in LEVELS if level not in levels],
            "loss": [round(loss, 6) for loss in losses],
            "mean": round(sum(losses) / len(losses), 6),
        }
        if not self.latent:
            found["psnr"] = [round(decibels, 3) for decibels in psnr]
        return found

    @staticmethod
    def curves(name: str, losses: dict[str, Any]) -> dict[str, float]:
        """What `look` found, as TensorBoard's curves: one for each noise level."""
        return {
            f"validation {name}{kind}/sigma {sigma:g}": value
            for kind, values in (("", losses["loss"]), (" PSNR", losses.get("psnr", ())))
            for sigma, value in zip(losses["sigma"], values, strict=False)
        }

    @torch.inference_mode()
    def _loss(self, denoiser: Denoiser, level: float, micro_batch: int) -> float:
        objective = Denoising(edm_weight)
        snr = torch.full((len(self.images),), level**-2, device=self.images.device)
        t = denoiser.path.time(snr)
        losses = [
            objective(
                denoiser,
                self.images[part],
                t[part],
                self.eps[part],
                None if self.labels is None else self.labels[part],
            )
            for part in pieces(len(t), micro_batch)
        ]
        return float(torch.cat(losses).mean())


def examiner(
    cache: Cache, config: Config, device: torch.device, codec: Codec | None = None
) -> Validation | None:
    """None where no pictures were held out."""
    held_out = validation_split(cache)
    if held_out is None:
        return None
    return Validation.of(held_out, config.data.conditional, config.seed, device, codec)


def levels_of(path: Path) -> list[float]:
    """Those of LEVELS for which the path has a time; for others it would give its nearest end's."""
    wanted = torch.tensor(LEVELS, dtype=torch.float64)
    reached = path.noise_level(path.time(wanted**-2))
    return wanted[torch.isclose(reached, wanted, rtol=1e-4)].tolist()
