"""Varying stored pictures: each choice against its definition, picture by picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from safelight.data.augment import crop, flip, padded, turn

SHAPES = st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
PICTURES = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape))


def numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int64).astype(np.uint8).reshape(shape)


@given(PICTURES, st.data())
def test_a_flip_mirrors_half_of_the_numbers(images: np.ndarray, data: st.DataObject) -> None:
    """F2: where u < 1/2, left to right; and the pictures that were given stay what they are."""
    u = data.draw(arrays(np.float64, len(images), elements=st.floats(0, 0.999)))
    before, found = images.copy(), flip(images, u)
    for one, mirrored, v in zip(images, found, u, strict=True):
        assert (mirrored == (one[..., ::-1] if v < 0.5 else one)).all()
    assert (images == before).all()


@given(PICTURES, st.integers(0, 3))
def test_padding_is_that_of_numpy(images: np.ndarray, pad: int) -> None:
    around = ((0, 0), (0, 0), (pad, pad), (pad, pad))
    assert (padded(images, pad) == np.pad(images, around, mode="edge")).all()


@given(PICTURES, st.integers(0, 3), st.data())
def test_a_crop_is_a_part_of_the_picture(images: np.ndarray, pad: int, data: st.DataObject) -> None:
    """F2: of any size up to the whole, at the place that u says."""
    b, _, h, w = images.shape
    height, width = data.draw(st.integers(1, h)), data.draw(st.integers(1, w))
    u = data.draw(arrays(np.float64, (b, 2), elements=st.floats(0, 0.999)))
    found = crop(images, u, height, width, pad)
    wide = padded(images, pad)
    for one, part, (v, z) in zip(wide, found, u, strict=True):
        row, column = int((h + 2 * pad - height + 1) * v), int((w + 2 * pad - width + 1) * z)
        assert (part == one[:, row : row + height, column : column + width]).all()


def test_every_place_of_a_crop_is_as_likely() -> None:
    """Of 4x4 pixels, 2x3 have three rows by two columns, each with the same share of all u."""
    images = numbered(1, 1, 4, 4).repeat(600, axis=0)
    rows, columns = np.divmod(np.arange(600), 20)
    u = np.stack([(rows + 0.5) / 30, (columns + 0.5) / 20], axis=1)
    corner, counts = np.unique(crop(images, u, 2, 3)[:, 0, 0, 0], return_counts=True)
    assert corner.tolist() == [0, 1, 4, 5, 8, 9]
    assert counts.tolist() == [100] * 6


def test_a_shift_repeats_edges() -> None:
    """F2: a crop of the whole with padding moves by whole pixels, either way alike."""
    images = numbered(2, 3, 5, 5)
    moved = crop(images, np.array([[0.0, 0.99], [0.5, 0.5]]), 5, 5, pad=1)
    assert (moved[0, :, 1:, :4] == images[0, :, :4, 1:]).all()  # one down, one left
    assert (moved[0, :, 0] == moved[0, :, 1]).all()
    assert (moved[1] == images[1]).all()


@pytest.mark.parametrize("k", range(4))
def test_quarter_turns(k: int) -> None:
    images = numbered(1, 2, 3, 3)
    assert (turn(images, np.array([(k + 0.5) / 4])) == np.rot90(images, k, axes=(2, 3))).all()


def test_turns_are_each_its_own() -> None:
    images = numbered(4, 1, 2, 2)
    found = turn(images, np.array([0.0, 0.3, 0.6, 0.9]))
    assert [
        (one == np.rot90(was, k, axes=(1, 2))).all()
        for k, (one, was) in enumerate(zip(found, images, strict=True))
    ] == [True] * 4
