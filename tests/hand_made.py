"""Caches of any shape, written as `prepare` writes them, for tests of what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from safelight.data.cache import SPLITS, Cache
from safelight.data.meta import FORMAT, Meta
from safelight.data.options import Options
from safelight.data.stored import content_hash
from safelight.data.writer import ImageWriter

Shape = tuple[int, int, int]


def hand_made(
    folder: Path,
    images: NDArray[np.uint8],
    labels: Sequence[int],
    splits: Sequence[int],
    classes: tuple[str, ...] = (),
) -> Cache:
    """A cache of these pictures (n, c, h, w); `splits` are positions in SPLITS."""
    folder.mkdir(parents=True)
    n, c, h, w = images.shape
    with ImageWriter(folder / "images.npy", (w, h)) as writer:
        writer.append(images)
    marks, codes = np.array(labels, np.int64), np.array(splits, np.uint8)
    np.save(folder / "labels.npy", marks)
    np.save(folder / "splits.npy", codes)
    counts = {
        name: {split: int(((marks == k) & (codes == i)).sum()) for i, split in enumerate(SPLITS)}
        for k, name in enumerate(classes or ("all",))
    }
    meta = Meta(
        format=FORMAT,
        name=folder.name,
        source="nowhere",
        signature="",
        options=Options(),
        classes=classes,
        width=w,
        height=h,
        channels=c,
        count=n,
        counts=counts,
        hashes={
            "images": writer.digest,
            "labels": content_hash(marks),
            "splits": content_hash(codes),
        },
        stamp=(folder / "images.npy").stat().st_mtime_ns,
        resize="",
        enlarged=0,
        rejected=(),
        ignored={},
        versions={},
    )
    (folder / "meta.json").write_text(meta.model_dump_json())
    return Cache.open(folder)


def waves(folder: Path, shape: Shape, n: int = 60) -> Cache:
    """Smooth pictures of two classes, brighter left and brighter right, 40 to train on; no channel
    is another one, and none is constant."""
    c, h, w = shape
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:h, :w] / np.array([h, w])[:, None, None]
    labels = np.arange(n) % 2
    phase = rng.uniform(0, 6, (n, c, 1, 1))
    slope = np.where(labels, 1.0, -1.0)[:, None, None, None] * (x - 0.5)
    levels = 127.5 + 70 * slope + 60 * np.sin(5 * y + 3 * x + phase) + rng.normal(0, 9, (n, *shape))
    splits = np.repeat([0, 1, 2], [n - 20, 8, 12])
    pixels = levels.round().clip(0, 255).astype(np.uint8)
    return hand_made(folder, pixels, labels.tolist(), splits.tolist(), ("left", "right"))
