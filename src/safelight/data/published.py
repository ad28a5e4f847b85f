"""The sets of torchvision: where each lies, how it is divided, and its pictures and classes."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from safelight.data.arrayfiles import one
from safelight.data.classes import no_classes
from safelight.data.listing import Listing
from safelight.data.parts import Files, Part, Stack
from safelight.data.pixels import understood
from safelight.data.splits import SPLITS
from safelight.data.streams import Stream
from safelight.errors import UserError

Datasets = Mapping[str, Any]  # of torchvision, by our splits; "" where there are none
# What the argument `split` is called for each of ours; the first that a set knows is taken.
VALUES = {
    "train": ("train", "trainval", "train-standard"),
    "validation": ("val", "valid"),
    "test": ("test",),
}
# Where torchvision's classes keep their pictures, the labels of these, and the classes' names.
PICTURES = ("_image_files", "_images", "_samples", "samples", "imgs", "data")
LABELS = ("targets", "labels", "_labels", "y")
CLASSES = ("classes", "categories")


@dataclass(frozen=True)
class Published:
    """A set of torchvision.

    kind: its class there. layout: the folder, below a root, in which it looks for `files`. by: a
    row of DIVIDED. mark: a file, as a pattern, that only a published one has in such a folder.
    fixed: arguments.
    """

    kind: str
    layout: str
    files: str
    by: str
    mark: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def there(self, root: Path) -> bool:
        """Whether some of it surely is; a folder of its name may be anybody's."""
        return bool(self.mark) and any((root / self.layout).glob(self.mark))

    def may_be_in(self, root: Path) -> bool:
        """Some classes make folders where they look for files, and are let into no other place."""
        if self.layout:
            return (root / self.layout).is_dir()
        return self.there(root) or (not self.mark and root.is_dir())

    @property
    def fetched(self) -> bool:
        """Whether torchvision can fetch it."""
        return takes(self._class(), "download")

    def _class(self) -> Any:
        from torchvision import datasets  # takes a second to import

        return getattr(datasets, self.kind)

    def opened(self, root: Path, download: bool = False) -> Datasets:
        """Raises RuntimeError, OSError and others where it is not there, or not whole."""
        asked = {"download": download} if self.fetched else {}
        make = partial(self._class(), root, **self.fixed, **asked)
        found = DIVIDED[self.by](make)
        if not found:
            raise RuntimeError(f"{self.kind} has none of the splits that it is known to have")
        return found


def needs_only_a_root(kind: type) -> bool:
    """Whether the class is of one set, whose place is all that it has to be told."""
    parameters = list(inspect.signature(kind).parameters.values())
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return needed == ["root"] and kind.__name__ not in ("ImageFolder", "DatasetFolder")


def takes(kind: type, argument: str) -> bool:
    """Whether the class or one that it is derived from has this argument."""
    makers = [vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)]
    return any(argument in inspect.signature(make).parameters for make in makers)


def _by_train(make: Callable[..., Any]) -> Datasets:
    return {"train": make(train=True), "test": make(train=False)}


def _by_split(make: Callable[..., Any]) -> Datasets:
    found = {split: _first_known(make, values) for split, values in VALUES.items()}
    return {split: part for split, part in found.items() if part is not None}


def _first_known(make: Callable[..., Any], values: Sequence[str]) -> Any:
    for value in values:
        try:
            return make(split=value)
        except ValueError as error:
            if not str(error).startswith("Unknown value"):
                raise
    return None


DIVIDED: dict[str, Callable[[Callable[..., Any]], Datasets]] = {
    "train": _by_train,
    "split": _by_split,
    "": lambda make: {"": make()},
}


def listing_of(datasets: Datasets) -> Listing:
    """All their pictures, one split after the other. Raises UserError where there are none."""
    parts = [part_of(dataset) for dataset in datasets.values()]
    counts = [len(part) for part in parts]
    labels = [labels_of(dataset) for dataset in datasets.values()]
    classes = next(iter(map(classes_of, datasets.values())), ())
    known = all(column is not None for column in labels)
    numbers = np.concatenate([column for column in labels if column is not None] or [[]])
    if known and len(classes) <= numbers.max(initial=0):
        classes = tuple(str(i) for i in range(int(numbers.max()) + 1))
    return Listing(
        names=[f"picture {i}" for i in range(sum(counts))],
        labels=numbers.astype(np.int64) if known else no_classes(sum(counts))[0],
        splits=split_codes(list(datasets), counts),
        classes=classes if known else (),
        parts=tuple(parts),
    )


def split_codes(splits: Sequence[str], counts: Sequence[int]) -> Any:
    """(n,) uint8 of so many pictures of each split; None where there is none."""
    if splits == [""]:
        return None
    return np.repeat([SPLITS.index(split) for split in splits], counts).astype(np.uint8)


def part_of(dataset: Any) -> Part:
    """Its pictures in the quickest way: as an array, as files, or one by one."""
    where = type(dataset).__name__
    for name in PICTURES:
        held = getattr(dataset, name, None)
        if held is None or len(held) != len(dataset) or not len(held):
            continue
        if len(getattr(held, "shape", ())) >= 3:
            return Stack.of(understood(one(held, where), where))
        first = held[0][0] if isinstance(held[0], tuple) else held[0]
        if isinstance(first, str | Path):
            return files([item[0] if isinstance(item, tuple) else item for item in held])
    keys = [str(i) for i in range(len(dataset))]
    read = partial(_one_by_one, dataset)
    places = np.arange(len(keys))
    return Stream(read, where, keys, [0] * len(keys), places, handed=True)


def files(paths: Sequence[str | Path]) -> Files:
    """Those at these paths; of one that is not there it is told when it is read."""
    keys = [str(Path(path).resolve()) for path in paths]
    return Files("folder", "", keys, [_size(key) for key in keys])


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _one_by_one(dataset: Any, keys: Sequence[str]) -> Iterator[bytes | str]:
    for key in keys:
        image = dataset[int(key)][0]
        if not isinstance(image, Image.Image):
            raise UserError(
                f"torchvision's {type(dataset).__name__} holds {type(image).__name__} and no "
                "pictures; give another set"
            )
        yield as_file(image)


def as_file(image: Image.Image) -> bytes:
    """A picture as the bytes of a file, made quickly."""
    file = io.BytesIO()
    if image.mode in ("L", "RGB"):
        image.save(file, "PPM")
    else:
        image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def labels_of(dataset: Any) -> Any:
    """(n,) whole numbers; None where a picture has none, or several."""
    held = next((getattr(dataset, name) for name in LABELS if hasattr(dataset, name)), None)
    if held is None:
        pairs = next((getattr(dataset, name) for name in PICTURES if hasattr(dataset, name)), ())
        held = [pair[1] for pair in pairs if isinstance(pair, tuple)]
    try:
        numbers = np.array([int(label) for label in held])
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == len(dataset) and numbers.min(initial=0) >= 0 else None


def classes_of(dataset: Any) -> tuple[str, ...]:
    """Their names in the order of the labels; none where the set does not name them."""
    held = next((getattr(dataset, name) for name in CLASSES if hasattr(dataset, name)), ())
    return tuple(name if isinstance(name, str) else " ".join(name) for name in held)
