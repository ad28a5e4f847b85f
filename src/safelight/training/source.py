"""A trained diffusion model as a source of images."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from safelight.config import Likelihood, Sampling
from safelight.diffusion.denoiser import Denoiser
from safelight.errors import UserError
from safelight.images import Tell, in_turn, pieces, quantise
from safelight.machine import full_precision
from safelight.samplers.grids import LOWEST
from safelight.samplers.guidance import Clipped, Guided
from safelight.samplers.steps import Denoise, State
from safelight.samplers.trajectory import last, trajectory
from safelight.seeding import ImageNoise, image_noise
from safelight.training.codec import Codec
from safelight.training.drawing import Drawing
from safelight.training.likelihood import Measure, measures
from safelight.training.telling import Hear, Told, Way

USUAL = Sampling()


class Model(NamedTuple):
    """A trained denoiser, the hash of its weights, and the noise level that it draws down to."""

    denoiser: Denoiser
    fingerprint: str
    lowest: float = LOWEST


class DiffusionSource:
    """Fulfils `images.ImageSource`; image i is a function of seeds[i] and labels[i].

    Whatever else is in the batch, each image comes out the same to within one of its 256 levels:
    a convolution may add up in another order in a batch of another size. It is
    float32, whatever precision the training used, unless `sampling` wants bf16, where that order
    counts for more.

    At most `micro_batch` images go through the network at once.

    trained: which of a run's weights it has, as options. classless: whether it can draw without a
    class, and so be guided away from that. lowest: the noise level to draw down to, unless
    `sampling` says; that of the models unless given. codec: of a model that draws latents.
    """

    count = None

    def __init__(
        self,
        model: Model,
        *,
        name: str,
        trained: Mapping[str, str] | None = None,
        shape: tuple[int, int, int],
        classes: tuple[str, ...],
        classless: bool = True,
        sampling: Sampling = USUAL,
        weaker: Model | None = None,
        lowest: float | None = None,
        micro_batch: int = 64,
        codec: Codec | None = None,
    ) -> None:
        self.name, self.shape, self.classes = name, shape, classes
        self.trained = trained or {}
        lacking = "" if weaker else _lacking(classes, classless)
        if lowest is None:
            lowest = max(model.lowest, weaker.lowest) if weaker else model.lowest
        self.drawing = Drawing.of(sampling, model.denoiser.path, lacking, lowest)
        self._denoiser, self.micro_batch = model.denoiser.eval(), micro_batch
        self._weaker = weaker.denoiser.eval() if weaker else None
        self.codec = codec
        # What the options came to, not their words: what is usual may change.
        times = [f"{t:.9g}" for t in self.drawing.times.tolist()]  # as other machines round them
        how = (self.drawing.step, self.drawing.guidance, times)
        models = (model.fingerprint, weaker.fingerprint if weaker else None)
        what = (how, models, codec.fingerprint) if codec else (how, models)
        if self.sampling.precision != "float32":
            what = (*what, self.sampling.precision)
        self.fingerprint = hashlib.sha256(repr(what).encode()).hexdigest()

    @property
    def sampling(self) -> Sampling:
        return self.drawing.sampling

    @property
    def evaluations(self) -> int | None:
        """Network calls for each image; None where the sampler decides."""
        return self.drawing.evaluations

    @property
    def slug(self) -> str:
        return f"{self.sampling.sampler}-{self.drawing.steps}"

    def describe(self) -> str:
        return self.drawing.describe()

    def record(self) -> dict[str, Any]:
        return {**self.drawing.record(), "evaluations": self.evaluations}

    @property
    def device(self) -> torch.device:
        return next(self._denoiser.parameters()).device

    def denoise(
        self, labels: Tensor | None, clip: bool = True, hear: Hear | None = None
    ) -> Denoise:
        """The guided model of images of these classes (b,) int64; None for no class.

        clip: keep its guesses in [-1, 1], if they are pictures. hear: is told t of each guess.
        """
        y = None if labels is None or not self.classes else labels.to(self.device)
        guided = Precise(
            Guided(self._denoiser, y, self.drawing.guidance, self._weaker),
            self.device.type,
            self.sampling.precision == "bf16",
        )
        denoise = Clipped(guided) if clip and self.codec is None else guided
        return Told(denoise, hear) if hear else denoise

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[int]]:
        """A list that gets the number of images of each call of the network in the block."""
        seen: list[int] = []
        models = [model for model in (self._denoiser, self._weaker) if model is not None]
        hooks = [m.net.register_forward_hook(lambda *a: seen.append(len(a[2]))) for m in models]
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()

    def noise(self, seeds: Sequence[int]) -> ImageNoise:
        """What the images of these seeds are made from."""
        return image_noise(seeds, self.device)

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return in_turn(self.classes, seeds)

    def likelihoods(self, options: Likelihood) -> dict[str, Measure]:
        """By name, how bits per dimension are measured; fulfils `evaluation`'s `HasLikelihood`.

        Raises UserError where it draws latents.
        """
        if self.codec is not None:
            raise UserError(
                f"{self.name} draws the latents of an autoencoder, and bpd is the likelihood of "
                "pictures; leave bpd out, or take a model trained without --diffusion.autoencoder"
            )
        return measures(self._denoiser, options, bool(self.classes), self.micro_batch)

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        """(b, c, h, w) uint8. Raises UserError where the model gives no finite number."""
        return self.gradually(seeds, labels, lambda images: None)

    def gradually(self, seeds: Sequence[int], labels: Tensor | None, tell: Tell) -> Tensor:
        """The same, and tells at each guess how far they are; fulfils `images.Gradual`."""
        labels = self.labels(seeds) if labels is None else labels
        calls, parts = self.evaluations, []
        for piece in pieces(len(seeds), self.micro_batch):
            way = Way(piece.stop - piece.start, self.drawing, calls, tell)
            y = None if labels is None else labels[piece]
            parts.append(self.pixels(last(self._states(seeds[piece], y, way.hear))))
            way.ended()
        return torch.cat(parts)

    def develop(
        self, seeds: Sequence[int], labels: Tensor | None, frames: int
    ) -> tuple[list[float], Tensor, Tensor]:
        """How images come about: noise levels sigma/alpha (f), x_t and x_0 (f, b, c, h, w) uint8.

        Frames are spread evenly over the image's share alpha / (alpha + sigma) of x_t, pure noise
        and the image included; there may be fewer, one for each step. States are shown divided by
        the deviation of x_t, since noise of level 80 has no colours to show.
        """
        alpha, sigma = (
            f(self.drawing.times) for f in (self.drawing.path.alpha, self.drawing.path.sigma)
        )
        share = alpha / (alpha + sigma)  # from about 0 to 1, rising
        wanted = torch.linspace(float(share[0]), 1, frames, dtype=share.dtype)
        picks = sorted(set((share[:, None] - wanted).abs().argmin(dim=0).tolist()))
        labels = self.labels(seeds) if labels is None else labels
        parts = [
            self._frames(seeds[piece], None if labels is None else labels[piece], picks)
            for piece in pieces(len(seeds), self.micro_batch)
        ]
        x, x_0 = (torch.cat(frames, dim=1) for frames in zip(*parts, strict=True))
        deviation = (alpha**2 + sigma**2).sqrt()[picks].to(x)
        levels = (sigma / alpha)[picks].tolist()
        return levels, self.pixels(x / deviation.view(-1, 1, 1, 1, 1)), self.pixels(x_0)

    def _frames(
        self, seeds: Sequence[int], labels: Tensor | None, picks: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """x_t and x_0 (f, b, c, h, w) of these states."""
        states = enumerate(self._states(seeds, labels))
        # Not the states themselves: they hold on to those before them, and 1,000 would not fit.
        chosen = [(state.x, state.x_0) for i, state in states if i in picks]
        x, x_0 = (torch.stack(frames) for frames in zip(*chosen, strict=True))
        return x, x_0

    def pixels(self, x: Tensor) -> Tensor:
        """Pictures in [-1, 1], or latents (..., c, h, w) -> pictures, uint8, on the CPU.

        Raises UserError where there is a number that is none.
        """
        if self.codec is not None:
            decoded = self.codec.decode(x.flatten(0, -4))
            x = decoded.view(*x.shape[:-3], *decoded.shape[1:])
        if not x.isfinite().all():
            raise UserError(
                f"{self.name} gives images that are no finite numbers; take an earlier "
                "--checkpoint, and --guidance and --eta that are ordinary numbers"
            )
        return quantise(x).cpu()

    @torch.inference_mode()
    def _states(
        self, seeds: Sequence[int], labels: Tensor | None, hear: Hear | None = None
    ) -> Iterator[State]:
        noise = self.noise(seeds)
        denoise = self.denoise(self.labels(seeds) if labels is None else labels, hear=hear)
        how = self.drawing
        eps = noise.normal(*(self.codec.latent if self.codec else self.shape))
        yield from trajectory(how.step, denoise, how.path, how.times, eps, noise)


@dataclass(frozen=True)
class Precise:
    """A model asked in full float32, or in bf16; what is between two calls is left as it is."""

    guided: Guided
    device: str
    bf16: bool = False

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        with full_precision(), self._autocast():
            return self.guided(x_t, t)

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(), self._autocast():
            return self.guided.with_variance(x_t, t)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


def _lacking(classes: tuple[str, ...], classless: bool) -> str:
    """Why there is nothing to be guided away from; empty where there is."""
    if not classes:
        return "this model was trained without classes"
    if not classless:
        return "this model never saw a picture without its class (--diffusion.label-dropout 0)"
    return ""
