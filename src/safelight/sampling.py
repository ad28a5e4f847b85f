"""`sample`: images from a run into a folder, a sub-folder for each class.

OUT/cat/000003.png     the image of seed 3; the same file whenever seed 3 is drawn again
OUT/images.npz         images (n, c, h, w) uint8, seeds, labels
OUT/grid.png           the first of them; OUT/develop.png: how eight of them came about
OUT/sample.json        how they were drawn
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from safelight.console import progress
from safelight.errors import UserError, lookup
from safelight.files import read_json, sweep, writing_folder
from safelight.images import contact_sheet, to_pil
from safelight.training.source import DiffusionSource

BATCH = 128
RECORD = "sample.json"
DEVELOPED = (8, 10)  # images and states of the strip
GRID = 8  # images in a row


def seeds_of(source: DiffusionSource, n: int, classes: Sequence[str], seed: int) -> list[int]:
    """The first n seeds from `seed` on of each class: the class of seed s is s modulo K.

    An unconditional source gets n seeds in all.
    """
    if not source.classes:
        if classes:
            raise UserError(f"{source.name} was trained without classes; leave --classes out")
        return list(range(seed, seed + n))
    known = {name: k for k, name in enumerate(source.classes)}
    chosen = sorted(lookup(known, name, "class") for name in classes or source.classes)
    K = len(known)
    firsts = [seed + (k - seed) % K for k in chosen]
    return [first + i * K for first in firsts for i in range(n)]


def write_samples(source: DiffusionSource, seeds: Sequence[int], out: Path) -> Path:
    """Draw the images of these seeds into the folder `out`, which appears complete or not at all.

    Raises UserError where `out` holds anything but these very samples.
    """
    _require_free(out, identity(source, seeds))
    labels = source.labels(seeds)
    sweep(out.parent)
    with writing_folder(out) as folder:
        images = _draw(source, seeds, labels, folder)
        _save_array(folder / "images.npz", images, seeds, labels)
        _grid(images, labels).save(folder / "grid.png")
        _strip(source, seeds, labels).save(folder / "develop.png")
        about = {
            **source.sampling.model_dump(),
            "steps": source.steps,
            "evaluations": source.evaluations,
        }
        drawn = {"run": source.name, "identity": identity(source, seeds), "n": len(seeds)}
        record = {**drawn, **about}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    return out


def identity(source: DiffusionSource, seeds: Sequence[int]) -> str:
    """A hash of what decides the images; the same samples have the same."""
    return hashlib.sha256(f"{source.fingerprint} {list(seeds)}".encode()).hexdigest()


def _require_free(out: Path, these: str) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / RECORD).is_file():
        raise UserError(
            f"{out} is not empty and holds no samples; choose another folder with --out"
        )
    if read_json(out / RECORD, "choose another folder with --out").get("identity") != these:
        raise UserError(f"{out} holds other samples; choose another folder with --out")


def _draw(
    source: DiffusionSource, seeds: Sequence[int], labels: Tensor | None, folder: Path
) -> NDArray[np.uint8]:
    """Draw batch by batch, writing each image as it comes."""
    images = np.empty((len(seeds), *source.shape), np.uint8)
    with progress("sampling", len(seeds)) as advance:
        for first in range(0, len(seeds), BATCH):
            part = slice(first, min(first + BATCH, len(seeds)))
            drawn = source.images(seeds[part], None if labels is None else labels[part])
            images[part] = drawn.numpy()
            for i in range(part.start, part.stop):
                place = folder / (source.classes[int(labels[i])] if labels is not None else "")
                place.mkdir(exist_ok=True)
                to_pil(images[i]).save(place / f"{seeds[i]:06d}.png")
            advance(part.stop - part.start)
    return images


def _save_array(
    path: Path, images: NDArray[np.uint8], seeds: Sequence[int], labels: Tensor | None
) -> None:
    arrays = {"images": images, "seeds": np.asarray(seeds, np.int64)}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _grid(images: NDArray[np.uint8], labels: Tensor | None) -> Image:
    """Up to 64 images, row by row; with classes, whole rows of each of the first ten."""
    if labels is None:
        return contact_sheet(images[: GRID * GRID], min(GRID, len(images)))
    kinds = sorted(set(labels.tolist()))[:10]
    of_each = [np.flatnonzero(labels.numpy() == k) for k in kinds]
    columns = min(GRID, *(len(found) for found in of_each))
    rows = max(1, min(GRID // len(kinds), *(len(found) // columns for found in of_each)))
    shown = np.concatenate([found[: rows * columns] for found in of_each])
    return contact_sheet(images[shown], columns)


def _strip(source: DiffusionSource, seeds: Sequence[int], labels: Tensor | None) -> Image:
    """A row for each of a few images spread over the seeds: from noise to image."""
    rows, frames = DEVELOPED
    picks = np.linspace(0, len(seeds) - 1, min(rows, len(seeds))).round().astype(int)
    chosen = None if labels is None else labels[picks]
    _, states, _ = source.develop([seeds[i] for i in picks], chosen, frames)
    return contact_sheet(states.transpose(0, 1).flatten(0, 1), len(states))
