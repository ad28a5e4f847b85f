"""Whether pictures are mirrored unless told: where they can't be told from their mirror images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from safelight.data.cache import Cache
from safelight.data.mirror import FEWEST, Symmetry, difference, symmetry, told, told_by_class
from safelight.data.prepare import prepare
from safelight.seeding import generator


def noise(n: int, c: int = 1, side: int = 12) -> Tensor:
    """Smooth blots anywhere: as often on the left as on the right."""
    rng = generator(n, "blots")
    coarse = torch.rand(n, c, 4, 4, generator=rng)
    x = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return (255 * x).to(torch.uint8)


def folds(n: int) -> Tensor:
    return torch.randperm(n, generator=generator(1, "test")) % 2


def strokes(n: int, slant: Tensor) -> Tensor:
    """Dark or light strokes from corner to corner, / where slant (n,) is 1 and \\ where it is 0."""
    line = torch.eye(12)
    drawn = torch.where(slant.bool()[:, None, None], line.flip(-1), line)
    light = (torch.rand(n, generator=generator(2, "light")) < 0.5)[:, None, None]
    grain = 40 * torch.rand(n, 12, 12, generator=generator(3, "grain"))
    return (torch.where(light, 200 * drawn, 200 - 200 * drawn) + grain).to(torch.uint8)[:, None]


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_mirror_image_has_the_opposite_difference(c: int, h: int, w: int, seed: int) -> None:
    images = torch.randint(0, 256, (3, c, h, w), generator=torch.Generator().manual_seed(seed))
    x = images.to(torch.uint8)
    assert torch.allclose(difference(x), -difference(x.flip(-1)), atol=1e-6)


def test_what_has_no_side_is_told_by_guessing() -> None:
    """Also pictures that are their own mirror images, where every guess is one half."""
    n = 2_000
    assert abs(told(difference(noise(n, 3)), folds(n)) - 0.5) < 4 / (2 * np.sqrt(n))
    x = noise(500)
    assert told(difference(torch.cat([x, x.flip(-1)], dim=-1)), folds(500)) == 0.5


def test_sides_are_seen_whatever_is_light_or_dark() -> None:
    """Strokes that slant one way, half of them light on dark: their mean has no side."""
    assert told(difference(strokes(600, torch.ones(600))), folds(600)) > 0.95


def test_classes_that_are_mirror_images_of_each_other_have_sides() -> None:
    """b and d: together they can't be told from their mirror images, each by itself can."""
    labels = torch.arange(600) % 2
    seen = difference(strokes(600, labels))
    assert abs(told(seen, folds(600)) - 0.5) < 0.1
    assert told_by_class(seen, labels, folds(600)) > 0.95


def test_a_few_pictures_of_a_thousand_classes_decide_nothing() -> None:
    """A handful of classes has pictures enough, of which chance makes anything."""
    labels = torch.arange(3000) % 1000
    labels[:60] = torch.arange(60) % 3
    seen = difference(noise(3000))
    assert told_by_class(seen, labels, folds(3000)) == 0


def test_the_dual_form_is_the_same() -> None:
    """Fewer pictures than numbers: the same classifier by the other matrix."""
    x = torch.randn(40, 20, generator=torch.Generator().manual_seed(0)) + 0.1
    wide = torch.cat([x, torch.zeros(40, 60)], dim=1)
    assert told(x, folds(40)) == told(wide, folds(40))


def test_digits_are_never_mirrored(tmp_path_factory: pytest.TempPathFactory) -> None:
    digits = prepare("digits", out=tmp_path_factory.mktemp("digits") / "out")
    found = symmetry(digits.subset("train"))
    assert found.pictures == 1436
    assert found.told is not None
    assert found.told > 0.9
    assert not found.mirrored
    assert found == symmetry(digits.subset("train"))
    few = symmetry(digits.subset("validation"))  # 179
    assert few == Symmetry(179, None)
    assert not few.mirrored
    assert "179 are too few to see whether" in few.sentence()


class Photographs:
    """As much of a cache as is looked at."""

    def __init__(self, images: Tensor) -> None:
        self.count, self._images = len(images), images

    def read(self, positions: np.ndarray) -> np.ndarray:
        return self._images[positions].numpy()

    def labels(self, seeds: list[int]) -> None:
        return None


def test_what_has_no_side_is_mirrored() -> None:
    photographs: Cache = Photographs(noise(FEWEST + 100, 3))  # type: ignore[assignment]
    found = symmetry(photographs)
    assert found.mirrored
    assert "half of the pictures are mirrored: " in found.sentence()
    lettered: Cache = Photographs(strokes(500, torch.ones(500)))  # type: ignore[assignment]
    assert not symmetry(lettered).mirrored
