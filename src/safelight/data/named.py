"""The well-known sets: found on this machine or fetched by torchvision."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from safelight.console import inform
from safelight.data.listing import Listing
from safelight.data.parts import Stack
from safelight.data.splits import SPLITS
from safelight.errors import DamagedFile, UserError

DATA_PLACE = "SAFELIGHT_DATA"  # the environment variable: a folder with sets already on disk
CACHE_PLACE = "SAFELIGHT_CACHE"  # the environment variable: where caches and downloads are kept


def user_cache() -> Path:
    """The folder for what can be made again."""
    chosen = os.environ.get(CACHE_PLACE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("safelight")


@dataclass(frozen=True)
class NamedSet:
    """One row of the table: `load(roots)` gives all its pictures."""

    load: Callable[[Sequence[Path]], Listing]
    layout: str  # the folder, below a root, by which torchvision's copy is recognised


def digits(roots: Sequence[Path]) -> Listing:
    """scikit-learn's 1,797 handwritten digits, 8x8, whose levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits  # takes a second to import

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
    return _listing(pixels, data.target, None, [str(digit) for digit in range(10)])


def _mnist_like(kind: str, classes: Sequence[str]) -> Callable[[Sequence[Path]], Listing]:
    def load(roots: Sequence[Path]) -> Listing:
        train, test = _torchvision(kind, roots)
        pixels = np.concatenate([train.data.numpy(), test.data.numpy()])[:, None]
        labels = np.concatenate([train.targets.numpy(), test.targets.numpy()])
        return _listing(pixels, labels, len(train.data), classes)

    return load


def cifar10(roots: Sequence[Path]) -> Listing:
    train, test = _torchvision("CIFAR10", roots)
    pixels = np.concatenate([train.data, test.data]).transpose(0, 3, 1, 2)
    labels = np.concatenate([train.targets, test.targets])
    return _listing(np.ascontiguousarray(pixels), labels, len(train.data), train.classes)


def _listing(
    pixels: NDArray[np.uint8], labels: Any, train: int | None, classes: Sequence[str]
) -> Listing:
    """`train`: how many of the pictures come first and are for training; the rest are the test."""
    splits = None
    if train is not None:
        splits = np.full(len(pixels), SPLITS.index("test"), np.uint8)
        splits[:train] = SPLITS.index("train")
    return Listing(
        names=[f"picture {i}" for i in range(len(pixels))],
        labels=np.asarray(labels, np.int64),
        splits=splits,
        classes=tuple(classes),
        parts=(Stack(pixels),),
    )


def _torchvision(kind: str, roots: Sequence[Path]) -> tuple[Any, Any]:
    """torchvision's training and test set, from the first root that has both, or downloaded."""
    from torchvision import datasets  # takes a second to import

    make, home = getattr(datasets, kind), user_cache() / "datasets"
    layout = next(row.layout for row in NAMED.values() if row.layout.startswith(FOLDERS[kind]))
    for root in roots:
        _require_whole(root / layout)
        try:
            return make(root, train=True), make(root, train=False)
        except (RuntimeError, OSError) as error:  # not there, or not whole
            # What a download of ours left is completed; a copy of the user's own is their matter.
            if root != home and (root / layout).is_dir():
                raise DamagedFile(
                    f"{root / layout} does not hold all of {kind} as published; put "
                    f"{FILES[kind]} there, or remove the folder to have the set fetched"
                ) from error
    inform(f"{kind} is not on this machine; fetching it into {home}")
    try:
        train = make(home, train=True, download=True)
        return train, make(home, train=False, download=True)
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{kind} could not be fetched ({error}); put {FILES[kind]} into "
            f"{home / layout}, or set {DATA_PLACE} to a folder that holds {layout}"
        ) from error


def _require_whole(raw: Path) -> None:
    """Raise DamagedFile where one of MNIST's files is not as long as its header says.

    Of d dimensions: the bytes 0, 0, 8 (for uint8) and d, d sizes as big-endian uint32, the values.
    """
    for file in sorted(raw.glob("*-idx[13]-ubyte")):
        d = int(file.name.removesuffix("-ubyte")[-1])
        try:
            with file.open("rb") as opened:
                start, sizes = opened.read(4), opened.read(4 * d)
            length = 4 + 4 * d + math.prod(struct.unpack(f">{d}I", sizes))
            whole = start == bytes((0, 0, 8, d)) and file.stat().st_size == length
        except (OSError, struct.error):
            whole = False
        if not whole:
            raise DamagedFile(
                f"{file} is cut short or is no such file; put a whole one in its place, or "
                "remove the folder to have the set fetched"
            )


FOLDERS = {"MNIST": "MNIST/", "FashionMNIST": "FashionMNIST/", "CIFAR10": "cifar-10"}
_IDX = (
    "the unpacked train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte "
    "and t10k-labels-idx1-ubyte"
)
FILES = {
    "MNIST": _IDX,
    "FashionMNIST": _IDX,
    "CIFAR10": "data_batch_1 to data_batch_5, test_batch and batches.meta",
}
FASHION = (
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Boot"),
)
NAMED = {
    "digits": NamedSet(digits, ""),
    "mnist": NamedSet(_mnist_like("MNIST", "0123456789"), "MNIST/raw"),
    "fashion-mnist": NamedSet(_mnist_like("FashionMNIST", FASHION), "FashionMNIST/raw"),
    "cifar10": NamedSet(cifar10, "cifar-10-batches-py"),
}


def roots_of(name: str, place: Path | None) -> list[Path]:
    """Where a copy of the set may be: the place given, or the usual ones."""
    if place is not None:
        return [place]
    chosen = os.environ.get(DATA_PLACE)
    bases = [Path(chosen).expanduser()] if chosen else []
    bases.append(user_cache() / "datasets")
    return [root for base in bases for root in (base, base / name)]


def recognised(folder: Path) -> str | None:
    """The named set whose torchvision copy lies in `folder`, such as MNIST/raw."""
    for name, row in NAMED.items():
        if row.layout and (folder / row.layout).is_dir():
            return name
    return None
