"""A trained diffusion model's bits per dimension, of real images and by two methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from safelight.config import Likelihood
from safelight.diffusion.bound import bits_per_dimension
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.likelihood import (
    DEQUANTISATIONS,
    HIGHEST,
    LOWEST,
    STEPS,
    bound_nats,
    bound_times,
    flow_nats,
)
from safelight.diffusion.objective import Labelled
from safelight.errors import lookup
from safelight.images import dequantise, pieces
from safelight.machine import full_precision
from safelight.seeding import ImageNoise, derive

# Not which: it is a part of the model, and models of different variances may be compared.
VARIANCE = "steps back of the variance that the model was trained with"


@dataclass(frozen=True)
class Measure:
    """One method: a function of each image and of its seed, whatever is beside it.

    parameters: all that decides the bits besides the images, the seeds and the model.
    nats: the model, x_0 and noise -> nats of each image (b,).
    """

    parameters: str
    nats: Callable[[Labelled, Tensor, ImageNoise], Tensor]
    denoiser: Denoiser
    micro_batch: int

    def __call__(self, images: Tensor, labels: Tensor | None, seeds: Sequence[int]) -> Tensor:
        """Bits per dimension of uint8 images (b, c, h, w): (b,) float64.

        labels: as the model numbers its classes; None for no class. seeds: of all that is random.
        """
        return torch.cat(
            [
                self._bits(images[piece], None if labels is None else labels[piece], seeds[piece])
                for piece in pieces(len(images), self.micro_batch)
            ]
        )

    @torch.no_grad()
    def _bits(self, images: Tensor, labels: Tensor | None, seeds: Sequence[int]) -> Tensor:
        device = next(self.denoiser.parameters()).device
        noise = ImageNoise([derive(seed, "likelihood") for seed in seeds], device)
        x_0 = dequantise(images).to(device)
        model = Labelled(self.denoiser, None if labels is None else labels.to(device))
        with full_precision():
            return bits_per_dimension(self.nats(model, x_0, noise), x_0).double().cpu()


def measures(
    denoiser: Denoiser, options: Likelihood, conditional: bool, micro_batch: int
) -> dict[str, Measure]:
    """The bound and the ODE. Raises UserError for a dequantisation that there is not."""
    lookup(DEQUANTISATIONS, options.dequantisation, "dequantisation")
    what = "the image given its class" if conditional else "the image"
    return {
        "bound": Measure(
            f"variational bound of {what}: the path's own steps, or {STEPS:,} even in log-SNR from "
            f"noise level {LOWEST:.4f} to {HIGHEST:g}; {options.terms} terms drawn for each image "
            f"besides prior and discretised Gaussian decoder; {VARIANCE}",
            partial(_bound, options),
            denoiser,
            micro_batch,
        ),
        "ODE": Measure(
            f"probability-flow ODE of {what}: dopri5, tolerance {options.tolerance:g}, within the "
            f"path's noise levels and {LOWEST:.4f} to {HIGHEST:g}; Hutchinson's estimator, "
            f"{options.probes} Rademacher probe(s); {options.dequantisation} dequantisation; "
            f"{VARIANCE}",
            partial(_ode, options),
            denoiser,
            micro_batch,
        ),
    }


def _bound(options: Likelihood, model: Labelled, x_0: Tensor, noise: ImageNoise) -> Tensor:
    path = model.denoiser.path
    times = bound_times(path)
    places = noise.uniform(min(options.terms, len(times) - 2))
    draw = partial(noise.normal, *x_0.shape[1:])
    return bound_nats(model, path, x_0, times, places, draw, model.denoiser.variance)


def _ode(options: Likelihood, model: Labelled, x_0: Tensor, noise: ImageNoise) -> Tensor:
    shape = x_0.shape[1:]
    signs = [2 * noise.uniform(*shape).round() - 1 for _ in range(options.probes)]
    begin = DEQUANTISATIONS[options.dequantisation]
    start = begin(model, model.denoiser.path, x_0, noise.normal(*shape), model.denoiser.variance)
    probes = torch.stack(signs)
    return flow_nats(model, model.denoiser.path, x_0, start, probes, options.tolerance)
