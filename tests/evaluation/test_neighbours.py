"""X4: which pictures, or features, are nearest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from safelight.evaluation.neighbours import Pixels, nearest
from safelight.images import dequantise
from tests.evaluation.sources import Model, Stored


def random_images(n: int, seed: int, shape: tuple[int, ...] = (3, 5, 5)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator)


def flat(images: Tensor) -> np.ndarray:
    return dequantise(images).flatten(1).numpy()


def stored(images: Tensor) -> Pixels:
    return Pixels(Stored("stored", images))


class Counting(Stored):
    """Remembers how many pictures it was asked for at once."""

    most = 0

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        self.most = max(self.most, len(seeds))
        return super().images(seeds)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 20),
    m=st.integers(3, 120),
    k=st.integers(1, 3),
    memory=st.integers(1, 60_000),
    seed=st.integers(0, 10_000),
)
def test_equals_brute_force_in_blocks_of_any_size(
    n: int, m: int, k: int, memory: int, seed: int
) -> None:
    """X4: the nearest training pictures, whatever the blocks they are searched in."""
    queries, training = flat(random_images(n, seed)), random_images(m, seed + 1)
    found = nearest(queries, stored(training), k, memory)
    difference = queries[:, None].astype(np.float64) - flat(training)[None]
    every = np.sqrt(np.square(difference).mean(2))
    order = np.argsort(every, axis=1, kind="stable")[:, :k]
    assert np.array_equal(found.positions, order)
    assert found.distances == pytest.approx(np.take_along_axis(every, order, 1), rel=1e-12)


def test_a_copy_is_at_exactly_nothing_and_first() -> None:
    """X4: |q|² + |t|² - 2 q·t alone would leave a copy at about 1e-7; of equals the first."""
    training = random_images(500, 0, (3, 32, 32))
    training[499] = training[20]
    found = nearest(flat(training[[17, 499, 0]]), stored(training), 2, 2**20)
    assert found.positions[:, 0].tolist() == [17, 20, 0]
    assert found.distances[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert found.positions[1, 1] == 499


@pytest.mark.parametrize("side", [8, 256])
def test_one_level_of_difference_is_told_from_a_copy(side: int) -> None:
    training = random_images(20, 0, (1, side, side))
    training[7] = training[3]
    query = training[3:4].clone()
    query[0, 0, 0, 0] = 100
    training[3, 0, 0, 0], training[7, 0, 0, 0] = 101, 100
    found = nearest(flat(query), stored(training), 2)
    assert found.positions[0].tolist() == [7, 3]
    assert found.distances[0].tolist() == [0.0, pytest.approx((1 / 127.5) / side, rel=1e-4)]


def test_memory_is_bounded() -> None:
    size, n, memory = 3 * 32 * 32, 20, 2**20
    source = Counting("many", random_images(2000, 0, (3, 32, 32)))
    nearest(flat(random_images(n, 1, (3, 32, 32))), Pixels(source), 3, memory)
    assert 1 < source.most * (8 * size + 24 * n) <= memory


def test_a_model_holds_no_pictures_to_search() -> None:
    with pytest.raises(ValueError, match="holds no pictures"):
        Pixels(Model())
