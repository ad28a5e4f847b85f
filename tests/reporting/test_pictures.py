from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safelight.images import contact_sheet, save_png
from safelight.reporting.pictures import picture, sheet, spread
from tests.evaluation.test_neighbours import random_images
from tests.reporting.reading import pixels


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 8, 12)])
def test_a_small_picture_comes_back_exactly(shape: tuple[int, int, int]) -> None:
    image = random_images(1, 0, shape)[0]
    shown = picture(image, "noise")
    assert (pixels(shown.uri) == image.numpy()).all()
    assert (shown.width, shown.height) == (shape[2], shape[1])


def test_a_large_picture_is_kept_small() -> None:
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    waves = 90 * torch.sin(x * y / 900) + 20 * torch.randn(256, 256)
    image = (waves + 128).clamp(0, 255).to(torch.uint8).expand(3, -1, -1)
    shown = picture(image, "waves")
    assert shown.uri.startswith("data:image/webp;base64,")
    assert len(shown.uri) < image.numel() / 4
    assert abs(pixels(shown.uri).astype(float) - image.numpy()).mean() < 20


def test_a_contact_sheet_keeps_its_pixels(tmp_path) -> None:
    images = random_images(6, 0, (1, 8, 8))
    save_png(contact_sheet(images, 3), tmp_path / "sheet.png")
    shown = sheet(tmp_path / "sheet.png", "six")
    assert (pixels(shown.uri)[:, :8, :8] == images[0].numpy()).all()
    assert (shown.width, shown.height) == (26, 17)


@given(n=st.integers(0, 500), most=st.integers(2, 60))
def test_frames_are_thinned_evenly_with_both_ends(n: int, most: int) -> None:
    """K11: the first and the last moment are always in the animation."""
    kept = spread(range(n), most)
    assert len(kept) == min(n, most) == len(set(kept))
    if n:
        assert kept[0] == 0
        assert kept[-1] == n - 1
    gaps = {b - a for a, b in itertools.pairwise(kept)}
    assert not gaps or max(gaps) - min(gaps) <= 1
