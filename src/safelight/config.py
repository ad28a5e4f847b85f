"""The run's description: typed, frozen, validated.

`presets` has ready ones, `configfile` reads and writes it. Its parts are in `sections`.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from safelight.sections import (
    Autoencoder,
    Data,
    Diffusion,
    Finite,
    Gan,
    Net,
    Optimiser,
    Positive,
    Section,
    Share,
    Watch,
    plain,
)

__all__ = [
    "Autoencoder",
    "Config",
    "Data",
    "Diffusion",
    "Gan",
    "Likelihood",
    "Net",
    "Optimiser",
    "Plan",
    "Positive",
    "RunFile",
    "Sampling",
    "Section",
    "Share",
    "Watch",
    "plain",
]


class Config(Section):
    """All that decides a run, but for the pictures and the plan."""

    family: str = "diffusion"
    """What is trained: diffusion, gan or autoencoder; presets choose it with all that goes with
    it."""
    data: Data = Data()
    net: Net = Net()
    diffusion: Diffusion = Diffusion()
    gan: Gan = Gan()
    autoencoder: Autoencoder = Autoencoder()
    optimiser: Optimiser = Optimiser()
    watch: Watch = Watch()
    ema: Annotated[float, Field(gt=0, lt=0.25)] = 0.05
    """Width of the weights' moving average, as a share of the training so far; sample, evaluate and
    edit can take another after training (--weights)."""
    budget: str = "10m"
    """When to stop: a time (90s, 10m, 2h), or 5000steps, 20epochs, 500kimg."""
    start: str | None = None
    """A run whose averaged weights this one begins with; its options are these unless given."""
    seed: int = 0
    """Decides the first weights, the order of the pictures and all noise."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """bf16 where the processor has instructions for it, unless told otherwise."""
    memory: str = "auto"
    """Memory that a step may use, such as 2GB; auto: four fifths of what is free."""
    low_memory: bool = False
    """Keep less of each step and compute it again on the way back: to the same weights, in less
    memory and more time."""
    compile: bool = False
    """Compile the network before the first step: a minute or so, after which steps are faster.
    Without a compiler the run says so and goes on as it is."""


class Sampling(Section):
    """How images are drawn from a model. What is not given is as the sampler usually has it."""

    sampler: str | None = None
    """heun, euler, dpm++, unipc, adaptive, ddim, ddpm, langevin or predictor-corrector.

    dpm++ unless given.
    """
    steps: Annotated[int, Field(ge=1)] | None = None
    """Solver steps; the sampler's usual number unless given."""
    grid: str | None = None
    """Spacing of the steps: leading, trailing, uniform, quadratic, karras or logsnr.

    The sampler's usual unless given.
    """
    lowest: Annotated[float, Field(gt=0)] | None = None
    """Lowest noise level sigma / alpha on the way to the image, such as 0.002, if the path has it.

    Unless given the one below which training drew one time in a thousand, but not below 0.002.
    """
    guidance: float | tuple[float, ...] | None = None
    """Weight of the class: 1 is the model as trained, more is more typical and less varied.

    1.5 for a model with classes unless given, or 1 if it saw them all (--diffusion.label-dropout
    0). On MNIST after ten minutes of training 1.5 is better than 1 in the share of digits
    recognised (99.6 % against 96.1 %) and in KID (0.0036 against 0.0051). `sample` takes several,
    such as 1,1.5,2,3, and draws the same seeds with each.
    """
    guidance_interval: tuple[Finite, Finite] | None = None
    """Noise levels sigma / alpha with guidance, from and to, such as 0.3,5; all unless given."""
    guidance_rescale: Share = 0.0
    """Share of the contrast added by guidance that is taken back."""
    weaker: str | None = None
    """Guide away from a weaker checkpoint, such as 1000 (of this run) or RUN:1000."""
    eta: float | None = None
    """Randomness of ddim and dpm++, from 0 (none) to 1."""
    variance: str | None = None
    """Variance of ddpm's steps: small, large or, of a model that has learned it, learned."""
    churn: float | None = None
    """Fresh noise in each step of heun and euler, from 0 to 0.414: the share added to its level."""
    solver_order: int | None = None
    """Guesses that unipc's predictor is made of, 1 to 3; 2 unless given."""
    tolerance: float | None = None
    """Error that adaptive may make in a step; 0.001 unless given. Pixels lie in [-1, 1]."""
    inner: int | None = None
    """Langevin iterations in each step of langevin (usually 5) and predictor-corrector (1)."""
    rate: float | None = None
    """Step size of langevin, in squares of the noise level; the levels decide unless given."""
    snr: float | None = None
    """Step size of predictor-corrector, as its signal-to-noise ratio; 0.16 unless given."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the network's calls. bf16 is several times faster where the processor has instructions
    for it; its images differ a little, and from machine to machine."""

    @property
    def options(self) -> dict[str, Any]:
        """What the sampler itself is asked for."""
        shared = {"sampler", "steps", "grid", "lowest", "weaker", "precision"}
        shared |= {"guidance", "guidance_interval", "guidance_rescale"}
        return self.model_dump(exclude=shared, exclude_none=True)

    def each(self) -> tuple[Sampling, ...]:
        """One for each weight of a sweep of guidance."""
        if not isinstance(self.guidance, tuple):
            return (self,)
        # A sweep may begin at 1, where there is no guidance for these to change.
        without = {"guidance_interval": None, "guidance_rescale": 0.0, "weaker": None}
        return tuple(
            self.model_copy(update={"guidance": weight, **(without if weight == 1 else {})})
            for weight in dict.fromkeys(self.guidance)
        )


