"""Denoisers closed over a label and a guidance: all that a sampler ever sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from safelight.diffusion.denoiser import Denoiser, with_variance
from safelight.diffusion.path import Path
from safelight.errors import UserError
from safelight.samplers.steps import Denoise, Step
from safelight.samplers.trajectory import trajectory
from safelight.seeding import ImageNoise


@dataclass(frozen=True)
class Guidance:
    """How far the guess goes from what a weak model says through what the strong one says.

    Args:
        weight: of weak + weight (strong - weak). It is 1 + w for the w of arXiv:2207.12598, whose
            eq. (6) reads (1 + w) strong - w weak: 1 is the strong model itself, 0 the weak one.
            Each alone costs one network call and both two.
        interval: the noise levels sigma / alpha, above the first and up to the second, between
            which there is guidance, arXiv:2404.07724. Elsewhere the strong model speaks alone.
        rescale: phi of arXiv:2305.08891, section 3.4, in [0, 1]; see `rescaled`.
    """

    weight: float = 1.0
    interval: tuple[float, float] = (0.0, math.inf)
    rescale: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.interval
        if not math.isfinite(self.weight):
            raise UserError(f"--guidance is {self.weight}; it has to be a finite number, such as 2")
        if not 0 <= low < high:
            raise UserError(
                f"--guidance-interval is {low:g},{high:g}; give a low and a higher noise level, "
                "such as 0.3,5"
            )
        if not 0 <= self.rescale <= 1:
            raise UserError(f"--guidance-rescale is {self.rescale}; it has to lie between 0 and 1")

    @property
    def always(self) -> bool:
        """Whether it acts at every noise level."""
        return self.interval == (0.0, math.inf)

    def acts(self, path: Path, t: Tensor) -> bool:
        """Whether the weak model is asked at t ()."""
        if self.weight == 1 or self.always:
            return self.weight != 1
        low, high = self.interval
        return bool(low < path.noise_level(t) <= high)

    def calls(self, path: Path, t: Tensor) -> int:
        """Network calls for one guess at t ()."""
        return 2 if self.weight != 0 and self.acts(path, t) else 1

    def mixed(self, weak: Tensor, strong: Tensor) -> Tensor:
        """weak + weight (strong - weak), rescaled. All (b, c, h, w)."""
        guess = torch.lerp(weak, strong, self.weight)
        return guess.lerp(rescaled(guess, strong), self.rescale) if self.rescale else guess


def rescaled(guess: Tensor, strong: Tensor) -> Tensor:
    """Each image of `guess` with the standard deviation that it has in `strong`.

    Guidance makes the contrast grow; eq. (15) of arXiv:2305.08891 takes it back. There the
    network's output is scaled, whose mean is near zero. A picture's mean is not, and scaling it
    would turn a black background grey: here the deviations from it are scaled. All (b, c, h, w).
    """
    std, mean = torch.std_mean(guess, dim=(1, 2, 3), correction=0, keepdim=True)
    wanted = strong.std(dim=(1, 2, 3), correction=0, keepdim=True)
    return mean + (guess - mean) * (wanted / std.clamp(min=torch.finfo(std.dtype).tiny))


@dataclass(frozen=True)
class Guided:
    """A denoiser closed over its label, guided away from a weaker model.

    That is the denoiser without the label (classifier-free guidance, arXiv:2207.12598), or
    `weaker` with the same label (autoguidance, arXiv:2406.02507), which needs no labels at all.
    """

    denoiser: Denoiser
    y: Tensor | None = None
    guidance: Guidance = Guidance()
    weaker: Denoiser | None = None

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (b, c, h, w), t () -> x_0 (b, c, h, w)."""
        at = _each(x_t, t)
        if not self._acts(t):
            return self.denoiser(x_t, at, self.y)  # type: ignore[no-any-return]
        model, y = self._weak
        weak: Tensor = model(x_t, at, y)
        if self.guidance.weight == 0:
            return weak
        return self.guidance.mixed(weak, self.denoiser(x_t, at, self.y))

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the variance that the strong model has learned (for weight 0 the weak)."""
        at = _each(x_t, t)
        if not self._acts(t):
            return self.denoiser.with_variance(x_t, at, self.y)
        model, y = self._weak
        if self.guidance.weight == 0:
            return model.with_variance(x_t, at, y)
        strong, v = self.denoiser.with_variance(x_t, at, self.y)
        return self.guidance.mixed(model(x_t, at, y), strong), v

    @property
    def _weak(self) -> tuple[Denoiser, Tensor | None]:
        return (self.denoiser, None) if self.weaker is None else (self.weaker, self.y)

    def _acts(self, t: Tensor) -> bool:
        """Without a label and a weaker model there is nothing to be guided away from."""
        nothing = self.y is None and self.weaker is None
        return not nothing and self.guidance.acts(self.denoiser.path, t)


def _each(x_t: Tensor, t: Tensor) -> Tensor:
    return t.to(x_t).expand(len(x_t))


@dataclass(frozen=True)
class Clipped:
    """Keep the guess of x_0 where images are, in [-1, 1], as DDPM's own sampler does."""

    denoise: Denoise

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.denoise(x_t, t).clamp(-1, 1)

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x_0, v = with_variance(self.denoise, x_t, t)
        return x_0.clamp(-1, 1), v


@dataclass
class Tally:
    """Stands in for a guided denoiser, to count what it would ask of the network."""

    guidance: Guidance
    path: Path
    calls: int = 0

    def count(self, t: Tensor) -> None:
        self.calls += self.guidance.calls(self.path, t)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.count(t)
        return torch.zeros_like(x_t)

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return self(x_t, t), torch.zeros_like(x_t)


def network_calls(step: Step, path: Path, times: Tensor, guidance: Guidance) -> int | None:
    """Network calls for each image of a whole trajectory; times as in `trajectory`.

    None where the step calls as often as an image needs.
    """
    evaluations = step.evaluations(len(times) - 1)
    if evaluations is None:
        return None
    if guidance.always or guidance.weight in (0, 1):
        return evaluations * guidance.calls(path, times[0])
    # Only the step knows at which times it asks: it walks once, with one pixel and no network.
    tally = Tally(guidance, path)
    for _ in trajectory(step, tally, path, times, torch.zeros(1, 1, 1, 1), ImageNoise([0])):
        pass
    return tally.calls
