"""Arrays as a source: which of them are pictures, labels and splits, by their names."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.data.arrayfiles import held, named
from safelight.data.classes import Labels, clean, no_classes, numbered
from safelight.data.layout import SPLIT_FOLDERS, Splits, split_named
from safelight.data.listed import splits_of
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.parts import Stack
from safelight.data.pixels import COLOURS, Raw, all_understood, chunks
from safelight.data.splits import SPLITS
from safelight.data.tables import said
from safelight.errors import UserError

# What an array is for -> how it may be called, besides `train`, `val` or `test` before or after.
NAMES = {
    "images": ("images", "image", "imgs", "img", "x", "data", "pixels", "samples", "arr_0", ""),
    "labels": ("labels", "label", "y", "targets", "target", "arr_1"),
    "classes": ("classes", "class_names", "label_names"),
    "splits": ("splits", "split"),
}
ROLES = {name: role for role, names in NAMES.items() for name in names}
Roles = Mapping[str, str]  # role -> the array's name
TOLD = 12  # arrays that are named where it is not clear what they are


@dataclass(frozen=True)
class Arrays:
    """Pictures in arrays. load: the arrays by their names; sign: what tells of their changes."""

    name: str
    where: str
    load: Callable[[], Mapping[str, Raw]]
    sign: Callable[[], str]
    divided: bool = False
    takes: tuple[str, ...] = ("label_by",)

    def signature(self) -> str:
        return self.sign()

    @cached_property
    def _arrays(self) -> Mapping[str, Raw]:
        return {name: raw for name, raw in self.load().items() if raw.shape}

    def listing(self, options: Options) -> Listing:
        found = _arranged(self._arrays, self.where, options.label_by)
        parts = self._parts([roles["images"] for roles in found.values()], options)
        counts = [len(part) for part in parts]
        labels, classes = no_classes(sum(counts))
        if options.labelled:
            labels, classes = self._labels(found, counts)
        return Listing(
            names=[f"picture {i}" for i in range(sum(counts))],
            labels=labels,
            splits=self._splits(found, counts) if options.split is None else None,
            classes=classes,
            parts=tuple(parts),
        )

    def _parts(self, names: Sequence[str], options: Options) -> list[Stack]:
        arrays = {f"{self.where}, {name}": self._arrays[name] for name in names}
        parts = all_understood(arrays)
        for what, images in zip(arrays, parts, strict=True):
            c = images.shape[1]
            if options.channels != "auto" and c not in COLOURS:
                raise UserError(
                    f"{what} has {c} channels, which are no colours; leave out "
                    f"--channels {options.channels}, or give three of them"
                )
        return list(map(Stack.of, parts))

    def _labels(
        self, found: Mapping[str, Roles], counts: Sequence[int]
    ) -> tuple[Labels, tuple[str, ...]]:
        names = [roles.get("labels") for roles in found.values()]
        if not any(names):
            return no_classes(sum(counts))
        shared = next((name for name in names if name and names.count(name) > 1), None)
        if shared is not None:
            raise UserError(
                f"{self.where} has the labels {shared} for several splits; give each its own, such "
                "as train_labels"
            )
        values = [self._column(name, n, "labels") for name, n in zip(names, counts, strict=True)]
        classes = {roles["classes"]: None for roles in found.values() if "classes" in roles}
        if not classes:
            return numbered(self._names(value for column in values for value in column))
        return self._indexed(np.concatenate(values), self._called(list(classes)))

    def _column(self, name: str | None, n: int, role: str) -> NDArray[Any]:
        """(n,), one for each picture."""
        if name is None:
            raise UserError(f"{self.where} has {role} of some splits and not of all")
        raw = self._arrays[name]
        if raw.shape not in ((n,), (n, 1)):
            raise UserError(
                f"{self.where}, {name} has the shape {raw.shape}, and there are {n} pictures; give "
                f"one of the {role} for each picture, ({n},)"
            )
        return raw.read(np.arange(n)).reshape(n)

    def _names(self, labels: Iterable[Any]) -> list[str]:
        names = list(map(said, labels))
        if "" in names:
            raise UserError(f"{self.where} has pictures without a label; leave them out")
        return names

    def _called(self, arrays: Sequence[str]) -> list[str]:
        """The names of the classes by their number, which are the same in all of these arrays."""
        found = [self._class_names(name) for name in arrays]
        other = next((i for i, names in enumerate(found) if names != found[0]), None)
        if other is not None:
            raise UserError(
                f"{self.where} names its classes in {arrays[0]} otherwise than in {arrays[other]}; "
                "give one list of them, which all labels count by"
            )
        return found[0]

    def _class_names(self, name: str) -> list[str]:
        raw = self._arrays[name]
        if raw.shape[1:] not in ((), (1,)):
            raise UserError(
                f"{self.where}, {name} has the shape {raw.shape}; give a name for each class"
            )
        return list(map(clean, self._names(raw.read(np.arange(raw.shape[0])).ravel())))

    def _indexed(
        self, values: NDArray[Any], names: Sequence[str]
    ) -> tuple[Labels, tuple[str, ...]]:
        """Labels that are positions among these names; classes of one name are one."""
        whole = values.dtype.kind in "ui"
        if not whole or values.min() < 0 or values.max() >= len(names):
            seen = f"{values.min()} to {values.max()}" if whole else str(values.dtype)
            raise UserError(
                f"the labels of {self.where} are to be positions among its {len(names)} classes, "
                f"0 to {len(names) - 1}, and are {seen}"
            )
        classes = {name: k for k, name in enumerate(dict.fromkeys(names))}
        return np.array([classes[name] for name in names])[values.astype(np.int64)], tuple(classes)

    def _splits(self, found: Mapping[str, Roles], counts: Sequence[int]) -> Splits:
        if "" not in found:
            return np.repeat([SPLITS.index(split) for split in found], counts).astype(np.uint8)
        if "splits" not in found[""]:
            return None
        name = found[""]["splits"]
        words = splits_of(self._column(name, counts[0], "splits"), name, self.where)
        if "" in words:
            raise UserError(f"{self.where}, {name} has no split of some pictures; leave them out")
        return np.array([SPLITS.index(word) for word in words], np.uint8)


def _arranged(
    arrays: Mapping[str, Raw], where: str, label_by: tuple[str, ...]
) -> dict[str, dict[str, str]]:
    """Split, or "" where there are none -> role -> the array's name."""
    found: dict[str, dict[str, str]] = {}
    asked = [_split_of(name)[1] for name in label_by]
    for name in arrays:
        split, rest = _split_of(name)
        role = ROLES.get(rest)
        if asked and role in ("labels", None):
            role = "labels" if rest == asked[0] else None
        if role is not None and found.setdefault(split, {}).setdefault(role, name) != name:
            raise UserError(
                f"{where} holds two arrays that could be its {role}, {found[split][role]} and "
                f"{name}; leave one out"
            )
    common = {} if "images" in found.get("", {}) else found.pop("", {})  # such as the classes
    found = {split: {**common, **roles} for split, roles in found.items() if "images" in roles}
    if not found and len(arrays) == 1:
        found = {"": {"images": next(iter(arrays))}}
    _refuse_unclear(found, arrays, where, label_by)
    return {split: found[split] for split in ("", *SPLITS) if split in found}


