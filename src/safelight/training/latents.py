"""Pictures as latents: encoded once, kept in the user's cache folder, and learnt from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from safelight import paths
from safelight.config import Config, Data
from safelight.console import progress
from safelight.data.cache import Cache
from safelight.data.places import user_cache
from safelight.errors import UserError
from safelight.files import writing
from safelight.images import dequantise, pieces
from safelight.machine import device as usual_device
from safelight.machine import full_precision
from safelight.seeding import Draws, ImageNoise
from safelight.training.batches import labels_told
from safelight.training.codec import About, Codec, Coder, portions
from safelight.training.pretrained import open_reference
from safelight.training.run import Run

BLOCK = 512  # latents in memory while they are counted
FORMAT = 1  # of what is kept, and of how it is come by
Halves = NDArray[np.float16]  # (pictures x variants, 2, c, h, w): mean and deviation of each


class Found(NamedTuple):
    """An autoencoder before its latents are known."""

    net: nn.Module
    about: About

    @property
    def coder(self) -> Coder:
        return cast(Coder, self.net)

    def digest(self) -> str:
        """A hash of what it makes of pictures."""
        hashed = hashlib.sha256(f"{self.about.kind} {self.about.options}".encode())
        for name, tensor in sorted(self.net.state_dict().items()):
            hashed.update(name.encode())
            hashed.update(tensor.cpu().contiguous().numpy().tobytes())
        return hashed.hexdigest()


class Latents:
    """The latents of a split; fulfils `batches.Examples`.

    Each time a picture is visited its latents are drawn anew, from the autoencoder's distribution.
    """

    def __init__(
        self, codec: Codec, halves: Halves, cache: Cache, options: Data, device: torch.device
    ) -> None:
        self.codec, self.device = codec, device
        self._halves, self._variants = halves, variants(options)
        self.count, self.labels = cache.count, labels_told(cache, options)

    def read(
        self, positions: NDArray[np.int64], draws: Draws, noise: ImageNoise
    ) -> tuple[Tensor, None]:
        mirrored = (draws.uniform("flip", 1)[:, 0] < 0.5) & (self._variants == 2)
        chosen = self._halves[positions * self._variants + mirrored]
        mean, std = torch.from_numpy(chosen.astype(np.float32)).to(self.device).unbind(1)
        return self.codec.scaled(mean + std * noise.normal(*mean.shape[1:])), None


def open_autoencoder(place: str, shape: tuple[int, int, int]) -> Found:
    """A run of the family autoencoder, or a folder of diffusers', for pictures of this shape.

    Raises UserError where it is neither, or does not fit the pictures.
    """
    path = paths.place(place)
    if not (path / "config.yaml").is_file():
        reference = open_reference(path, shape)
        about = About(
            kind=reference.kind, options=reference.options, shape=shape, name=path.resolve().name
        )
        return Found(reference, about)
    run = Run.open(path)
    if run.config.family != "autoencoder":
        raise UserError(
            f"{path} is of the family {run.config.family}; name a run of the family autoencoder "
            "(train one with --preset autoencoder), or a folder of diffusers'"
        )
    if run.file.shape[0] != shape[0]:
        raise UserError(
            f"the autoencoder {path} knows pictures of {run.file.shape[0]} channels, and "
            f"these have {shape[0]}; train one on these"
        )
    chosen = run.checkpoint()
    options = run.config.autoencoder
    about = About(
        kind="autoencoder",
        options=options.model_dump(
            mode="json", include={"channels", "widths", "blocks", "attention"}
        ),
        shape=shape,
        name=f"{run.name} (step {chosen.step}, ema)",
    )
    net = about.build()  # for pictures of this size, which may be another than it learnt
    trained, _ = run.model(chosen, "ema")
    net.load_state_dict(trained.state_dict())
    return Found(net, about)


def learnt_in(cache: Cache, config: Config, run: Run | None) -> Latents | None:
    """The latents of the training split, where that is what is learnt; None for pictures.

    A run that is there has its own copy of the autoencoder, and its scale.
    """
    place = config.diffusion.autoencoder
    if place is None:
        return None
    train, device = cache.subset("train"), usual_device()
    if run is not None and run.codec is not None:
        codec = run.codec
        found = Found(codec.net, codec.about)
        return Latents(
            codec, encoded(found, train, config.data, device), train, config.data, device
        )
    found = open_autoencoder(place, train.shape)
    halves = encoded(found, train, config.data, device)
    mean, deviation = moments(halves)
    about = found.about.model_copy(update={"mean": mean, "deviation": deviation})
    return Latents(Codec(found.net, about, device), halves, train, config.data, device)


def variants(options: Data) -> int:
    """Of each picture: as it is, and mirrored."""
    return 2 if options.flip else 1


def encoded(found: Found, cache: Cache, options: Data, device: torch.device) -> Halves:
    """The latents of all pictures, from the user's cache folder where they are there already.

    Raises UserError where the autoencoder gives what is no finite number.
    """
    each = variants(options)
    what = f"{FORMAT} {found.digest()} {cache.fingerprint} {each}"
    key = hashlib.sha256(what.encode()).hexdigest()
    path = user_cache() / "latents" / f"{cache.meta.name}-{key[:12]}.npy"
    shape = (cache.count * each, 2, *found.coder.latent)
    kept = _kept(path, shape)
    if kept is None:
        _encode(found, cache, each, device, path, shape)
        kept = _kept(path, shape)
        assert kept is not None
    return kept


def _kept(path: Path, shape: tuple[int, ...]) -> Halves | None:
    try:
        halves: Halves = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return halves if halves.shape == shape and halves.dtype == np.float16 else None


@torch.inference_mode()
def _encode(
    found: Found,
    cache: Cache,
    each: int,
    device: torch.device,
    path: Path,
    shape: tuple[int, ...],
) -> None:
    net = found.net.to(device).eval()
    header = {"descr": "<f2", "fortran_order": False, "shape": shape}
    with (
        writing(path) as temporary,
        temporary.open("wb") as file,
        progress("encoding", cache.count) as advance,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        for part in portions(cache.count, cache.shape):
            x = dequantise(cache.images(range(part.start, part.stop))).to(device)
            both = torch.stack([x, x.flip(-1)][:each], dim=1).flatten(0, 1)
            with full_precision():
                halves = torch.stack(cast(Coder, net).encode(both), dim=1).half()
            if not halves.isfinite().all():
                raise UserError(
                    f"the autoencoder {found.about.name} gives latents that are no finite numbers, "
                    f"or beyond {np.finfo(np.float16).max:,.0f}; take another"
                )
            file.write(halves.cpu().numpy().tobytes())
            advance(part.stop - part.start)


def moments(halves: Halves) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of what is drawn from the latents, of each channel."""
    total = np.zeros((2, halves.shape[2]))
    for part in pieces(len(halves), BLOCK):
        mean, std = halves[part].astype(np.float64).swapaxes(0, 1)  # (n, c, h, w) each
        total += [mean.sum((0, 2, 3)), (mean**2 + std**2).sum((0, 2, 3))]
    first, second = total / (len(halves) * halves.shape[3] * halves.shape[4])
    deviation = np.sqrt(np.maximum(second - first**2, 1e-12))
    return _digits(first), _digits(deviation)


def _digits(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
