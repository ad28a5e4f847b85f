"""Pairs of pictures: planted ones are found, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from safelight.profiling import pairs
from safelight.profiling.groups import groups_of
from safelight.profiling.pairs import between_splits, held_out_split, mirrored_copies, related
from safelight.profiling.view import Visible
from tests.data.conftest import encoded
from tests.profiling.caches import write_cache


def scenes(n: int, size: int = 24) -> np.ndarray:
    """Random smooth pictures, (n, 3, size, size)."""
    rng = np.random.default_rng(n)
    found = []
    for _ in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        found.append(np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)))
    return np.stack(found).transpose(0, 3, 1, 2)


def recompressed(image: np.ndarray) -> np.ndarray:
    import io

    data = encoded(Image.fromarray(image.transpose(1, 2, 0)), "JPEG", quality=92, subsampling=0)
    return np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)


def test_planted_pairs_are_the_nearest(tmp_path: Path) -> None:
    """F11: a copy, a darker one and one saved as JPEG, each with its own training picture."""
    images = scenes(120)
    images[100] = images[7]
    images[101] = images[8] // 2
    images[102] = recompressed(images[9])
    splits = np.repeat([0, 2], [100, 20])
    cache = write_cache(tmp_path / "c", images, splits=splits)
    found = between_splits(Visible(cache), groups_of(cache), "test")
    assert found.pictures[0] == 100
    assert found.distances[0] == 0
    assert set(zip(found.pictures[:3], found.others[:3], strict=True)) == {
        (100, 7),
        (101, 8),
        (102, 9),
    }
    assert found.related.tolist() == [True] * 3 + [False] * 17
    assert (len(found), found.asked, found.against) == (20, 20, 100)


def test_distances_are_of_light_and_contrast_taken_out(tmp_path: Path) -> None:
    """Of unrelated thumbnails about the root of two, and the formula of one pair."""
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    cache = write_cache(tmp_path / "c", images, splits=np.repeat([0, 1], 30))
    found = between_splits(Visible(cache), groups_of(cache), "validation")
    a, b = (images[i].ravel().astype(float) for i in (found.pictures[0], found.others[0]))
    a, b = ((x - x.mean()) / x.std() for x in (a, b))
    assert_allclose(found.distances[0], np.sqrt(np.mean((a - b) ** 2)), rtol=1e-5)
    assert 1.0 < np.median(found.distances) < 2**0.5


def test_where_all_are_near_none_is_related() -> None:
    """Near, and nearer than others are: among digits the first alone is not enough."""
    distances, fifth = np.array([0.1, 0.1, 0.3, 0.3, 0.04]), np.array([0.5, 0.15, 0.9, 0.31, 0.04])
    assert related(distances, fifth).tolist() == [True, False, False, False, True]


def test_frames_of_a_still_camera_are_related(tmp_path: Path) -> None:
    """Of ten scenes, twelve noisy frames each: all are as near, and divided at random."""
    rng = np.random.default_rng(0)
    frames = scenes(10).repeat(12, axis=0) + rng.normal(0, 3, (120, 3, 24, 24))
    splits = rng.permutation(np.repeat([0, 2], [90, 30]))
    cache = write_cache(tmp_path / "c", frames.clip(0, 255).astype(np.uint8), splits=splits)
    assert between_splits(Visible(cache), groups_of(cache), "test").related.all()


def test_mirrored_copies_are_found(tmp_path: Path) -> None:
    """F11: as they are and saved as JPEG; not a picture that is its own mirror image."""
    images = scenes(80)
    images[70] = images[3][:, :, ::-1]
    images[71] = recompressed(images[4][:, :, ::-1])
    images[72] = (images[5] // 2) + (images[5][:, :, ::-1] // 2)
    images[73] = images[72]  # symmetric, and there twice
    images[74] = 50
    cache = write_cache(tmp_path / "c", images)
    found = mirrored_copies(Visible(cache), groups_of(cache))
    found_pairs = {tuple(sorted(p)) for p in zip(found.pictures, found.others, strict=True)}
    assert found_pairs == {(3, 70), (4, 71)}
    assert len(found) == 4
    assert found.asked == 80


@pytest.mark.parametrize(
    ("codes", "held_out"),
    [([0, 1, 2], "test"), ([0, 1], "validation"), ([0], ""), ([1, 2], ""), ([2], "")],
)
def test_which_split_is_held_out(codes: list[int], held_out: str) -> None:
    assert held_out_split(np.array(codes, np.uint8)) == held_out


def test_mirrored_copies_of_a_large_set_are_made_out_from_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: every picture has one, and is held against a tenth of them: a tenth are found."""
    monkeypatch.setattr(pairs, "POOL", 60)
    monkeypatch.setattr(pairs, "TURNED", 400)
    images = scenes(300, 16)
    cache = write_cache(tmp_path / "c", np.concatenate([images, images[..., ::-1]]))
    found = mirrored_copies(Visible(cache), groups_of(cache))
    assert (found.asked, found.against) == (400, 60)
    assert 20 < len(found) < 60
    assert 0.5 < found.share(600) <= 1
