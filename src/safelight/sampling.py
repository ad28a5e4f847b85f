"""`sample`: images from a run into a folder, a sub-folder for each class.

OUT/cat/000003.png     the image of seed 3; the same file whenever seed 3 is drawn again. What a PNG
                       can't hold it shows, and OUT/cat/000003.npy has all channels
OUT/images.npz         images (n, c, h, w) uint8, seeds, labels
OUT/grid.png           the first of them; OUT/develop.png: how eight of them came about, or, of an
                       autoencoder, OUT/compare.png: pictures above what came back of them
OUT/sample.json        how they were drawn

A sweep of guidance has all of this in OUT/guidance-1.5 and so on, and OUT/sweep.png.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from safelight.console import progress
from safelight.errors import UserError, lookup
from safelight.files import clear_leftovers, require_free, write_json, writing_folder
from safelight.filing import Selection, into
from safelight.images import (
    Developing,
    Restoring,
    contact_sheet,
    display_scale,
    labelled_sheet,
)
from safelight.training.watching import ModelSource

USUAL = 64  # images, unless a number is given
RECORD = "sample.json"
DEVELOPED = (8, 10)  # images and states of the strip
GRID = 8  # images in a row
SWEPT = 10  # images in a row of a sweep


def seeds_of(source: ModelSource, n: int, classes: Sequence[str], seed: int) -> list[int]:
    """The first n seeds from `seed` on of each class: the class of seed s is s modulo K.

    An unconditional source gets n seeds in all. Raises UserError where there are not as many.
    """
    if not source.classes:
        if classes:
            raise UserError(f"{source.name} was trained without classes; leave --classes out")
        if source.count is not None and not 0 <= seed <= source.count - n:
            raise UserError(
                f"{source.name} gives back the {source.count} pictures 0 to {source.count - 1}; "
                "choose a smaller -n, or another --seed"
            )
        return list(range(seed, seed + n))
    known = {name: k for k, name in enumerate(source.classes)}
    chosen = sorted(lookup(known, name, "class") for name in classes or source.classes)
    K = len(known)
    firsts = [seed + (k - seed) % K for k in chosen]
    return [first + i * K for first in firsts for i in range(n)]


def write_samples(source: ModelSource, seeds: Sequence[int], out: Path) -> Path:
    """Draw the images of these seeds into the folder `out`, which appears complete or not at all.

    Raises UserError where `out` holds anything but these very samples.
    """
    require_free(out, RECORD, identity(source, seeds), "samples")
    clear_leftovers(out.parent)
    with writing_folder(out, keep=True) as folder:
        _write(source, seeds, folder)
    return out


def write_sweep(sources: Sequence[ModelSource], seeds: Sequence[int], out: Path) -> Path:
    """The same seeds with each guidance, in a folder each, and `sweep.png` with a row for each."""
    these = sweep_identity(sources, seeds)
    require_free(out, RECORD, these, "samples")
    clear_leftovers(out.parent)
    with writing_folder(out, keep=True) as folder:
        rows = []
        for source in sources:
            weight = str(source.record()["guidance"]).removesuffix(".0")
            (folder / f"guidance-{weight}").mkdir()
            images, labels = _write(source, seeds, folder / f"guidance-{weight}")
            rows.append((f"guidance {weight}", images[_one_of_each(labels, len(seeds))]))
        labelled_sheet(rows, display_scale(images.shape[2])).save(folder / "sweep.png")
        record = {"run": sources[0].name, "identity": these, "n": len(seeds)}
        weights = [source.record()["guidance"] for source in sources]
        write_json(folder / RECORD, {**record, "guidance": weights})
    return out


def identity(source: ModelSource, seeds: Sequence[int]) -> str:
    """A hash of what decides the images; the same samples have the same."""
    return hashlib.sha256(f"{source.fingerprint} {list(seeds)}".encode()).hexdigest()


def sweep_identity(sources: Sequence[ModelSource], seeds: Sequence[int]) -> str:
    """The same for the samples of several sources."""
    return hashlib.sha256(" ".join(identity(s, seeds) for s in sources).encode()).hexdigest()


def _write(
    source: ModelSource, seeds: Sequence[int], folder: Path
) -> tuple[NDArray[np.uint8], Tensor | None]:
    """Fill `folder`; returns the images and their labels."""
    labels = source.labels(seeds)
    images = _draw(source, seeds, folder)
    _save_array(folder / "images.npz", images, seeds, labels)
    _grid(images, labels).save(folder / "grid.png")
    if isinstance(source, Restoring):
        _beside(source, seeds, images).save(folder / "compare.png")
    if isinstance(source, Developing):
        _strip(source, seeds, labels).save(folder / "develop.png")
    drawn = {"run": source.name, "identity": identity(source, seeds), "n": len(seeds)}
    write_json(folder / RECORD, {**drawn, **source.record()})
    return images, labels


def _one_of_each(labels: Tensor | None, n: int) -> list[int]:
    """Positions of a row of the sweep: the classes in turn, or the first images."""
    if labels is None:
        return list(range(min(SWEPT, n)))
    of_each = [np.flatnonzero(labels.numpy() == k).tolist() for k in sorted(set(labels.tolist()))]
    turns = [found[i] for i in range(SWEPT) for found in of_each if i < len(found)]
    return turns[:SWEPT]


def _draw(source: ModelSource, seeds: Sequence[int], folder: Path) -> NDArray[np.uint8]:
    """Draw batch by batch, writing each image as it comes."""
    images = np.empty((len(seeds), *source.shape), np.uint8)
    with progress("sampling", len(seeds)) as advance:
        done = 0
        for drawn in Selection(source, seeds).put(into(folder), advance):
            images[done : done + len(drawn)] = drawn.numpy()
            done += len(drawn)
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


def _beside(source: Restoring, seeds: Sequence[int], images: NDArray[np.uint8]) -> Image:
    """The first pictures above what came back of them."""
    first = slice(0, SWEPT)
    pictures = source.pictures.images(seeds[first]).numpy()
    rows = [("picture", pictures), ("restored", images[first])]
    return labelled_sheet(rows, display_scale(images.shape[2]))


def _strip(source: Developing, seeds: Sequence[int], labels: Tensor | None) -> Image:
    """A row for each of a few images spread over the seeds: from noise to image."""
    rows, frames = DEVELOPED
    picks = np.linspace(0, len(seeds) - 1, min(rows, len(seeds))).round().astype(int)
    chosen = None if labels is None else labels[picks]
    _, states, _ = source.develop([seeds[i] for i in picks], chosen, frames)
    return contact_sheet(states.transpose(0, 1).flatten(0, 1), len(states))
