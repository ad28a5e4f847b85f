"""A run made of known parts, so that what the page says can be held against what went in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from safelight.config import Config, Plan
from safelight.data.meta import Rejected
from safelight.data.options import Options
from safelight.evaluation.estimate import Estimate, Evaluation, Interval
from safelight.evaluation.protocol import Protocol
from safelight.images import contact_sheet, quantise, save_png
from safelight.presets import PRESETS

SPLITS = {"train": 0.7, "validation": 0.1, "test": 0.2}


class Stored:
    """Pictures in memory, as an ImageSource."""

    def __init__(self, images: Tensor, labels: Tensor | None, classes: tuple[str, ...]) -> None:
        self._images, self._labels, self.classes = images, labels, classes
        self.name, self.fingerprint = "stored", "0"

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self._images.shape[1:])  # type: ignore[return-value]

    @property
    def count(self) -> int:
        return len(self._images)

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        return self._images[torch.as_tensor(list(seeds), dtype=torch.int64)]

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return None if self._labels is None else self._labels[list(seeds)]


class Generator(Stored):
    """Gives the picture of the class asked for, with a little noise of the seed's own."""

    evaluations = 35

    def describe(self) -> str:
        return "heun, 18 steps (edm grid)"

    @property
    def count(self) -> int | None:  # type: ignore[override]
        return None

    def labels(self, seeds: Sequence[int]) -> Tensor | None:
        return torch.tensor(list(seeds)) % len(self.classes) if self.classes else None

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        found = []
        for i, seed in enumerate(seeds):
            noise = torch.Generator().manual_seed(seed)
            mine = self._images if labels is None else self._images[self._labels == labels[i]]
            clean = mine[torch.randint(len(mine), (1,), generator=noise).item()].float()
            found.append(clean + 12 * torch.randn(clean.shape, generator=noise))
        return torch.stack(found).round().clamp(0, 255).to(torch.uint8)

    def develop(
        self, seeds: Sequence[int], labels: Tensor | None, frames: int
    ) -> tuple[list[float], Tensor, Tensor]:
        x_0 = self.images(seeds, labels).float() / 127.5 - 1
        eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
        levels = np.geomspace(80, 0.002, frames).tolist()
        states = [quantise((x_0 + s * eps) / (1 + s**2) ** 0.5) for s in levels]
        guesses = [quantise(x_0 / (1 + s**2)) for s in levels]
        return levels, torch.stack(states), torch.stack(guesses)


@dataclass
class StandInRun:
    """All of training.run.Run that the report reads."""

    path: Path
    images: Tensor
    classed: Tensor | None = None
    classes: tuple[str, ...] = ()
    finished: bool = True
    empty: bool = False  # nothing logged, drawn or measured yet
    config: Config = PRESETS["tiny"]
    plan: Plan = field(default_factory=lambda: PLAN)

    @property
    def summary(self) -> Any:
        return SimpleNamespace(
            parameters=1_123_456,
            steps=5000 if self.finished else 1200,
            planned_steps=5000,
            images_seen=320_000,
            seconds=151.0,
            images_per_second=2119.2,
            device="AMD EPYC, 2 threads",
            precision="bf16",
            finished=self.finished,
            versions={"safelight": "0.1.0", "torch": "2.14.1", "python": "3.11.9"},
        )

    def warning(self) -> str:
        return ""

    def source(self) -> Generator:
        return Generator(self.images, self.classed, self.classes)

    def cache(self) -> Any:
        edges = np.cumsum([0, *SPLITS.values()]) * len(self.images)
        parts = {name: slice(round(edges[i]), round(edges[i + 1])) for i, name in enumerate(SPLITS)}

        def subset(split: str) -> Stored:
            labels = None if self.classed is None else self.classed[parts[split]]
            return Stored(self.images[parts[split]], labels, self.classes)

        def count(split: str, k: int) -> int:
            labels = subset(split)._labels
            return subset(split).count if labels is None else int((labels == k).sum())

        left_out = Rejected(file="cats/no picture.jpg", reason="not an image")
        meta = SimpleNamespace(
            name="digits",
            classes=self.classes,
            counts={
                name: {split: count(split, k) for split in SPLITS}
                for k, name in enumerate(self.classes or ("all",))
            },
            rejected=() if self.empty else (left_out,),
            source="digits",
            options=Options(split="70/10/20"),
        )
        path = self.path.parent / "cache"
        return SimpleNamespace(path=path, name="digits", subset=subset, meta=meta)

    def records(self, kind: str) -> list[dict[str, Any]]:
        kinds = {"train": _train, "validation": _validation, "evaluation": _evaluation}
        return [] if self.empty else kinds[kind]()

    def previews(self) -> list[tuple[int, Path]]:
        if self.empty:
            return []
        found = []
        source, seeds = self.source(), range(40)
        clean = source.images(seeds, source.labels(seeds)).float() / 127.5 - 1
        eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
        for i in range(12):
            step, s = round(5000 * (i + 1) / 12), 1.5 * 0.6**i
            path = self.path / "samples" / f"{step:06}.png"
            save_png(contact_sheet(quantise((clean + s * eps) / (1 + s**2) ** 0.5), 8), path)
            found.append((step, path))
        return found

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.json"

    def evaluations(self) -> list[dict[str, Any]]:
        return [] if self.empty else [EVALUATION.to_json()]


