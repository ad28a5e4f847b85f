"""Changes that a network is told of: what each does, what is told of it, and what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from safelight.images import dequantise, quantise
from safelight.nets.nonleaky import DRAWS, LABELS, Change, changed, drawn
from safelight.seeding import Draws

NAMES = Change._fields


def change(n: int = 1, **parts: float) -> Change:
    return Change(*(torch.full((n,), float(parts.get(name, 0))).double() for name in NAMES))


def uniform(n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(Draws(seed, 0, np.arange(n)).uniform("augment", DRAWS))


def pictures(n: int, h: int = 12, w: int = 10) -> Tensor:
    """Levels as stored pictures have them."""
    drawn = torch.randint(0, 256, (n, 3, h, w), generator=torch.Generator().manual_seed(n))
    return dequantise(drawn.to(torch.uint8))


def levels(x: Tensor) -> Tensor:
    return quantise(x).int()


def test_probability_0_is_the_identity() -> None:
    """All labels are 0, and not a bit of the images changes; flips have their own probability."""
    x, none = pictures(50), drawn(uniform(50), 0.0, sideways=False)
    assert torch.equal(changed(x, none), x)
    assert torch.equal(none.labels, torch.zeros(50, LABELS, dtype=torch.float64))
    mirrored = drawn(uniform(50), 0.0, upside_down=True)
    assert torch.equal(mirrored.labels[:, 1:], torch.zeros(50, LABELS - 1, dtype=torch.float64))
    half = mirrored.labels[:, 0].bool()
    assert 0 < int(half.sum()) < 50
    assert torch.equal(changed(x, mirrored)[half], x[half].flip(-1))
    assert torch.equal(changed(x, mirrored)[~half], x[~half])


def test_labels_are_zero_exactly_where_nothing_changes() -> None:
    x = pictures(400)
    some = drawn(uniform(400), 0.12, upside_down=True)
    untold = (some.labels == 0).all(1)
    assert 0.2 < untold.double().mean() < 0.5  # 0.5 * 0.94 * 0.88^4 = 0.28
    same = (levels(changed(x, some)) == levels(x)).flatten(1).all(1)
    assert torch.equal(untold, same)


@pytest.mark.parametrize("p", [0.12, 0.7])
def test_each_part_is_there_as_often_as_asked(p: float) -> None:
    """And as strong as in table 6: normal numbers, and angles from all round."""
    n = 40_000
    found = drawn(uniform(n), p, upside_down=True)
    tolerance = 4 * math.sqrt(0.25 / n)
    assert abs(found.flip_x.mean() - 0.5) < tolerance
    assert abs(found.flip_y.mean() - p / 2) < tolerance
    for part in (found.scale, found.angle, found.stretch, found.right):
        assert abs((part != 0).double().mean() - p) < tolerance
    for part in (found.scale, found.stretch, found.right, found.down):
        there = part[part != 0]
        assert abs(there.mean()) < 5 / math.sqrt(len(there))
        assert abs(there.square().mean() - 1) < 5 * math.sqrt(2 / len(there))
    for angle in (found.angle[found.angle != 0], found.axis):
        assert abs(angle.square().mean() - math.pi**2 / 3) < 0.15
        assert angle.abs().max() <= math.pi
    together = ((found.scale != 0) & (found.angle != 0)).double().mean()
    assert abs(together - p**2) < tolerance  # each is decided by itself
    assert torch.equal(found.right != 0, found.down != 0)


def test_flips_and_half_turns_are_exact() -> None:
    x = pictures(2)
    assert torch.equal(changed(x, change(2, flip_x=1)), x.flip(3))
    assert torch.equal(changed(x, change(2, flip_y=1)), x.flip(2))
    assert torch.equal(levels(changed(x, change(2, angle=math.pi))), levels(x.rot90(2, (2, 3))))


def test_quarter_turns_are_clockwise_and_exact() -> None:
    x = pictures(2, 9, 9)
    turned = levels(changed(x, change(2, angle=math.pi / 2)))
    assert torch.equal(turned, levels(x.rot90(-1, (2, 3))))


@given(right=st.integers(-6, 6), down=st.integers(-6, 6))
def test_whole_pixels_are_moved_exactly(right: int, down: int) -> None:
    """Moved by whole pixels, with what lies beyond the edge mirrored at it, as by numpy.pad."""
    x, (h, w) = pictures(1), (12, 10)
    moved = changed(x, change(right=8 * right / w, down=8 * down / h))
    wide = np.pad(x.numpy(), ((0, 0), (0, 0), (6, 6), (6, 6)), mode="reflect")
    wanted = torch.from_numpy(wide[:, :, 6 - down : 6 - down + h, 6 - right : 6 - right + w])
    assert torch.equal(levels(moved), levels(wanted))


@pytest.mark.parametrize(
    ("parts", "linear"),
    [
        ({"scale": 5.0}, [[2, 0], [0, 2]]),  # 2^(0.2 * 5)
        ({"stretch": 5.0}, [[2, 0], [0, 0.5]]),
        ({"stretch": 5.0, "axis": math.pi / 2}, [[0.5, 0], [0, 2]]),
        ({"angle": 0.3}, [[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]]),
        ({"stretch": 5.0, "axis": math.pi / 4}, [[1.25, 0.75], [0.75, 1.25]]),
    ],
)
def test_changes_are_the_affine_maps_of_the_paper(
    parts: dict[str, float], linear: list[list[float]]
) -> None:
    """A ramp becomes the ramp of the inverse map, away from edges: to a tenth of a pixel, since
    torch's bicubic kernel bends ramps a little."""
    size, centre = 33, 16
    y, x = torch.meshgrid(torch.arange(size) - centre, torch.arange(size) - centre, indexing="ij")
    ramp = torch.stack([x, y]).double()[:, None] / size
    found = changed(ramp, change(2, **parts))
    back = torch.linalg.inv(torch.tensor(linear).double())
    wanted = torch.einsum("ij,jkhw->ikhw", back, ramp)
    inner = slice(centre - 5, centre + 6)
    assert torch.allclose(found[..., inner, inner], wanted[..., inner, inner], atol=0.1 / size)


