"""LSUN: an LMDB database for each category and split, such as bedroom_train_lmdb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from safelight.data.layout import SPLIT_FOLDERS, listing
from safelight.data.listing import Listing
from safelight.data.lmdbs import DATA, is_lmdb, walk_lmdb
from safelight.data.merge import joined
from safelight.data.options import Options
from safelight.data.places import DATA_PLACE
from safelight.data.splits import SPLITS
from safelight.data.walk import stamped
from safelight.errors import UserError

ENDING = "_lmdb"


def lsun(roots: Sequence[Path], options: Options) -> Listing:
    """The categories that are there, or those of them that are asked for, are the classes."""
    folders = next(filter(None, map(databases, roots)), [])
    if not folders:
        raise UserError(
            f"no LSUN here, which torchvision does not fetch; unpack bedroom_train{ENDING} and the "
            f"like of lsun.cs.princeton.edu into {roots[-1]}, or set {DATA_PLACE} to their folder"
        )
    parts = [_part(path) for path in _asked(folders, options)]
    whole = joined(parts)
    several = len(set(whole.classes)) > 1 or options.classes
    return whole if several else replace(whole, classes=(), labels=np.zeros_like(whole.labels))


def _asked(folders: Sequence[Path], options: Options) -> Sequence[Path]:
    """Those that --classes and --rename speak of, as to list one takes minutes; all for others."""
    called = {path: options.rename.get(category(path), category(path)) for path in folders}
    if not options.classes or not set(options.classes) <= set(called.values()):
        return folders
    named = {*options.classes, *options.rename.values()}
    return [path for path in folders if called[path] in named]


def databases(root: Path) -> list[Path]:
    """LSUN's folders in this one; not test_lmdb, whose pictures are of no known category."""
    found = sorted(root.glob(f"*{ENDING}")) if root.is_dir() else []
    return [path for path in found if is_lmdb(path) and split(path) is not None and category(path)]


def signature(roots: Sequence[Path]) -> str:
    found = next(filter(None, map(databases, roots)), [])
    return stamped(*(path / DATA for path in found))


def split(folder: Path) -> str | None:
    return SPLIT_FOLDERS.get(folder.name.removesuffix(ENDING).rpartition("_")[2])


def category(folder: Path) -> str:
    return folder.name.removesuffix(ENDING).rpartition("_")[0]


def _part(folder: Path) -> Listing:
    found = listing(walk_lmdb(folder), "lmdb", str(folder), with_labels=False)
    codes = np.full(len(found.labels), SPLITS.index(split(folder) or ""), np.uint8)
    return replace(found, splits=codes, classes=(category(folder),))