def _refuse_unclear(
    found: Mapping[str, Roles],
    arrays: Mapping[str, Raw],
    where: str,
    label_by: tuple[str, ...],
) -> None:
    there = ", ".join(f"{name} {arrays[name].shape}" for name in islice(arrays, TOLD)) or "nothing"
    if len(arrays) > TOLD:
        there += f" and {len(arrays) - TOLD:,} more"
    if not found:
        raise UserError(f"{where} holds {there}; call the pictures images, and their labels labels")
    if "" in found and len(found) > 1:
        raise UserError(
            f"{where} holds pictures with and without a split ({there}); name all of them like "
            "train_images"
        )
    if label_by and (len(label_by) > 1 or not all("labels" in roles for roles in found.values())):
        raise UserError(
            f"{where} has no labels {','.join(label_by)!r}; it holds {there}: name one of them"
        )


def _split_of(name: str) -> tuple[str, str]:
    """x_train -> train, x."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    return split_named(name) or "", "_".join(word for word in words if word not in SPLIT_FOLDERS)


def given(value: Any) -> Arrays:
    """Arrays given in Python: one of pictures, or a mapping with images, labels and more."""
    arrays = held(named(value, "the source"), "the source")
    digest = content(arrays)
    return Arrays("array", f"array {digest[:12]}", lambda: arrays, lambda: digest)


def content(arrays: Mapping[str, Raw]) -> str:
    digest = hashlib.sha256()
    for name, raw in sorted(arrays.items()):
        digest.update(f"{name}\0{raw.shape}\0{raw.dtype.str}\n".encode())
        for _, values in chunks(raw) if raw.shape else ():
            same = values.astype(str) if values.dtype.hasobject else values
            digest.update(np.ascontiguousarray(same).tobytes())
    return digest.hexdigest()
