"""Denoisers closed over a label and a guidance weight: all that a sampler ever sees."""

from __future__ import annotations

import torch
from torch import Tensor

from safelight.diffusion.denoiser import Denoiser
from safelight.samplers.steps import Denoise


def guided(denoiser: Denoiser, y: Tensor | None, weight: float = 1.0) -> Denoise:
    """Classifier-free guidance, eq. (6) of arXiv:2207.12598: D(x) + weight (D(x, y) - D(x)).

    weight 1 is the conditional model itself and costs one network call; 0 is the unconditional one.
    """

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        t = t.to(x_t).expand(len(x_t))
        if y is None or weight == 1:
            return denoiser(x_t, t, y)  # type: ignore[no-any-return]
        plain: Tensor = denoiser(x_t, t, None)
        return plain if weight == 0 else torch.lerp(plain, denoiser(x_t, t, y), weight)

    return denoise


def clipped(denoise: Denoise) -> Denoise:
    """Keep the guess of x_0 where images are, in [-1, 1], as DDPM's own sampler does."""

    def clamp(x_t: Tensor, t: Tensor) -> Tensor:
        return denoise(x_t, t).clamp(-1, 1)

    return clamp
