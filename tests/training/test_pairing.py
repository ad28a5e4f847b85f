"""Pairing noise and images: cheaper, and nothing else changed."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from safelight.seeding import ImageNoise
from safelight.training.pairing import PAIRINGS, independent, optimal


def cost(x_0: Tensor, eps: Tensor) -> float:
    return float((x_0.double() - eps.double()).square().sum())


@given(
    n=st.integers(1, 20),
    classes=st.integers(0, 4),
    seed=st.integers(0, 2**32),
)
def test_it_never_costs_more_and_keeps_the_noise(n: int, classes: int, seed: int) -> None:
    """X12: a permutation, within each class."""
    noise = ImageNoise(range(seed, seed + n))
    x_0, eps = noise.normal(1, 3, 3), noise.normal(1, 3, 3)
    labels = (noise.uniform() * classes).long() if classes else None
    paired = optimal(x_0, eps, labels)
    assert cost(x_0, paired) <= cost(x_0, eps) * (1 + 1e-6)
    for k in [None] if labels is None else labels.unique():
        own = slice(None) if k is None else labels == k
        assert sorted(map(tuple, eps[own].flatten(1).tolist())) == sorted(
            map(tuple, paired[own].flatten(1).tolist())
        )


def test_it_is_the_best_of_all_permutations() -> None:
    noise = ImageNoise(range(5))
    x_0, eps = noise.normal(1, 2, 2), noise.normal(1, 2, 2)
    best = min(cost(x_0, eps[list(order)]) for order in itertools.permutations(range(5)))
    assert cost(x_0, optimal(x_0, eps, None)) == pytest.approx(best)


def test_each_class_still_meets_all_of_the_noise() -> None:
    """Within a class only: across classes, bright ones would meet bright noise alone."""
    means = {}
    for name, labelled in (("within", True), ("across", False)):
        found = []
        for seed in range(100):
            noise = ImageNoise(range(seed * 16, seed * 16 + 16))
            labels = torch.arange(16) % 2
            x_0 = (labels * 2.0 - 1).reshape(-1, 1, 1, 1) + 0.1 * noise.normal(1, 2, 2)
            eps = optimal(x_0, noise.normal(1, 2, 2), labels if labelled else None)
            found.append(float(eps[labels == 1].mean()))
        means[name] = torch.tensor(found)
    error = float(means["within"].std()) / 10
    assert abs(float(means["within"].mean())) < 4 * error
    assert float(means["across"].mean()) > 10 * error


def test_it_is_exact_beside_a_network_in_bf16() -> None:
    """Of nearly equal images, whose order bf16's eight bits do not tell."""
    noise = ImageNoise(range(16))
    x_0, eps = 1 + 1e-3 * noise.normal(1, 4, 4), noise.normal(1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = optimal(x_0, eps, None)
    assert torch.equal(found, optimal(x_0, eps, None))


def test_none_leaves_the_noise_as_drawn() -> None:
    eps = ImageNoise(range(3)).normal(1, 2, 2)
    assert PAIRINGS["none"] is independent
    assert torch.equal(independent(-eps, eps, None), eps)
