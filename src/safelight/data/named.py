"""The well-known sets: found on this machine or fetched by torchvision."""

from __future__ import annotations

import difflib
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from safelight.console import inform
from safelight.data.curated import celeba, cifar100, stl10
from safelight.data.listing import Listing
from safelight.data.lsun import databases, lsun
from safelight.data.lsun import signature as lsun_signature
from safelight.data.options import Options
from safelight.data.parts import Stack
from safelight.data.pixels import bytes_of
from safelight.data.places import DATA_PLACE, downloads
from safelight.data.published import Datasets, Published, listing_of, needs_only_a_root, takes
from safelight.data.tables import plain
from safelight.data.walk import signature, stamped, walk_folder
from safelight.errors import DamagedFile, MissingLibrary, UserError

Read = Callable[[Datasets, Options], Listing]
PUBLISHED = "published"  # the sign of what does not change


@dataclass(frozen=True)
class NamedSet:
    """One row of the table: `load(roots, options)` gives all its pictures.

    there: whether a root holds a copy. layout: the folder in which it does, if that is one of its
    own. takes: which options it heeds that others do not. sign: what tells of changes. divided:
    whether it has splits of its own.
    """

    load: Callable[[Sequence[Path], Options], Listing]
    there: Callable[[Path], bool]
    layout: str = ""
    takes: tuple[str, ...] = ()
    sign: Callable[[Sequence[Path]], str] = lambda roots: PUBLISHED
    divided: bool = True


def digits(roots: Sequence[Path], options: Options) -> Listing:
    """scikit-learn's 1,797 handwritten digits, 8x8, whose levels 0..16 become 0..255."""
    from sklearn.datasets import load_digits  # takes a second to import

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
    n = len(pixels)
    return Listing(
        names=[f"picture {i}" for i in range(n)],
        labels=data.target.astype(np.int64),
        splits=None,
        classes=tuple("0123456789"),
        parts=(Stack.of(bytes_of(pixels)),),
    )


def of_torchvision(name: str, row: Published, read: Read, *takes: str) -> NamedSet:
    def load(roots: Sequence[Path], options: Options) -> Listing:
        return read(_found(name, row, roots), options)

    def sign(roots: Sequence[Path]) -> str:
        return _signed(next((root for root in roots if row.may_be_in(root)), None), row)

    return NamedSet(load, row.there, row.layout, takes, sign, row.by != "")


def _signed(root: Path | None, row: Published) -> str:
    """What was fetched is as published, be it removed again; a copy of the user's may change.

    Most sets without a folder of their own are compared with sums by torchvision.
    """
    if root is None or not row.layout or downloads() in (root, *root.parents):
        return PUBLISHED
    found = walk_folder(root / row.layout)
    others = [root / row.layout / name for name in found.left_aside]
    return signature(found) + stamped(*(path for path in others if path.is_file()))


def called(*classes: str) -> Read:
    """Of classes with these names, in place of torchvision's."""
    return lambda datasets, options: replace(listing_of(datasets), classes=classes)


def plainly(datasets: Datasets, options: Options) -> Listing:
    return listing_of(datasets)


def _found(name: str, row: Published, roots: Sequence[Path]) -> Datasets:
    """torchvision's sets, from the first root that has all of them, or downloaded."""
    home = downloads() if row.layout else downloads() / name
    for root in filter(row.may_be_in, roots):
        _require_whole(root / row.layout, root == home)
        try:
            return row.opened(root)
        except ImportError as error:
            raise MissingLibrary(f"{row.kind} is read by another library: {error}") from error
        # Not there, or not whole: damaged pickles, .mat and texts raise nearly everything there is.
        except Exception as error:
            # What a download of ours left is completed; a copy of the user's own is their matter.
            if root != home and (row.layout or row.there(root)):
                raise DamagedFile(
                    f"{root / row.layout} does not hold all of {row.kind} as published; put "
                    f"{row.files} there"
                ) from error
    return _fetched(row, home)


def _fetched(row: Published, home: Path) -> Datasets:
    problem = "torchvision does not fetch it"
    cause: Exception | None = None
    if row.fetched:
        inform(f"{row.kind} is not on this machine; fetching it into {home}")
        try:
            return row.opened(home, download=True)
        except Exception as error:  # as above, and whatever a network raises
            problem, cause = " ".join(str(error).split()) or type(error).__name__, error
    raise UserError(
        f"{row.kind} could not be fetched ({problem}); put {row.files} into {home / row.layout}, "
        f"or set {DATA_PLACE} to a folder that holds {row.layout or 'them'}"
    ) from cause


def _require_whole(raw: Path, ours: bool) -> None:
    """Raise DamagedFile where one of MNIST's files is not as long as its header says.

    Of d dimensions: the bytes 0, 0, 8 (for uint8) and d, d sizes as big-endian uint32, the values.
    ours: where it lies in the downloads, and may be fetched again.
    """
    again = ", or remove the folder to have the set fetched" if ours else ""
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
                f"{file} is cut short or is no such file; put a whole one in its place{again}"
            )


