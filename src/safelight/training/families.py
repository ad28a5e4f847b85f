"""The families of generators: what the loop, a run and its commands know of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

from safelight.config import Config, Sampling
from safelight.data.cache import Cache
from safelight.diffusion.denoiser import Denoiser
from safelight.errors import lookup
from safelight.training import (
    autoencoder,
    autoencoder_sources,
    diffusion,
    diffusion_sources,
    diversity,
    fidelity,
    gan,
    gan_sources,
    validation,
)
from safelight.training.checkpoint import Checkpoint
from safelight.training.codec import Codec
from safelight.training.learner import Learner, Problem
from safelight.training.watching import Examiner, ModelSource

if TYPE_CHECKING:
    from safelight.training.run import Run

Sources: TypeAlias = Callable[["Run", Checkpoint, str, Sequence[Sampling]], Sequence[ModelSource]]


class Family(NamedTuple):
    """A kind of generator."""

    called: str
    """By people."""
    classes: bool
    """Whether it can be told the classes of pictures."""
    learner: Callable[[Config, Problem], Learner]
    """What is trained."""
    model: Callable[[Config, Problem], nn.Module]
    """What of it draws images, untrained."""
    examiner: Callable[[Cache, Config, torch.device, Codec | None], Examiner | None]
    """What is asked of it on the way, if there is anything to ask by; of latents with their codec.
    """
    preview: Callable[[Run, nn.Module], ModelSource]
    """The images that a model on its way is shown by."""
    sources: Sources
    """Those of a checkpoint, one for each way of drawing."""
    settled: Callable[[Config], Config]
    """The configuration with nothing left open, as a run writes it down."""
    shortfall: Callable[[nn.Module], str]
    """What its pictures will lack, if that can be said before training; else nothing."""
    warning: Callable[[Sequence[Mapping[str, Any]], int], str]
    """What has gone wrong, by the validations of a run of so many steps; else nothing."""
    call: Callable[[nn.Module, Tensor], tuple[nn.Module, tuple[Tensor, ...]]]
    """The network that a model asks for images like x (b, c, h, w), and what it is asked with."""


FAMILIES: dict[str, Family] = {
    "diffusion": Family(
        called="diffusion model",
        classes=True,
        learner=diffusion.build_learner,
        model=diffusion.build_denoiser,
        examiner=validation.examiner,
        preview=diffusion_sources.preview,
        sources=diffusion_sources.sources,
        settled=diffusion.settled,
        shortfall=lambda model: diffusion.shortfall(cast(Denoiser, model).path),
        warning=lambda records, steps: "",  # where a denoiser goes wrong, its loss is no number
        call=diffusion.call,
    ),
    "gan": Family(
        called="GAN",
        classes=True,
        learner=gan.build_learner,
        model=gan.build_generator,
        examiner=diversity.examiner,
        preview=gan_sources.preview,
        sources=gan_sources.sources,
        settled=lambda config: config,
        shortfall=lambda model: "",
        warning=diversity.warning,
        call=gan.call,
    ),
    "autoencoder": Family(
        called="autoencoder",
        classes=False,
        learner=autoencoder.build_learner,
        model=autoencoder.build_autoencoder,
        examiner=fidelity.examiner,
        preview=autoencoder_sources.preview,
        sources=autoencoder_sources.sources,
        settled=lambda config: config,
        shortfall=lambda model: "",
        warning=lambda records, steps: "",
        call=autoencoder.call,
    ),
}


def classes_told(config: Config, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the pictures' classes that the model is told; none for an unconditional one."""
    return classes if family_of(config).classes and config.data.conditional else ()


def family_of(config: Config) -> Family:
    return lookup(FAMILIES, config.family, "family")
