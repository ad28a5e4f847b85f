"""Sets of torchvision with more than one way to class their pictures."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from safelight.data.arrayfiles import Mapped
from safelight.data.classes import Labels, no_classes
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.parts import Files, Stack
from safelight.data.pixels import understood
from safelight.data.published import Datasets, files, listing_of, split_codes
from safelight.data.splits import SPLITS
from safelight.errors import lookup


def cifar100(datasets: Datasets, options: Options) -> Listing:
    """Of 100 fine classes, or of the 20 coarse ones that these belong to."""
    pictures = listing_of(datasets)
    if not options.label_by:
        return pictures
    level = lookup({"fine": "fine", "coarse": "coarse"}, ",".join(options.label_by), "labels")
    folders = [Path(part.root) / part.base_folder for part in datasets.values()]
    names = _unpickled(folders[0] / "meta")[f"{level}_label_names"]
    files = zip(folders, ("train", "test"), strict=True)
    labels = [_unpickled(folder / name)[f"{level}_labels"] for folder, name in files]
    return replace(pictures, labels=np.concatenate(labels).astype(np.int64), classes=tuple(names))


def _unpickled(path: Path) -> Any:
    """torchvision has read the same file just now, after it compared its sum with the published."""
    with path.open("rb") as file:
        return pickle.load(file, encoding="latin1")


def celeba(datasets: Datasets, options: Options) -> Listing:
    """Without classes, or of those that one or several of its 40 attributes make."""
    parts = [_faces(part) for part in datasets.values()]
    counts = [len(part) for part in parts]
    labels, classes = no_classes(sum(counts))
    if options.label_by:
        labels, classes = _by_attributes(list(datasets.values()), options.label_by)
    return Listing(
        names=[name for part in datasets.values() for name in part.filename],
        labels=labels,
        splits=split_codes(list(datasets), counts),
        classes=classes,
        parts=tuple(parts),
    )


def _faces(dataset: Any) -> Files:
    folder = Path(dataset.root) / dataset.base_folder / "img_align_celeba"
    return files([folder / name for name in dataset.filename])


def _by_attributes(datasets: Sequence[Any], names: Sequence[str]) -> tuple[Labels, tuple[str, ...]]:
    """2^k classes of k attributes, such as `Smiling and not Male`."""
    position = {name: i for i, name in enumerate(filter(None, datasets[0].attr_names))}
    columns = [lookup(position, name, "attribute") for name in names]
    has = np.concatenate([part.attr.numpy()[:, columns] for part in datasets])
    labels = (has * 2 ** np.arange(len(names))).sum(1)
    classes = [
        " and ".join(name if k >> i & 1 else f"not {name}" for i, name in enumerate(names))
        for k in range(2 ** len(names))
    ]
    return labels.astype(np.int64), tuple(classes)


def stl10(datasets: Datasets, options: Options) -> Listing:
    """Of 10 classes; with --labels none the 100,000 pictures that are of no class are there too."""
    pictures = listing_of(datasets)
    if options.labels != "none" or options.classes:
        return pictures
    first = next(iter(datasets.values()))
    path = Path(first.root) / first.base_folder / "unlabeled_X.bin"
    # Column by column, as the authors' own program wrote it.
    images = Mapped(lambda: np.memmap(path, np.uint8, "r").reshape(-1, 3, 96, 96).swapaxes(2, 3))
    more = Stack.of(understood(images, str(path)))
    n = len(pictures.names)
    codes = np.full(len(more), SPLITS.index("train"), np.uint8)
    assert pictures.splits is not None
    return replace(
        pictures,
        names=[*pictures.names, *(f"picture {i}" for i in range(n, n + len(more)))],
        labels=np.concatenate([pictures.labels, np.zeros(len(more), np.int64)]),
        splits=np.concatenate([pictures.splits, codes]),
        parts=(*pictures.parts, more),
    )
