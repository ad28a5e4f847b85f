"""A trained diffusion model as a source of images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from safelight.diffusion.denoiser import Denoiser
from safelight.errors import UserError, lookup
from safelight.images import quantise
from safelight.samplers.grids import GRIDS
from safelight.samplers.guidance import clipped, guided
from safelight.samplers.steps import SAMPLERS, State, Step
from safelight.samplers.trajectory import trajectory
from safelight.seeding import ImageNoise, derive


@dataclass(frozen=True)
class Sampling:
    """How images are drawn from a model."""

    sampler: str = "heun"
    """heun, ddim or ddpm."""
    steps: int | None = None
    """Solver steps; the sampler's usual number unless given."""
    guidance: float = 1.0
    """Weight of the class; 1 is the model as trained, more is more typical and less varied."""
    eta: float = 0.0
    """Randomness of ddim, from 0 (none) to 1."""
    variance: str = "small"
    """Variance of ddpm's steps: small or large."""


USUAL = Sampling()


class DiffusionSource:
    """Fulfils `images.ImageSource`; image i is a function of seeds[i] and labels[i].

    Whatever else is in the batch, each image comes out the same to within one of its 256 levels:
    a convolution may add up in another order in a batch of another size.
    """

    count = None

    def __init__(
        self,
        denoiser: Denoiser,
        *,
        name: str,
        fingerprint: str,
        shape: tuple[int, int, int],
        classes: tuple[str, ...],
        sampling: Sampling = USUAL,
        bf16: bool = False,
    ) -> None:
        self.name, self.shape, self.classes, self.sampling = name, shape, classes, sampling
        row = lookup(SAMPLERS, sampling.sampler, "sampler")
        self._step: Step = row.make(sampling.eta, sampling.variance)
        path = denoiser.path
        self._grid = row.grids[0 if path.levels is not None else -1]
        self.steps = row.steps if sampling.steps is None else sampling.steps
        if self.steps < 1:
            raise UserError(f"{self.steps} steps make no image; use --steps 1 or more")
        if sampling.guidance != 1 and not classes:
            raise UserError("this model was trained without classes; leave --guidance at 1")
        self._times = GRIDS[self._grid](path, self.steps)
        self._denoiser, self._bf16 = denoiser.eval(), bf16
        about = {**asdict(sampling), "steps": self.steps, "bf16": bf16, "weights": fingerprint}
        self.fingerprint = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()

    @property
    def evaluations(self) -> int:
        """Network calls for each image (guidance doubles them)."""
        calls = self._step.evaluations(len(self._times) - 1)
        return calls * (1 if self.sampling.guidance in (0, 1) else 2)

    def describe(self) -> str:
        extra = f", guidance {self.sampling.guidance:g}" if self.sampling.guidance != 1 else ""
        return f"{self.sampling.sampler}, {self.steps} steps ({self._grid} grid){extra}"

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        """Classes in turn: the class of seed s is s modulo their number."""
        return torch.tensor([s % len(self.classes) for s in seeds]) if self.classes else None

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        """(b, c, h, w) uint8."""
        *_, last = self._states(seeds, labels)
        return quantise(last.x).cpu()

    def develop(
        self, seeds: Sequence[int], labels: Tensor | None, frames: int
    ) -> tuple[list[float], Tensor, Tensor]:
        """How images come about: noise levels sigma/alpha (f), x_t and x_0 (f, b, c, h, w) uint8.

        Frames are spread evenly over the image's share alpha / (alpha + sigma) of x_t, pure noise
        and the image included; there may be fewer, one for each step. States are shown divided by
        the deviation of x_t, since noise of level 80 has no colours to show.
        """
        states = list(self._states(seeds, labels))
        path = self._denoiser.path
        t = torch.stack([state.t for state in states])
        share = path.alpha(t) / (path.alpha(t) + path.sigma(t))  # from about 0 to 1, rising
        wanted = torch.linspace(float(share[0]), 1, frames, dtype=share.dtype)
        nearest = torch.unique_consecutive((share[:, None] - wanted).abs().argmin(dim=0))
        chosen = [states[int(i)] for i in nearest]
        levels = [float(path.sigma(state.t) / path.alpha(state.t)) for state in chosen]
        shown = [
            state.x / float((path.alpha(state.t) ** 2 + path.sigma(state.t) ** 2).sqrt())
            for state in chosen
        ]
        guesses = [state.x_0 for state in chosen]
        return levels, quantise(torch.stack(shown)).cpu(), quantise(torch.stack(guesses)).cpu()

    @torch.inference_mode()
    def _states(self, seeds: Sequence[int], labels: Tensor | None) -> Iterator[State]:
        device = next(self._denoiser.parameters()).device
        noise = ImageNoise([derive(seed, "image") for seed in seeds], device)
        labels = self.labels(seeds) if labels is None else labels
        y = None if labels is None or not self.classes else labels.to(device)
        denoise = clipped(guided(self._denoiser, y, self.sampling.guidance))
        eps = noise.normal(*self.shape)
        times = self._times.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            yield from trajectory(self._step, denoise, self._denoiser.path, times, eps, noise)
