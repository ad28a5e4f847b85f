"""Denoisers closed over a label and a guidance weight: all that a sampler ever sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from safelight.diffusion.denoiser import Denoiser
from safelight.samplers.steps import Denoise


@dataclass(frozen=True)
class Guided:
    """Classifier-free guidance, eq. (6) of arXiv:2207.12598: D(x) + weight (D(x, y) - D(x)).

    weight 1 is the conditional model itself and costs one network call; 0 is the unconditional one.
    """

    denoiser: Denoiser
    y: Tensor | None = None
    weight: float = 1.0

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (b, c, h, w), t () -> x_0 (b, c, h, w)."""
        t = t.to(x_t).expand(len(x_t))
        if self.y is None or self.weight == 1:
            return self.denoiser(x_t, t, self.y)  # type: ignore[no-any-return]
        plain: Tensor = self.denoiser(x_t, t, None)
        if self.weight == 0:
            return plain
        return torch.lerp(plain, self.denoiser(x_t, t, self.y), self.weight)

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the variance that the conditional model has learned."""
        x_0, v = self.denoiser.with_variance(x_t, t.to(x_t).expand(len(x_t)), self.y)
        return (x_0 if self.y is None or self.weight == 1 else self(x_t, t)), v


@dataclass(frozen=True)
class Clipped:
    """Keep the guess of x_0 where images are, in [-1, 1], as DDPM's own sampler does."""

    denoise: Denoise

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.denoise(x_t, t).clamp(-1, 1)

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x_0, v = self.denoise.with_variance(x_t, t)  # type: ignore[attr-defined]
        return x_0.clamp(-1, 1), v
