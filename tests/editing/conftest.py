"""What editing is tried on: runs, held-out digits as files, masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from safelight import (
    Sampling,
    prepare,
)
from safelight.config import Config, Data, Diffusion, Net, Optimiser, Watch
from safelight.training.train import train

SMALL = Config(
    budget="30steps",
    net=Net(widths=(8, 16), blocks=1, attention=()),
    diffusion=Diffusion(sigma_data=0.7),
    optimiser=Optimiser(batch=8, lr=1e-2, warmup=2),
    watch=Watch(checkpoint_every=30, validate_every=30, preview_every=30, tensorboard=False),
    precision="float32",
)
FAST = Sampling(steps=4)


def rebuilt(config: Config, **changes: object) -> Config:
    return config.model_copy(update=changes)


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with classes, without, and in colour; held-out digits as files; masks."""
    folder = tmp_path_factory.mktemp("desk")
    digits = prepare("digits", out=folder / "digits", split="70/5/25")
    train(digits, SMALL, folder / "run")
    train(digits, rebuilt(SMALL, data=Data(conditional=False)), folder / "plain")
    always = SMALL.diffusion.model_copy(update={"label_dropout": 0.0})
    train(digits, rebuilt(SMALL, budget="2steps", diffusion=always), folder / "always")
    (folder / "colours").mkdir()
    drawn = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    for i, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(folder / f"colours/{i}.png")
    colours = prepare(folder / "colours", out=folder / "colour-cache", split="80/10/10")
    train(colours, rebuilt(SMALL, budget="2steps"), folder / "colour")
    held_out = digits.subset("test")
    for i, (pixels, label) in enumerate(
        zip(held_out.read(np.arange(4)), held_out.labels(range(4)), strict=True)
    ):
        for place in ("pictures", f"named/{label}"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0]).save(folder / place / f"{i}.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 5:] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:4, :4]).save(folder / "small-mask.png")
    Image.fromarray(mask * 0).save(folder / "black.png")
    return folder


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def record(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "edit.json").read_text())
    return found
