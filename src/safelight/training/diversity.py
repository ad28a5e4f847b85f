"""Whether a generator has collapsed or gone astray: distances between its images and real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from safelight.config import Config
from safelight.data.cache import Cache
from safelight.images import dequantise, pieces
from safelight.seeding import ImageNoise, derive, generator
from safelight.training.codec import Codec
from safelight.training.watching import validation_split

IMAGES = 256
SIDE = 8  # pixels: shapes and colours count, grain does not
COLLAPSED, ASTRAY = 0.3, 2.5  # real images have 1 of both
REMEDY = "begin again with --preset gan, another --seed or a smaller --optimiser.lr"


@dataclass(frozen=True)
class Diversity:
    """Two ratios, 1 where images are as real ones are to each other.

    "diversity": the median distance from an image to the nearest other one of them, over that of
    real images. It falls where many seeds give the same image (mode collapse). "distance": the
    median distance from an image to the nearest real one, over the same. It rises where images are
    like no real ones. Both are root mean squares over images made smaller, and of as many images of
    each class.
    """

    real: Tensor  # (b, ...) made smaller
    labels: Tensor | None
    seeds: tuple[int, ...]
    usual: float

    @classmethod
    def of(cls, cache: Cache, conditional: bool, seed: int, device: torch.device) -> Diversity:
        order = torch.randperm(cache.count, generator=generator(seed, "diversity"))[:IMAGES]
        positions = order.sort().values.tolist()
        images = dequantise(cache.images(positions)).to(device)
        labels = cache.labels(positions) if conditional else None
        real = smaller(images)
        return cls(
            real,
            None if labels is None else labels.to(device),
            tuple(derive(seed, "diversity", i) for i in range(len(positions))),
            float(nearest_other(real).median()),
        )

    @torch.inference_mode()
    def look(self, model: nn.Module, micro_batch: int) -> dict[str, Any]:
        found = []
        for part in pieces(len(self.seeds), micro_batch):
            z = ImageNoise(self.seeds[part], self.real.device).normal(model.latent)  # type: ignore[arg-type]
            y = None if self.labels is None else self.labels[part]
            found.append(smaller(model(z, y).float()))
        images = torch.cat(found)
        apart = nearest_other(images).median() / self.usual
        away = torch.cdist(images, self.real).amin(1).median() / self.usual
        return {"diversity": round(float(apart), 4), "distance": round(float(away), 4)}

    @staticmethod
    def curves(name: str, found: dict[str, Any]) -> dict[str, float]:
        return {f"{what} {name}": found[what] for what in ("diversity", "distance")}


def warning(records: Sequence[Mapping[str, Any]], steps: int) -> str:
    """What has gone wrong, by the validations of a run of so many steps; nothing where all is well.

    Every generator begins with images that are alike and like no real ones: that is nothing wrong
    until half of the run is over, unless it had been better before.
    """
    last, before = records[-1], records[:-1]
    late = last["step"] >= steps / 2
    if last["diversity"] < COLLAPSED and (
        late or any(record["diversity"] >= COLLAPSED for record in before)
    ):
        return (
            f"mode collapse: at step {last['step']} the generator's images differ "
            f"{last['diversity']:.2f} times as much as real ones do; {REMEDY}"
        )
    if last["distance"] > ASTRAY and (
        late or any(record["distance"] <= ASTRAY for record in before)
    ):
        return (
            f"divergence: at step {last['step']} the generator's images are "
            f"{last['distance']:.1f} times as far from real ones as these are from each other; "
            f"{REMEDY}"
        )
    return ""


def smaller(images: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, d): at most SIDE pixels high and wide, scaled to mean squares."""
    h, w = images.shape[2:]
    pooled = adaptive_avg_pool2d(images, (min(SIDE, h), min(SIDE, w))).flatten(1)
    return pooled / math.sqrt(pooled.shape[1])


def nearest_other(x: Tensor) -> Tensor:
    """The distance of each row (b, d) to the nearest other one, (b,)."""
    distances: Tensor = torch.cdist(x, x).fill_diagonal_(torch.inf)
    return distances.amin(1)


def examiner(
    cache: Cache, config: Config, device: torch.device, codec: Codec | None = None
) -> Diversity:
    """By held-out pictures, or by those of the training where none were held out."""
    real = validation_split(cache) or cache.subset("train")
    return Diversity.of(real, config.data.conditional, config.seed, device)
