"""The sections of a run's configuration: what is learnt from, by which network, how, and when.

Names of paths, networks, samplers and the like are checked where their tables stand, when the
run is built, so that a new row of a table needs no change here.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from safelight.sizes import as_option, parse_size

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Memory = Annotated[float, Field(ge=0, lt=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def changes(self) -> dict[str, Any]:
        """What is not as usual."""
        return self.model_dump(exclude_defaults=True)


def size(value: Any) -> Any:
    """32, "32x32" -> "32"; "48x32" stays. Raises ValueError for what is no width and height."""
    return None if value is None else as_option(parse_size(value))


class Data(Section):
    """What is learnt from, and how it is varied."""

    conditional: bool = True
    """Give the network each picture's class, where there are classes."""
    flip: bool | None = None
    """Mirror half of the pictures left to right: --data.flip, or --data.no-flip.

    Unless given where pictures can't be told from their mirror images: never digits or text.
    """
    crop: Annotated[str | None, BeforeValidator(size)] = None
    """Learn from parts of the pictures of so many pixels, such as 32 or 48x32 (width x height).

    Anywhere in them; all else sees their centres. Whole pictures unless given.
    """
    shift: Annotated[int, Field(ge=0)] = 0
    """Pad by this many pixels and crop at random."""
    turn: bool = False
    """Turn each picture by a random number of quarter turns: where there is no up and down."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Brightness, contrast and saturation, each by up to this share either way, such as 0.1."""
    cutout: Annotated[int, Field(ge=0)] = 0
    """Side in pixels of a grey square that hides a part of each picture, anywhere."""
    augment: Share = 0.0
    """Probability, such as 0.12, that pictures are scaled, turned, stretched and moved, each.

    And half are mirrored, where they are not anyway. The network is told, and draws images untold:
    they look like pictures that were left as they are. Of networks of our own, learning diffusion.
    """
    upside_down: bool = False
    """With --data.augment turn pictures upside down too."""

    @property
    def window(self) -> tuple[int, int] | None:
        """(height, width) of the crop."""
        if self.crop is None:
            return None
        width, height = parse_size(self.crop)
        return height, width


