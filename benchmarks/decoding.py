"""What a choice in decoding changes in the pixels, and what it costs, on photographs.

    python benchmarks/decoding.py filters ARCHIVE [--size 24]
    python benchmarks/decoding.py profiles ARCHIVE FILE.icc ... [--size 64]

`filters`: each filter after JPEG's own reduction, where `prepare` uses that, against the same on
every pixel of the file. `profiles`: pictures converted to each profile (RGB or CMYK; Debian has
some in icc-profiles-free and libgs-common) and back, before and after they are made smaller.
Differences are in levels of 255: the mean, the largest mean of a picture, and the largest at all.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from safelight.data import decode as decoding
from safelight.data.look import FILTERS, Look


def pictures(archive: Path, count: int) -> Iterator[bytes]:
    with zipfile.ZipFile(archive) as packed:
        names = sorted(name for name in packed.namelist() if name.endswith((".jpg", ".jpeg")))
        for name in names[:: max(1, len(names) // count)]:
            yield packed.read(name)


def differences(pairs: Iterator[tuple[Image.Image, Image.Image]]) -> dict[str, float]:
    each = [np.abs(np.asarray(a).astype(int) - np.asarray(b)) for a, b in pairs]
    means = [one.mean() for one in each]
    return {
        "mean": round(float(np.mean(means)), 3),
        "worst picture": round(float(max(means)), 3),
        "largest": int(max(one.max() for one in each)),
    }


def filters(archive: Path, size: int, count: int) -> dict[str, object]:
    """With and without the reduction, whether or not `prepare` uses it for that filter."""
    usual, decoding.DRAFTED = decoding.DRAFTED, frozenset(FILTERS)

    def pairs(name: str) -> Iterator[tuple[Image.Image, Image.Image]]:
        for data in pictures(archive, count):
            whole = Image.open(io.BytesIO(data)).convert("RGB")
            every = ImageOps.fit(whole, (size, size), Image.Resampling[name.upper()])
            yield decoding.decode(data, Look((size, size), "rgb", filter=name)).image, every

    return {name: {"used": name in usual, "levels": differences(pairs(name))} for name in FILTERS}


def profiles(archive: Path, files: list[Path], size: int, count: int) -> dict[str, object]:
    return {file.name: profile(archive, file, size, count) for file in files}


def profile(archive: Path, file: Path, size: int, count: int) -> dict[str, object]:
    given, srgb = ImageCms.getOpenProfile(str(file)), ImageCms.createProfile("sRGB")
    mode = given.profile.xcolor_space.strip()
    how = (ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION)
    there = ImageCms.buildTransform(srgb, given, "RGB", mode, *how)
    back = ImageCms.buildTransform(given, srgb, mode, "RGB", *how)
    seconds = pixels = 0.0

    def pairs() -> Iterator[tuple[Image.Image, Image.Image]]:
        nonlocal seconds, pixels
        for data in pictures(archive, count):
            image = there.apply(Image.open(io.BytesIO(data)).convert("RGB"))
            began = time.perf_counter()
            whole = back.apply(image)
            seconds += time.perf_counter() - began
            pixels += image.width * image.height
            small = back.apply(ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS))
            yield ImageOps.fit(whole, (size, size), Image.Resampling.LANCZOS), small

    levels = differences(pairs())
    return {"levels": levels, "ms a million pixels": round(1e9 * seconds / pixels, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("filters", "profiles"))
    parser.add_argument("archive", type=Path)
    parser.add_argument("icc", type=Path, nargs="*")
    parser.add_argument("--size", type=int)
    parser.add_argument("--pictures", type=int, default=100)
    a = parser.parse_args()
    if a.what == "filters":
        print(json.dumps(filters(a.archive, a.size or 24, a.pictures), indent=1))
    else:
        print(json.dumps(profiles(a.archive, a.icc, a.size or 64, a.pictures), indent=1))


if __name__ == "__main__":
    main()
