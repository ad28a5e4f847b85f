"""Whether a generator has collapsed or gone astray: distances between its images and real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from safelight.config import Config
from safelight.data.cache import Cache
from safelight.images import dequantise, pieces
from safelight.seeding import ImageNoise, derive, generator
from safelight.training.watching import validation_split

IMAGES = 256
SIDE = 8  # pixels: shapes and colours count, grain does not
COLLAPSED, ASTRAY = 0.3, 2.5  # real images have 1 of both


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


def warning(found: Mapping[str, Any]) -> str:
    """What has gone wrong, by what `Diversity.look` found; nothing where all is well."""
    if found["diversity"] < COLLAPSED:
        return (
            f"mode collapse: the generator's images differ {found['diversity']:.2f} times as "
            "much as real ones do; begin again with another --seed, with --gan.augment colour "
            "translation, or with --preset gan"
        )
    if found["distance"] > ASTRAY:
        return (
            f"divergence: the generator's images are {found['distance']:.1f} times as far from "
            "real ones as these are from each other; begin again with a smaller "
            "--optimiser.lr, or with --preset gan"
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


def examiner(cache: Cache, config: Config, device: torch.device) -> Diversity:
    """By held-out pictures, or by those of the training where none were held out."""
    real = validation_split(cache) or cache.subset("train")
    return Diversity.of(real, config.data.conditional, config.seed, device)