def plain(values: Any) -> Any:
    """As JSON has them; raises ValueError for what JSON has not."""
    try:
        return json.loads(json.dumps(values, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"has a value that JSON cannot write: {error}") from None


Options = Annotated[dict[str, Any], BeforeValidator(plain)]


class Net(Section):
    """The network."""

    kind: str = "unet"
    """unet, classic, transformer, plain; reference (diffusers' UNet2DModel) or lucidrains."""
    options: Options = {}
    """Options of the last two by their own names, as JSON: '{"layers_per_block": 1}'.

    What is not given stays as the preset has it.
    """
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (32, 64, 64)
    """Channels at each resolution, finest first; their number is the depth.

    Of classic on the way down and up again; a transformer has one.
    """
    blocks: Positive = 2
    """Blocks at each resolution, of classic between the ways; of a transformer in all."""
    middle: Positive = 2
    """How many times as wide as the coarsest resolution classic is between the ways."""
    block: str = "residual"
    """What a block is: residual, lean (which normalises once and not twice) or plain."""
    attention: tuple[int, ...] | Literal["coarsest", "coarser", "all"] = "coarsest"
    """Heights in pixels of the feature maps that attend to themselves.

    Or coarsest, all, or coarser: all but the finest.
    """
    heads: Positive | None = None
    """Heads of the attention; one for 64 channels unless given."""
    attention_norm: str | None = None
    """Normalisation before the attention, a row of --net.norm; that one unless given."""
    feedforward: Annotated[float, Field(ge=0)] | None = None
    """Width of the two layers after attention, in times that of the attention.

    Unless given there are none in a U-Net, and they are 4 times as wide in a transformer.
    """
    patch: Positive = 2
    """Height and width in pixels of what a transformer takes as one."""
    fold: Positive = 1
    """Height and width in pixels of what the first layer of a U-Net folds into one place.

    At 2 it works at half the resolution from the start, where wide layers cost a quarter.
    """
    norm: str = "group"
    """Normalisation: group, layer, place (each place by itself), batch or none."""
    activation: str = "silu"
    """Activation: silu, gelu, relu or leaky-relu."""
    down: str = "strided"
    """How resolution is halved: strided, max or average."""
    up: str = "nearest"
    """How resolution is doubled: nearest, bilinear, corners or transposed.

    corners is bilinear too, and the corner pixels stay at the corners.
    """
    skip: str = "concat"
    """How the way up takes what the way down had: concat or sum."""
    embedding: str = "fourier"
    """How the noise level is told: fourier, sinusoidal, or steps: the number of the time step."""
    frequencies: Positive | None = None
    """Frequencies of the embedding; half of the first width unless given, of classic 128."""
    spread: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Standard deviation of fourier's frequencies, 1 unless given.

    Of sinusoidal and steps the ratio of the highest to the lowest, 10,000 unless given.
    """
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the features that a block forgets at random while training."""


class Diffusion(Section):
    """The way to noise and what the network learns about it."""

    path: str = "flow"
    """flow, edm, linear, scaled-linear, quadratic, cosine, sigmoid, table, exploding or learned;
    linear-continuous and the like are the same without steps."""
    T: Annotated[int, Field(ge=2)] | None = None
    """Time steps of a path that counts them; the path's usual number unless given."""
    betas: tuple[float, ...] = ()
    """Variance of the noise that each step adds, for the path "table"."""
    shift: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """More noise at every time, as larger pictures need it: 2 for those twice as wide."""
    zero_terminal_snr: bool = False
    """Rescale a table of betas so that it ends in pure noise."""
    prediction: str | None = None
    """What the network predicts: flow, edm, noise, image, v or score.

    Unless given as the path was published: flow, edm, score where noise explodes, v of a rescaled
    table, else noise.
    """
    objective: str = "denoising"
    """What is minimised: denoising, hybrid, bound, mmd or denoising+mmd.

    hybrid needs a learned variance and a path with steps; hybrid and bound need uniform or
    importance times.
    """
    times: str | None = None
    """How times are drawn: logit-normal, lognormal, uniform or importance.

    Unless given logit-normal on the path flow, lognormal on edm, else uniform. importance draws
    where losses are, and needs a path with steps.
    """
    log_mean: float | None = None
    """Mean of ln(sigma / alpha) of lognormal times; more makes large shapes count for more.

    Of ln(t / (1 - t)) of logit-normal times. -1.2 and 0 unless given, as in their papers.
    """
    log_std: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the same; 1.2 and 1 unless given."""
    weight: str | None = None
    """How the noise levels are weighted: flow, edm, simple, v, image, min-snr or p2.

    Unless given so that the error of what is predicted counts alike at all of them.
    """
    min_snr: Annotated[float, Field(gt=0)] = 5.0
    """Cap of the weight min-snr."""
    uncertainty: bool = False
    """Learn how large the loss is at each noise level, and let all levels count alike."""
    variance: str = "small"
    """Variance of the steps back in the bound: small, large or learned (as in hybrid)."""
    pairing: str = "none"
    """Which noise meets which picture: none, or optimal.

    optimal has the least distance in all, within a batch and a class. Sample it without guidance
    and without noise: the score is not known.
    """
    sigma_data: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation of the images; measured from the training split unless given."""
    label_dropout: Share = 0.1
    """Share of the labels that are hidden, so that guidance is possible."""
    autoencoder: str | None = None
    """Learn in the latents of this autoencoder: a run of the preset autoencoder, or a folder of
    diffusers' AutoencoderKL or AutoencoderTiny."""

    @model_validator(mode="before")
    @classmethod
    def _usual_times(cls, values: Any) -> Any:
        """What is usual need not be said: older files say the mean and deviation of all times."""
        if not isinstance(values, dict) or values.get("times") is None:
            return values
        usual = (0.0, 1.0) if values.get("times") == "logit-normal" else (-1.2, 1.2)
        said = dict(zip(("log_mean", "log_std"), usual, strict=True))
        return {name: None if said.get(name) == x else x for name, x in values.items()}


class Gan(Section):
    """The two networks of a GAN, and what they play. Of the family gan."""

    latent: Positive = 100
    """Random numbers that an image is made of."""
    widths: tuple[Positive, ...] | None = None
    """Channels of the generator's maps, that of half the image's size first.

    64, 128, ... unless given, one for each time that the image halves to no less than 4 pixels.
    """
    discriminator_widths: tuple[Positive, ...] | None = None
    """The same of the discriminator's; the generator's unless given."""
    label_channels: Positive = 16
    """Channels in which both networks are told the class."""
    loss: str = "cross-entropy"
    """cross-entropy or hinge."""
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """With 0.1 the discriminator is told 0.9 of real images and 0.1 of generated ones."""
    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Deviation of the noise on what the discriminator is shown; pixels lie in [-1, 1]."""
    noise_until: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the training in which that noise falls to nothing; it stays unless given."""
    spectral: bool = False
    """Spectral normalisation of the discriminator, in place of batch normalisation."""
    augment: tuple[str, ...] = ()
    """How what is judged is varied: any of colour, translation and cutout."""


class Autoencoder(Section):
    """The network that makes pictures small, and what it learns. Of the family autoencoder."""

    channels: Positive = 6
    """Numbers at each place of the latents."""
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (48, 96)
    """Channels of its maps, that of half the picture's size first; with two a place of the latents
    stands for 4x4 pixels, with three for 8x8."""
    blocks: Positive = 2
    """Residual blocks at each size, on either side."""
    attention: bool = False
    """Let the places of the latents attend to one another."""
    loss: str = "squared"
    """Of a pixel: squared or absolute."""
    kl: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-3
    """Weight of the divergence from a normal distribution, in nats for each value of a picture."""


class Optimiser(Section):
    name: str = "adamw"
    """Which one: muon, adamw, adam, adadelta or sgd."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate after warm-up."""
    betas: tuple[Memory, Memory] | None = None
    """Memory of the two averages of adam, adamw and, beside matrices, muon; 0.9,0.99 unless
    given."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Pull of the weights towards zero."""
    batch: Positive = 64
    """Images in a step, over all processes."""
    warmup: Annotated[int, Field(ge=0)] = 200
    """Steps over which the learning rate rises (at most a tenth of the run)."""
    decay: Literal["none", "linear", "cosine"] = "cosine"
    """How the learning rate falls towards the end of the run."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the learning rate to which it falls (linear and cosine)."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""


class Watch(Section):
    """What is written down as training goes on."""

    validate_every: Annotated[int, Field(ge=0)] = 0
    """Steps between looks at the held-out loss; 0: ten in a run, ten steps apart at least."""
    preview_every: Annotated[int, Field(ge=0)] = 0
    """Steps between contact sheets of the same seeds; 0: twelve in a run, ten steps apart at
    least."""
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    """Steps between measurements of how far drawn images are from held-out pictures, and one at the
    end; 0: none. KID, and FD where there are images enough."""
    evaluate_images: Annotated[int, Field(ge=4, le=10_000)] = 500
    """Images drawn for each of these."""
    evaluate_features: str = "efficientnet-lite0"
    """Feature network of these; as `evaluate --features`."""
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    """Steps between checkpoints; 0: about a minute."""
    keep: Positive = 3
    """Checkpoints kept: the newest so many."""
    tensorboard: bool = True
    """Write the losses for TensorBoard too."""