IDX = (
    "the unpacked train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte "
    "and t10k-labels-idx1-ubyte"
)
CIFAR = "data_batch_1 to data_batch_5, test_batch and batches.meta"
FASHION = (
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Boot"),
)
ATTRIBUTES = (
    "the folder img_align_celeba, list_attr_celeba.txt, list_eval_partition.txt, "
    "identity_CelebA.txt, list_bbox_celeba.txt and list_landmarks_align_celeba.txt"
)
STL = (
    "train_X.bin, train_y.bin, test_X.bin, test_y.bin, unlabeled_X.bin, class_names.txt and "
    "fold_indices.txt"
)
EMNIST = (
    "the unpacked emnist-balanced-train-images-idx3-ubyte and -labels-idx1-ubyte, and the same of "
    "-test-"
)
# name -> how torchvision has it, and what reads it if that is not the usual way
TORCHVISION: dict[str, tuple[Published, Read]] = {
    "mnist": (
        Published("MNIST", "MNIST/raw", IDX, "train", "*-ubyte*"),
        called(*"0123456789"),
    ),
    "fashion-mnist": (
        Published("FashionMNIST", "FashionMNIST/raw", IDX, "train", "*-ubyte*"),
        called(*FASHION),
    ),
    "cifar10": (
        Published("CIFAR10", "cifar-10-batches-py", CIFAR, "train", "*batch*"),
        plainly,
    ),
    "cifar100": (
        Published("CIFAR100", "cifar-100-python", "train, test and meta", "train", "meta"),
        cifar100,
    ),
    "celeba": (
        Published("CelebA", "celeba", ATTRIBUTES, "split", "list_attr_celeba.txt"),
        celeba,
    ),
    "flowers102": (
        Published(
            "Flowers102",
            "flowers-102",
            "jpg, imagelabels.mat and setid.mat",
            "split",
            "setid.mat",
        ),
        plainly,
    ),
    "stl10": (Published("STL10", "stl10_binary", STL, "split", "*_X.bin"), stl10),
    "svhn": (
        Published("SVHN", "", "train_32x32.mat and test_32x32.mat", "split", "train_32x32.mat"),
        plainly,
    ),
    "kmnist": (Published("KMNIST", "KMNIST/raw", IDX, "train", "*-ubyte*"), plainly),
    "emnist": (
        Published("EMNIST", "EMNIST/raw", EMNIST, "train", "*-ubyte*", {"split": "balanced"}),
        plainly,
    ),
    "usps": (Published("USPS", "", "usps.bz2 and usps.t.bz2", "train", "usps.bz2"), plainly),
    "food101": (
        Published("Food101", "food-101", "images and meta", "split", "meta/train.json"),
        plainly,
    ),
    "dtd": (
        Published("DTD", "dtd/dtd", "images and labels", "split", "labels/train1.txt"),
        plainly,
    ),
    "oxford-pets": (
        Published(
            "OxfordIIITPet",
            "oxford-iiit-pet",
            "images and annotations",
            "split",
            "annotations/trainval.txt",
        ),
        plainly,
    ),
    "stanford-cars": (
        Published(
            "StanfordCars",
            "stanford_cars",
            "cars_train, cars_test, devkit and cars_test_annos_withlabels.mat",
            "split",
            "devkit/cars_train_annos.mat",
        ),
        plainly,
    ),
    "fgvc-aircraft": (
        Published(
            "FGVCAircraft",
            "fgvc-aircraft-2013b",
            "data",
            "split",
            "data/variants.txt",
        ),
        plainly,
    ),
    "eurosat": (
        Published("EuroSAT", "eurosat/2750", "its ten class folders", "", "AnnualCrop"),
        plainly,
    ),
    "caltech101": (
        Published(
            "Caltech101",
            "caltech101",
            "101_ObjectCategories and Annotations",
            "",
            "101_ObjectCategories",
        ),
        plainly,
    ),
    "imagenette": (
        Published("Imagenette", "imagenette2", "train and val", "split", "train/n01440764"),
        plainly,
    ),
    "imagenet": (
        Published(
            "ImageNet",
            "",
            "ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
            "split",
            "ILSVRC2012_devkit_t12.tar.gz",
        ),
        plainly,
    ),
}
HEEDED = {"cifar100": ("label_by",), "celeba": ("label_by",)}
NAMED = {
    "digits": NamedSet(digits, lambda root: False, divided=False),
    **{
        name: of_torchvision(name, row, read, *HEEDED.get(name, ()))
        for name, (row, read) in TORCHVISION.items()
    },
    "lsun": NamedSet(lsun, lambda root: bool(databases(root)), sign=lsun_signature),
}


def spelled(name: str) -> str | None:
    """The named set that is meant; None where it is none of the table."""
    return {plain(row): row for row in NAMED}.get(plain(name))


def other(name: str) -> NamedSet | None:
    """Any other set of torchvision that needs no more than a folder; None where it has none."""
    from torchvision import datasets  # takes a second to import

    kind = {plain(kind): kind for kind in datasets.__all__}.get(plain(name))
    if kind is None or not needs_only_a_root(getattr(datasets, kind)):
        return None
    by = next((by for by in ("train", "split") if takes(getattr(datasets, kind), by)), "")
    row = Published(kind, "", f"the files that torchvision.datasets.{kind} reads", by)
    return of_torchvision(kind.lower(), row, plainly)


def nearest(name: str) -> list[str]:
    """The named sets that are spelled like it."""
    near = difflib.get_close_matches(plain(name), [plain(row) for row in NAMED], n=2)
    return [spelled(found) or found for found in near]


def recognised(folder: Path) -> tuple[str, Path] | None:
    """The named set whose copy lies in `folder`, or is it, and the root below which it lies."""
    for name, row in NAMED.items():
        if row.there(folder):
            return name, folder
        top = row.layout.partition("/")[0]
        if top and top == folder.name and row.there(folder.parent):
            return name, folder.parent
    return None