def test_a_turn_is_that_of_pillow() -> None:
    """A smooth picture, turned by 30 degrees by Pillow's kernel, which differs a little."""
    y, x = np.mgrid[:48, :48] / 48 - 0.5
    blob = np.exp(-8 * ((x - 0.1) ** 2 + 2 * (y + 0.05) ** 2)).astype(np.float32)
    turned = changed(torch.from_numpy(blob)[None, None], change(angle=math.radians(30)))
    theirs = np.asarray(Image.fromarray(blob).rotate(-30, Image.Resampling.BICUBIC))
    assert np.abs(turned[0, 0].numpy() - theirs)[12:36, 12:36].max() < 0.01


def test_what_is_told_is_what_is_done() -> None:
    """Two changes with the same labels do the same: also a stretch along an axis and the other way
    round, of which the paper tells the one like the other's opposite."""
    x = pictures(1, 16, 16)
    one, other = change(stretch=3.0, axis=0.4), change(stretch=3.0, axis=0.4 - math.pi)
    opposite = change(stretch=-3.0, axis=0.4)
    across = change(stretch=-3.0, axis=0.4 + math.pi / 2)
    for same in (other, across):
        assert torch.allclose(one.labels, same.labels)
        assert torch.allclose(changed(x, one), changed(x, same), atol=1e-4)
    assert not torch.allclose(one.labels, opposite.labels)
    assert not torch.allclose(changed(x, one), changed(x, opposite), atol=0.1)


def test_an_image_changes_alike_in_any_company() -> None:
    """X5, X16: in micro-batches, to the level."""
    x, u = pictures(24), uniform(24)
    whole = drawn(u, 0.5)
    for part in (slice(0, 1), slice(5, 17)):
        alone = drawn(u[part], 0.5)
        assert torch.equal(alone.labels, whole.labels[part])
        assert torch.equal(levels(changed(x[part], alone)), levels(changed(x, whole))[part])
