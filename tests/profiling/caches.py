"""Caches of known pictures, written by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.data.cache import Cache
from safelight.data.meta import FILE, FORMAT, Meta
from safelight.data.options import Options
from safelight.data.splits import SPLITS
from safelight.data.stored import content_hash
from safelight.data.writer import npy_header


def write_cache(
    path: Path,
    images: NDArray[np.uint8],
    labels: Sequence[int] | NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
    splits: Sequence[int] | NDArray[np.uint8] | None = None,
    sizes: NDArray[np.int32] | None = None,
    names: Sequence[str] | None = None,
    duplicates: Sequence[tuple[int, int, int]] | None = (),
    **meta: Any,
) -> Cache:
    """A cache of (n, c, h, w) pictures; `meta` replaces fields of its record."""
    n, c, h, w = images.shape
    of = np.zeros(n, np.int64) if labels is None else np.asarray(labels, np.int64)
    codes = np.zeros(n, np.uint8) if splits is None else np.asarray(splits, np.uint8)
    path.mkdir(parents=True)
    (path / "images.npy").write_bytes(npy_header(images.shape) + images.tobytes())
    hashes = {"images": hashlib.sha256(images.tobytes()).hexdigest()}
    held: dict[str, NDArray[Any]] = {"labels": of, "splits": codes}
    if sizes is not None:
        held["sizes"] = np.asarray(sizes, np.int32)
    if duplicates is not None:
        held["duplicates"] = np.array(duplicates, np.int64).reshape(-1, 3)
    for name, array in held.items():
        np.save(path / f"{name}.npy", array)
        hashes[name] = content_hash(array)
    if names is not None:
        lines = "".join(f"{name}\n" for name in names).encode()
        (path / "names.txt").write_bytes(lines)
        hashes["names"] = hashlib.sha256(lines).hexdigest()
    rows = list(classes) or ["all"]
    table = np.zeros((len(rows), len(SPLITS)), np.int64)
    np.add.at(table, (of, codes), 1)
    counts = {
        name: dict(zip(SPLITS, row, strict=True))
        for name, row in zip(rows, table.tolist(), strict=True)
    }
    record: dict[str, Any] = {
        "format": FORMAT,
        "name": path.name,
        "source": path.name,
        "signature": "",
        "options": Options(),
        "classes": tuple(classes),
        "width": w,
        "height": h,
        "channels": c,
        "count": n,
        "counts": counts,
        "hashes": hashes,
        "stamp": 0,
        "resize": "none",
        "enlarged": 0,
        "rejected": (),
        "ignored": {},
        "versions": {},
    }
    record.update(meta)
    (path / FILE).write_text(Meta.model_validate(record).model_dump_json())
    return Cache.open(path)
