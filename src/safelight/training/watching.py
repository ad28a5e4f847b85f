"""Looking at a model while it trains: its validation loss by noise level, and its pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from safelight.config import Sampling
from safelight.data.cache import Cache
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.objective import Denoising
from safelight.diffusion.path import Path
from safelight.diffusion.weights import edm_weight
from safelight.errors import UserError
from safelight.images import contact_sheet, dequantise, pieces
from safelight.seeding import ImageNoise, derive, generator
from safelight.training.learners import lowest_trained
from safelight.training.run import Run
from safelight.training.source import DiffusionSource, Model

IMAGES = 128
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # sigma / alpha
PREVIEW = Sampling(steps=10, guidance=1.0)  # without guidance it costs half


@dataclass(frozen=True)
class Validation:
    """Held-out pictures with fixed noise: the same question at every step of every run.

    The loss at a level is |x_0 - D|² over the best that a linear denoiser of white images of this
    deviation could do: 1 is what a network knows before it has learnt anything, on every path and
    for every parameterisation.
    """

    images: Tensor  # (b, c, h, w) in [-1, 1]
    labels: Tensor | None
    eps: Tensor

    @classmethod
    def of(cls, cache: Cache, conditional: bool, seed: int, device: torch.device) -> Validation:
        order = torch.randperm(cache.count, generator=generator(seed, "validation"))[:IMAGES]
        images = dequantise(torch.from_numpy(cache.read(order.sort().values.numpy())))
        noise = ImageNoise([derive(seed, "validation", i) for i in range(len(images))], device)
        labels = cache.labels(order.sort().values.tolist()) if conditional else None
        return cls(
            images.to(device),
            None if labels is None else labels.to(device),
            noise.normal(*images.shape[1:]),
        )

    def losses(self, denoiser: Denoiser, micro_batch: int) -> dict[str, Any]:
        """ "sigma": the noise levels; "loss", "psnr": at each; "mean": the loss over all of them.

        "psnr" is that of the guess D of x_0: 10 log10(4 / mean |x_0 - D|²), in decibels.
        "missing": those of LEVELS that the path does not have; of the others there has to be one.
        """
        levels = levels_of(denoiser.path)
        losses = [self._loss(denoiser, level, micro_batch) for level in levels]
        weights = edm_weight(torch.tensor(levels), denoiser.sigma_data).tolist()
        psnr = [10 * math.log10(4 * w / loss) for w, loss in zip(weights, losses, strict=True)]
        return {
            "sigma": levels,
            "missing": [level for level in LEVELS if level not in levels],
            "loss": [round(loss, 6) for loss in losses],
            "psnr": [round(decibels, 3) for decibels in psnr],
            "mean": round(sum(losses) / len(losses), 6),
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


def levels_of(path: Path) -> list[float]:
    """Those of LEVELS for which the path has a time; for others it would give its nearest end's."""
    wanted = torch.tensor(LEVELS, dtype=torch.float64)
    reached = path.noise_level(path.time(wanted**-2))
    return wanted[torch.isclose(reached, wanted, rtol=1e-4)].tolist()


def curves(name: str, losses: dict[str, Any]) -> dict[str, float]:
    """What `Validation.losses` found, as TensorBoard's curves: one for each noise level."""
    return {
        f"validation {name}{kind}/sigma {sigma:g}": value
        for kind, values in (("", losses["loss"]), (" PSNR", losses["psnr"]))
        for sigma, value in zip(losses["sigma"], values, strict=True)
    }


def validation_split(cache: Cache) -> Cache | None:
    """The validation split, or None where there is none."""
    try:
        return cache.subset("validation")
    except UserError:
        return None


def draw_preview(run: Run, denoiser: Denoiser, step: int) -> None:
    """A contact sheet of the same seeds at every step: four rows, a column for each class."""
    source = DiffusionSource(
        Model(denoiser, "", lowest_trained(run.config.diffusion, denoiser.path)),
        name=run.name,
        shape=run.file.shape,
        classes=run.classes,
        classless=run.classless,
        sampling=PREVIEW,
        micro_batch=run.plan.micro_batch,
    )
    columns = min(10, len(run.classes)) or 8
    images = source.images(preview_seeds(len(run.classes), columns))
    run.save_preview(step, contact_sheet(images, columns))


def preview_seeds(classes: int, columns: int, rows: int = 4) -> list[int]:
    """Row by row; the seed of column k has class k, since classes are taken in turn."""
    stride = max(classes, columns)
    return [row * stride + column for row in range(rows) for column in range(columns)]
