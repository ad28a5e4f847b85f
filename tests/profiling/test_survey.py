"""One pass over the pictures: its sums against numpy's of all of them at once."""

from __future__ import annotations

import colorsys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from safelight.profiling.groups import groups_of
from safelight.profiling.survey import MEASURES, PIXELS, measured, survey
from safelight.profiling.view import at_most, visible
from tests.profiling.caches import write_cache


def pictures(n: int, c: int = 3, h: int = 6, w: int = 9) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, c, h, w), dtype=np.uint8)


def test_measures_are_their_formulas() -> None:
    """F11: luma's mean and deviation, and max - min, of each pixel by the standard library."""
    images = pictures(5)
    found = measured(torch.from_numpy(images)).numpy()
    for image, (brightness, contrast, saturation) in zip(images, found, strict=True):
        pixels = image.reshape(3, -1).T.astype(float)
        luma = pixels @ [0.299, 0.587, 0.114]
        assert_allclose((brightness, contrast), (luma.mean(), luma.std()), rtol=1e-6)
        spread = [v * s for _, s, v in (colorsys.rgb_to_hsv(*pixel) for pixel in pixels)]
        assert_allclose(saturation, np.mean(spread), rtol=1e-6)


def test_sums_are_those_of_all_pictures_at_once(tmp_path: Path) -> None:
    """F11: counts, means, deviations, histograms by class and split, over several blocks."""
    images, labels = pictures(700), np.arange(700) % 3
    splits = (np.arange(700) // 3) % 3
    cache = write_cache(tmp_path / "c", images, labels, ("a", "b", "c"), splits)
    found = survey(cache, groups_of(cache))
    for g in range(3):
        mine = images[labels == g].astype(float)
        assert_allclose(found.mean(g), mine.mean(0), rtol=1e-6)
        assert_allclose(found.deviation(g), mine.std(0), rtol=1e-4)
    assert_allclose(found.mean(None), images.astype(float).mean(0), rtol=1e-6)
    each = measured(torch.from_numpy(images)).numpy()
    for s in range(3):
        here = (labels == 1) & (splits == s)
        assert found.counts[1, s] == here.sum()
        assert_allclose(found.sums[1, s], each[here].sum(0))
        assert_allclose(found.squares[1, s], (each[here] ** 2).sum(0))
        wanted = [np.bincount(np.rint(m).astype(int), minlength=256) for m in each[here].T]
        assert (found.levels[1, s] == wanted).all()
    values = images[labels == 2].transpose(1, 0, 2, 3).reshape(3, -1) // 4
    wanted = [np.bincount(channel, minlength=64) for channel in values]
    assert (found.channels[2].sum(0) == wanted).all()


@pytest.mark.parametrize("c", [1, 2, 3, 5])
def test_any_number_of_channels(tmp_path: Path, c: int) -> None:
    cache = write_cache(tmp_path / "c", pictures(40, c))
    found = survey(cache, groups_of(cache))
    shown = visible(torch.from_numpy(pictures(40, c)))
    assert shown.shape[1] == (1 if c == 1 else 3)
    assert_allclose(found.mean(None), shown.double().mean(0), rtol=1e-6)
    assert found.grey == (40 if c == 1 else 0)


def test_grey_and_empty_pictures_are_counted(tmp_path: Path) -> None:
    images = pictures(30)
    images[4:9, 1:] = images[4:9, :1]
    images[[2, 20]] = 77
    images[21, 0], images[21, 1:] = 10, 200  # one colour, and no grey
    cache = write_cache(tmp_path / "c", images)
    found = survey(cache, groups_of(cache))
    assert (found.grey, found.constant, found.empty) == (7, 3, [2, 20, 21])


def test_larger_pictures_are_made_smaller_by_means_of_areas() -> None:
    images = torch.from_numpy(pictures(2, 3, 32, 128))
    small = at_most(images, 64)
    wanted = images.double().reshape(2, 3, 16, 2, 64, 2).mean((3, 5))
    assert small.shape == (2, 3, 16, 64)
    assert_allclose(small.numpy(), wanted.numpy(), rtol=1e-5)
    assert (at_most(images, 128) == images).all()


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    """F11: four times as many pictures of 3 kB take less than 50 bytes more for each."""
    peaks = {}
    for n in (1000, 4000):
        cache = write_cache(tmp_path / str(n), pictures(n, 3, 32, 32))
        groups = groups_of(cache)
        tracemalloc.start()
        survey(cache, groups)
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[4000] - peaks[1000] < 50 * 3000, peaks


@pytest.mark.parametrize(("h", "w"), [(1, 9000), (9000, 1), (3, 4000), (64, 64)])
def test_pixels_of_any_shape_are_counted(tmp_path: Path, h: int, w: int) -> None:
    """F11: a row and a column too, of each picture about as many as are asked for."""
    cache = write_cache(tmp_path / "c", pictures(4, 1, h, w))
    counted = survey(cache, groups_of(cache)).channels.sum() / 4
    assert PIXELS / 2 < counted < 4 * PIXELS


def test_the_rest_of_many_classes_is_one_group(tmp_path: Path) -> None:
    labels = np.concatenate([np.repeat(np.arange(30), 2), np.repeat(np.arange(24) + 3, 3)])
    names = [f"class {i:02}" for i in range(30)]
    cache = write_cache(tmp_path / "c", pictures(len(labels)), labels, names)
    groups = groups_of(cache)
    assert groups.names == tuple(names[3:27])
    assert groups.folded == 6
    found = survey(cache, groups)
    assert found.counts.sum(1).tolist() == [5] * 24 + [12]
    assert len(MEASURES) == found.sums.shape[2]
