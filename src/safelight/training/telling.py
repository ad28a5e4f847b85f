"""How far images are on their way from noise, told at each guess of the model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from safelight.diffusion.denoiser import with_variance
from safelight.images import Tell
from safelight.samplers.guidance import Tally
from safelight.samplers.steps import Denoise
from safelight.training.drawing import Drawing

Hear = Callable[[Tensor], None]  # is told t () of each guess


@dataclass(frozen=True)
class Told:
    """A denoiser that tells of each of its guesses."""

    denoise: Denoise
    hear: Hear

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        x_0 = self.denoise(x_t, t)
        self.hear(t)
        return x_0

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x_0, v = with_variance(self.denoise, x_t, t)
        self.hear(t)
        return x_0, v


class Way:
    """So many images together on their way: they hear of its guesses, and tell how many are done.

    Each guess counts as its calls of the network do among the `calls` of the whole way. Where the
    sampler decides how many these are (None), what counts is how far ln(sigma / alpha) has fallen.
    """

    def __init__(self, images: int, drawing: Drawing, calls: int | None, tell: Tell) -> None:
        self._images, self._tell, self._share = images, tell, 0.0
        self.hear = self._counted(drawing, calls) if calls else self._measured(drawing)

    def ended(self) -> None:
        self._reached(1.0)

    def _reached(self, share: float) -> None:
        """`share` of the way; no way back is told, as where a step was tried in vain."""
        if share > self._share:
            self._tell(self._images * (share - self._share))
            self._share = share

    def _counted(self, drawing: Drawing, calls: int) -> Hear:
        tally = Tally(drawing.guidance, drawing.path)

        def hear(t: Tensor) -> None:
            tally.count(t)
            self._reached(min(tally.calls / calls, 1.0))

        return hear

    def _measured(self, drawing: Drawing) -> Hear:
        def height(t: Tensor) -> float:
            return -float(drawing.path.log_snr(t)) / 2

        top, bottom = (height(drawing.times[i]) for i in (0, -2))

        def hear(t: Tensor) -> None:
            here = height(t)
            if math.isfinite(top) and bottom < here < top:
                self._reached((top - here) / (top - bottom))

        return hear
