"""The autoencoder of a run of latent diffusion: pictures to latents and back, arXiv:2112.10752.

RUN/autoencoder/autoencoder.json    what it is, and how its latents are scaled
RUN/autoencoder/model.safetensors   its weights

It is a copy: the run draws images wherever it is moved, and whatever becomes of the original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from safelight.config import Section
from safelight.errors import DamagedFile, MissingLibrary, UserError, lookup
from safelight.files import read_json, save_tensors, sha256, write_json, writing_folder
from safelight.images import pieces
from safelight.machine import full_precision
from safelight.nets.autoencoder import Autoencoder
from safelight.nets.reference_autoencoder import ReferenceAutoencoder
from safelight.training.checkpoint import load_weights

DEVIATION = 0.5  # of latents: about that of pictures, which noise levels and weights are made for
# Of the pictures that are coded at once, 16 of 128x128: that needs more memory than denoising.
PIXELS = 2**18
FOLDER, ABOUT, WEIGHTS = "autoencoder", "autoencoder.json", "model.safetensors"
Shape = tuple[int, int, int]


class Coder(Protocol):
    """An autoencoder's network."""

    @property
    def factor(self) -> int:
        """Pixels along a side for one place of the latents."""
        ...

    @property
    def latent(self) -> Shape: ...

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (b, c, h, w) in [-1, 1] -> mean and standard deviation of z, (b, *latent) each."""
        ...

    def decode(self, z: Tensor) -> Tensor: ...


def portions(count: int, shape: Shape) -> list[slice]:
    """So many pictures of this shape in pieces of about PIXELS pixels."""
    _, h, w = shape
    return pieces(count, max(1, PIXELS // (h * w)))


# How each kind of autoencoder is built, from the shape of the pictures and its options.
CODERS: dict[str, Callable[[Shape, Mapping[str, Any]], nn.Module]] = {
    "autoencoder": lambda shape, options: Autoencoder(shape, **options),
    "AutoencoderKL": lambda shape, options: ReferenceAutoencoder("AutoencoderKL", options, shape),
    "AutoencoderTiny": lambda shape, options: ReferenceAutoencoder(
        "AutoencoderTiny", options, shape
    ),
}


class About(Section):
    """What an autoencoder is: enough to build it."""

    format: int = 1
    kind: str
    """A row of CODERS."""
    options: dict[str, Any]
    shape: Shape
    """Of the pictures."""
    name: str
    """Where it came from, for people."""
    mean: tuple[float, ...] = ()
    """Of each channel of its latents, over the training pictures."""
    deviation: tuple[float, ...] = ()
    weights: str = ""
    """SHA-256 of the file of weights."""

    def build(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return lookup(CODERS, self.kind, "kind of autoencoder")(self.shape, self.options)


class Codec:
    """An autoencoder whose latents have mean 0 and deviation DEVIATION in every channel.

    A network for pictures, with its noise levels and weights, so fits latents too.
    """

    def __init__(self, net: nn.Module, about: About, device: torch.device) -> None:
        self.about, self.device = about, device
        self.net = net.to(device).eval().requires_grad_(False)
        mean, deviation = (
            torch.tensor(values, device=device)[:, None, None]
            for values in (about.mean, about.deviation)
        )
        self._mean, self._scale = mean, deviation / DEVIATION

    @property
    def coder(self) -> Coder:
        return cast(Coder, self.net)

    @property
    def latent(self) -> Shape:
        return self.coder.latent

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides its latents and images."""
        about = self.about.model_copy(update={"name": ""})
        return hashlib.sha256(about.model_dump_json().encode()).hexdigest()

    def scaled(self, z: Tensor) -> Tensor:
        """The autoencoder's own latents, of mean 0 and deviation DEVIATION."""
        return (z - self._mean) / self._scale

    @torch.inference_mode()
    def encode(self, x: Tensor) -> Tensor:
        """Pictures (b, c, h, w) in [-1, 1] -> the means of their latents, (b, *latent)."""
        with full_precision():
            parts = [
                self.coder.encode(x[part].to(self.device))[0]
                for part in portions(len(x), self.about.shape)
            ]
        return self.scaled(torch.cat(parts).float())

    @torch.inference_mode()
    def decode(self, z: Tensor) -> Tensor:
        """Latents (b, *latent) -> pictures (b, c, h, w), in full float32."""
        raw = z * self._scale + self._mean
        with full_precision():
            return torch.cat(
                [
                    self.coder.decode(raw[part]).float()
                    for part in portions(len(raw), self.about.shape)
                ]
            )

    def save(self, folder: Path) -> None:
        """Write FOLDER/autoencoder. From then on `about` has the hash of the weights."""
        with writing_folder(folder / FOLDER) as temporary:
            save_tensors(self.net.state_dict(), temporary / WEIGHTS)
            digest = sha256(temporary / WEIGHTS)
            self.about = self.about.model_copy(update={"weights": digest})
            write_json(temporary / ABOUT, self.about.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Codec:
        """Raises DamagedFile where it can't be trusted."""
        place = folder / FOLDER
        remedy = f"restore {place} from a copy, or train again into another folder"
        values = read_json(place / ABOUT, remedy)
        try:
            about = About.model_validate(values)
            net = about.build()
        except MissingLibrary:
            raise
        except (ValidationError, TypeError, UserError) as error:  # of what it is, or of its options
            raise DamagedFile(f"{place / ABOUT} was edited; {remedy}") from error
        file = place / WEIGHTS
        if not file.is_file() or sha256(file) != about.weights:
            raise DamagedFile(f"{file} is missing, cut short or edited; {remedy}")
        try:
            load_weights(net, load_file(file), place)
        except SafetensorError as error:
            raise DamagedFile(f"{file} is damaged; {remedy}") from error
        return cls(net, about, device)
