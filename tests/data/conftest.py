"""Pictures made on the spot, and real ones where they are at hand."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from safelight.data.cache import Cache
from safelight.data.splits import SPLITS

SHARED = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache folder or data."""
    place = tmp_path / "user-cache"
    monkeypatch.setenv("SAFELIGHT_CACHE", str(place))
    monkeypatch.delenv("SAFELIGHT_DATA", raising=False)
    return place


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("needs the real pictures in ../shared/data")
    return SHARED.resolve()


def noise(seed: int, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> Image.Image:
    """A picture of random pixels; size is (width, height)."""
    c = len(Image.new(mode, (1, 1)).getbands())
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], c), dtype=np.uint8)
    return Image.fromarray(levels[..., 0] if c == 1 else levels, mode)


def smooth(size: tuple[int, int]) -> Image.Image:
    """A picture as photographs are: no detail at the level of single pixels."""
    y, x = np.mgrid[: size[1], : size[0]] / np.array(size[::-1])[:, None, None]
    waves = [np.sin(6 * x + 4 * y), np.cos(9 * y), np.sin(5 * x * y)]
    return Image.fromarray(np.uint8(127.5 + 120 * np.stack(waves, -1)), "RGB")


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    def make(name: str = "pictures", mode: str = "RGB", **counts: int) -> Path:
        """PNGs: `counts` maps a class folder to the number of pictures in it."""
        root = tmp_path / name
        for k, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True)
            for i in range(count):
                noise(1000 * k + i, mode=mode).save(root / folder / f"img{i}.png")
        return root

    return make


def zipped(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                packed.write(file, prefix + file.relative_to(folder).as_posix())
    return archive


def splits_of(cache: Cache) -> list[int]:
    """How many pictures each split has."""
    rows = cache.meta.counts.values()
    return [sum(row[split] for row in rows) for split in SPLITS]


def pixels_of(cache: Cache) -> NDArray[np.uint8]:
    """All of them, (n, c, h, w)."""
    return cache.read(np.arange(cache.count))


def counted(cache: Cache) -> dict[str, int]:
    """How many pictures each class has, by its labels."""
    labels = cache.class_labels()
    assert labels is not None
    return {cache.classes[label]: n for label, n in sorted(Counter(labels.tolist()).items())}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nothing can be fetched."""

    def refuse(*args: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
