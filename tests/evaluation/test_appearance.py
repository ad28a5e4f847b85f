from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from safelight.errors import UserError
from safelight.evaluation.appearance import MOST_RINGS, ROUNDING, colour, ring_of, spectrum
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.kernels import ENERGY

SHAPES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 33, 64), (3, 256, 256)]


def noise(n: int, shape: tuple[int, int, int], seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=rng).to(torch.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_colours_are_the_channels_moments(shape: tuple[int, int, int]) -> None:
    """F10: and the channels' covariances follow from them."""
    images, network = noise(3, shape), colour(shape)
    found = network.extract(images).numpy()
    assert found.shape == (3, network.dimension)
    c = shape[0]
    for image, row in zip(images.numpy().reshape(3, c, -1), found, strict=True):
        assert row[:c] == pytest.approx(image.mean(axis=1), rel=1e-5)
        assert row[c : 2 * c] == pytest.approx(image.std(axis=1), rel=1e-5)
        if c == 3:
            covariance = np.cov(image.astype(float), bias=True)
            r, g, apart = row[3], row[4], row[6]
            assert (r**2 + g**2 - apart**2) / 2 == pytest.approx(covariance[0, 1], abs=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_spectrum_is_the_mean_power_of_each_ring(shape: tuple[int, int, int]) -> None:
    """F10: numpy's transform, ring by ring; Parseval: all rings together are the variance."""
    images, network = noise(2, shape), spectrum(shape)
    found = network.extract(images).double()
    rings, count = ring_of(shape[1:])
    assert found.shape == (2, network.dimension) == (2, count)
    assert count == min(shape[1] // 2, MOST_RINGS)
    power = np.abs(np.fft.fft2(images.numpy().astype(float))) ** 2 / (shape[1] * shape[2])
    for k in range(1, count + 1):
        wanted = power.mean(axis=1)[:, rings.numpy() == k].mean(axis=1) + ROUNDING
        assert found[:, k - 1].numpy() == pytest.approx(10 * np.log10(wanted), rel=1e-5)
    sizes = torch.bincount(rings.flatten())[1:]
    assert (sizes > 0).all()
    total = ((10 ** (found / 10) - ROUNDING) * sizes).sum(1) / (shape[1] * shape[2])
    variance = images.double().flatten(2).var(2, correction=0).mean(1)
    assert total.numpy() == pytest.approx(variance.numpy(), rel=1e-4)


@given(st.integers(2, 70), st.integers(2, 70))
@settings(max_examples=60, deadline=None)
def test_no_ring_is_empty_and_none_goes_backwards(h: int, w: int) -> None:
    """Of any size; only frequency 0 is in none, and both signs of one are in the same."""
    rings, count = ring_of((h, w))
    assert torch.equal(torch.bincount(rings.flatten()) > 0, torch.ones(count + 1, dtype=bool))
    assert int((rings == 0).sum()) == 1
    mirrored = rings.flip(0, 1).roll((1, 1), (0, 1))
    assert torch.equal(rings, mirrored)


def test_white_noise_has_a_flat_spectrum_and_a_wave_one_ring() -> None:
    images = noise(40, (1, 64, 64))
    power = (10 ** (spectrum((1, 64, 64)).extract(images).double() / 10)).mean(0)
    assert power.numpy() == pytest.approx((256**2 - 1) / 12, rel=0.1)
    x = torch.arange(64)
    wave = (128 + 100 * torch.cos(2 * torch.pi * 16 * x / 64)).round().expand(1, 1, 64, 64)
    found = spectrum((1, 64, 64)).extract(wave.to(torch.uint8))[0]
    ring = int(ring_of((64, 64))[0][0, 16])
    assert int(found.argmax()) == ring - 1
    others = torch.cat([found[: ring - 1], found[ring:]])
    assert others.numpy() == pytest.approx(10 * math.log10(ROUNDING), abs=0.01)


def test_a_picture_of_one_level_has_features() -> None:
    flat = torch.full((1, 3, 16, 16), 7, dtype=torch.uint8)
    assert spectrum((3, 16, 16)).extract(flat).numpy() == pytest.approx(10 * math.log10(1 / 12))
    assert colour((3, 16, 16)).extract(flat)[0].tolist() == [7.0] * 3 + [0.0] * 6


def test_one_pixel_has_no_spectrum() -> None:
    with pytest.raises(UserError, match="one pixel a side"):
        spectrum((3, 1, 8))


def test_they_see_what_they_are_for() -> None:
    """Blur and a grid of upsampling by the spectrum, a tint by the colours, not the other way."""
    shape = (3, 16, 16)
    rng = torch.Generator().manual_seed(5)
    base = torch.rand(200, 3, 20, 20, generator=rng) * 255
    smooth = torch.nn.functional.avg_pool2d(base, 5, 1)
    first, second = smooth[:100], smooth[100:]
    grid = second + 6.0 * ((torch.arange(16) % 2) * 2 - 1)
    tint = second + torch.tensor([12.0, 0.0, -12.0])[:, None, None]

    def seen(network: object, changed: Tensor) -> bool:
        a, b = (
            network.extract(side.clamp(0, 255).round().to(torch.uint8)).numpy()  # type: ignore[attr-defined]
            for side in (changed, first)
        )
        return kernel_distance(a, b, ENERGY).low > 0

    assert [seen(spectrum(shape), side) for side in (second, grid, tint)] == [False, True, False]
    assert [seen(colour(shape), side) for side in (second, tint)] == [False, True]
