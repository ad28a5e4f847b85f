from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from safelight.images import dequantise
from safelight.reporting.neighbours import nearest, share_nearer
from tests.reporting.stand_in import Stored


def random_images(n: int, seed: int, shape: tuple[int, ...] = (3, 5, 5)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator)


def brute_force(queries: Tensor, training: Tensor) -> Tensor:
    """All distances (n, m) in float64, straight from the definition."""
    q, t = dequantise(queries).double(), dequantise(training).double()
    return (q[:, None] - t[None]).square().flatten(2).mean(2).sqrt()


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
    queries, training = random_images(n, seed), random_images(m, seed + 1)
    found = nearest(queries, Stored(training, None, ()), k, memory)
    every = brute_force(queries, training)
    expected = every.sort(dim=1, stable=True)
    assert torch.equal(found.positions, expected.indices[:, :k])
    assert torch.allclose(found.distances.double(), expected.values[:, :k], rtol=1e-6, atol=0)


def test_a_copy_is_at_exactly_nothing_and_first() -> None:
    """X4: |q|² + |t|² - 2 q·t alone would leave a copy at about 1e-3."""
    training = random_images(500, 0, (3, 32, 32))
    queries = training[[17, 499, 0]]
    found = nearest(queries, Stored(training, None, ()), 2)
    assert found.positions[:, 0].tolist() == [17, 499, 0]
    assert found.distances[:, 0].tolist() == [0.0, 0.0, 0.0]


def test_one_level_of_difference_is_told_from_a_copy() -> None:
    training = random_images(50, 0, (1, 8, 8))
    training[7] = training[3]
    query = training[3:4].clone()
    query[0, 0, 0, 0] = 100
    training[3, 0, 0, 0], training[7, 0, 0, 0] = 101, 100
    found = nearest(query, Stored(training, None, ()), 2)
    assert found.positions[0].tolist() == [7, 3]
    assert found.distances[0].tolist() == [0.0, pytest.approx((1 / 127.5) / 8, rel=1e-4)]


def test_memory_is_bounded() -> None:
    size, n, memory = 3 * 32 * 32, 20, 2**20
    source = Counting(random_images(2000, 0, (3, 32, 32)), None, ())
    nearest(random_images(n, 1, (3, 32, 32)), source, 3, memory)
    assert source.most * (4 * size + 16 * n) <= memory


def test_share_of_held_out_pictures_that_are_nearer() -> None:
    reference = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert share_nearer(0.2, reference) == 0.5
    assert share_nearer(0.05, reference) == 0.0