def _train() -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    steps = np.arange(10, 5001, 10)
    loss = (0.06 + 4 / (steps + 3)) * random.lognormal(0, 0.25, len(steps))
    return [
        {"step": int(s), "images": int(s) * 64, "seconds": s * 0.03, "loss": float(v),
         "images_per_second": 2119.2 + 40 * float(v > 0.1), "lr": 1e-3}
        for s, v in zip(steps, loss, strict=True)
    ]  # fmt: skip


def _validation() -> list[dict[str, Any]]:
    sigma = np.geomspace(0.01, 50, 9)
    found = []
    for step in range(250, 5001, 250):
        for weights, more in (("ema", 0.0), ("raw", 0.004)):
            loss = sigma**2 / (sigma**2 + 0.25) * 0.2 + 8 / step + more + 0.002
            found.append(
                {"step": step, "images": step * 64, "seconds": step * 0.03, "weights": weights,
                 "sigma": sigma.tolist(), "loss": loss.tolist(), "mean": float(loss.mean()),
                 "psnr": (6.0 - 20 * np.log10(sigma)).tolist()}
            )  # fmt: skip
    return found


def _evaluation() -> list[dict[str, Any]]:
    """KID falls to that of real images and below nothing, as an unbiased estimate may."""
    found = []
    for step in range(500, 5001, 500):
        value = 0.3 * (500 / step) ** 2 - 0.004
        estimate = Estimate(
            "KID (efficientnet-lite0)", value, 0.9 * value - 0.004, 1.1 * value + 0.004,
            500, "jackknife of the U-statistic", Interval(0.0004, -0.0006, 0.0014),
            _protocol("kid", "efficientnet-lite0", "polynomial kernel of degree 3"),
        )  # fmt: skip
        judged = Evaluation("digits-run", "digits:validation", CREATED, (estimate,), drawn=DRAWN)
        where = {"step": step, "images": step * 64, "seconds": step * 0.03, "weights": "ema"}
        found.append({**where, **judged.to_json()})
    return found


def _protocol(metric: str, network: str, parameters: str) -> Protocol:
    return Protocol(
        metric=metric,
        parameters=parameters,
        network=network,
        dimension=1280,
        weights="4ccb3d7f" * 8,
        resize="bicubic with antialiasing to 224x224",
        image="1x8x8",
        generated=450,
        reference=450,
        reference_fingerprint="81be" * 16,
        seed=0,
        reference_name="digits:test",
        floor_images="450 pictures of digits:train",
        software="safelight 0.1.0, torch 2.14.1",
    )


def _estimates() -> tuple[Estimate, ...]:
    kid = _protocol("kid", "efficientnet-lite0", "polynomial kernel of degree 3")
    accuracy = _protocol("accuracy", "classifier", "share of the class asked for")
    parts = _protocol("accuracy-per-class", "classifier", "share of the class asked for")
    wilson = "Wilson interval"
    return (
        Estimate("KID (efficientnet-lite0)", 0.01234, 0.00987, 0.01481, 450,
                 "jackknife of the U-statistic", Interval(0.0004, -0.0006, 0.0014), kid),
        Estimate("accuracy", 0.9711, 0.9512, 0.983, 450, wilson,
                 Interval(0.9889, 0.9741, 0.9953), accuracy),
        *(
            Estimate(f"accuracy[{i}]", 0.95 + i / 250, 0.85, 0.995, 45, wilson, None, parts)
            for i in range(10)
        ),
    )  # fmt: skip


CREATED, DRAWN = "2025-11-22T03:04:05+00:00", "dpm++, 10 steps"
EVALUATION = Evaluation("digits-run", "digits:test", CREATED, _estimates())
PLAN = Plan(
    steps=5000,
    micro_batch=64,
    precision="bf16",
    sigma_data=0.5,
    validate_every=250,
    preview_every=400,
    checkpoint_every=1000,
    threads=2,
    processes=1,
    step_seconds=0.03,
)
