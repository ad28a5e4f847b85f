"""How images become files and what is shown of them, whatever their channels."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from safelight.images import as_files, contact_sheet, described, in_colour, labelled_sheet, spelled


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5])
def test_what_is_shown_of_any_channels(c: int) -> None:
    image = noise(c, 4, 6)
    shown = in_colour(image)
    expected = {1: [0], 2: [0, 1, 0]}.get(c, [0, 1, 2])
    assert (shown == image[expected]).all()
    assert (in_colour(noise(2, c, 4, 6)[0]) == in_colour(noise(2, c, 4, 6))[0]).all()
    sheet = np.asarray(contact_sheet(noise(3, c, 4, 6), 2))
    assert sheet.shape == (9, 13) if c == 1 else (9, 13, 3)
    assert labelled_sheet([("row", noise(3, c, 4, 6))]).mode == "RGB"


def test_two_equal_channels_are_grey() -> None:
    image = np.repeat(noise(1, 4, 6), 2, axis=0)
    assert (np.ptp(in_colour(image), axis=0) == 0).all()


@pytest.mark.parametrize("c", [1, 2, 3, 5])
def test_files_hold_every_value(c: int) -> None:
    """Of a picture wider than high: a PNG is (h, w, c), and a .npy (c, h, w)."""
    image = noise(c, 4, 6)
    files = as_files(torch.from_numpy(image))
    assert set(files) == ({".png"} if c in (1, 3) else {".npy", ".png"})
    shown = opened(files[".png"])
    assert (shown.reshape(4, 6, -1) == in_colour(image).transpose(1, 2, 0)).all()
    if c not in (1, 3):
        assert (np.load(io.BytesIO(files[".npy"])) == image).all()
        assert set(as_files(image, shown=False)) == {".npy"}


def test_sizes_are_said_width_first() -> None:
    assert spelled((3, 48, 64)) == "3x64x48"
    shapes = {(1, 8, 8): "8x8 grey", (3, 48, 64): "64x48 colour", (5, 4, 6): "6x4 of 5 channels"}
    assert {shape: described(shape) for shape in shapes} == shapes