class Likelihood(Section):
    """How bits per dimension are measured."""

    terms: Positive = 50
    """Terms of the variational bound that each image draws; the network is asked for each."""
    tolerance: Annotated[float, Field(ge=1e-5, le=0.1)] = 1e-3
    """Largest error of a step of the probability-flow ODE, in nats per dimension."""
    probes: Positive = 1
    """Random directions in which each image's Jacobian is looked at."""
    dequantisation: str = "normal"
    """What the ODE adds to the 256 levels: normal (the path's own noise) or uniform."""


class Plan(Section):
    """What was settled before the first step; with the configuration it decides every weight.

    But for `smaller`, which is settled on the way.
    """

    steps: Positive
    micro_batch: Positive
    precision: Literal["float32", "bf16"]
    sigma_data: float
    validate_every: Positive
    preview_every: Positive
    checkpoint_every: Positive
    threads: Positive
    processes: Positive
    step_seconds: float
    """Measured before the run, for the time left; does not influence the result."""
    smaller: tuple[tuple[int, Positive], ...] = ()
    """(steps done, images at once from there on), wherever memory ran out on the way."""
    compiled: bool = False
    """Whether the network could be compiled, where that was asked for."""

    @property
    def smallest(self) -> int:
        """Images that have gone through the network at once without a lack of memory."""
        return self.micro_batch_at(self.steps)

    def micro_batch_at(self, step: int) -> int:
        """Images that go through the network at once after so many steps."""
        return min(size for since, size in ((0, self.micro_batch), *self.smaller) if since <= step)


class RunFile(Section):
    """config.yaml of a run folder.

    format: 2 since the order of the pictures, and how they are varied, come from other numbers.
    """

    format: int = 2
    cache: str
    """The folder of the training images."""
    fingerprint: str
    """Hash of the training split."""
    shape: tuple[int, int, int]
    """(channels, height, width) of the images."""
    classes: tuple[str, ...]
    """Their classes; empty where the pictures have none."""
    config: Config
    plan: Plan

    @model_validator(mode="before")
    @classmethod
    def _without_steps_of_edm(cls, values: Any) -> Any:
        """Files of before paths refused what they cannot heed say T: 1000 for EDM's too."""
        with contextlib.suppress(KeyError, TypeError):  # damaged: the fields will say how
            diffusion = values["config"]["diffusion"]
            if diffusion["path"] == "edm":
                diffusion.pop("T", None)
        return values
