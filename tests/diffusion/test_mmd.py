"""The discrepancy as a loss: unbiased, its own double loop, and of use."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from safelight.diffusion import mmd
from safelight.diffusion.mmd import square_of, squared_mmd, views, widths
from safelight.errors import UserError
from safelight.seeding import ImageNoise

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def batch(n: int, seed: int = 0, side: int = 4, channels: int = 1) -> Batch:
    """x, ln level, y and noise."""
    noise = ImageNoise(range(seed * n, (seed + 1) * n))
    x, eps = (noise.normal(channels, side, side).double() for _ in range(2))
    return x, noise.normal().double(), (noise.uniform() * 3).long(), eps


def seen(x: Tensor) -> Tensor:
    """By a network whose guess and answer are functions of x_t."""
    return views(x, x.sin(), (2 * x).cos())


def patch(x: Tensor, row: int, column: int, width: int) -> Tensor:
    """What surrounds a pixel of one image (..., h, w), as far as it is inside."""
    reach = width // 2
    rows = slice(max(0, row - reach), row + reach + 1)
    return x[..., rows, max(0, column - reach) : column + reach + 1]


def k(one: tuple[Tensor, ...], other: tuple[Tensor, ...], linear: Tensor) -> Tensor:
    """The kernel as the docstring of `mmd` defines it, pixel by pixel; linear: F . F', (h, w)."""
    (x, level, y), (x_, level_, y_) = one, other
    total = torch.zeros((), dtype=torch.float64)
    h, w = x.shape[1:]
    pictures = [torch.stack([c / 0.2, c.sin() / 0.15, (2 * c).cos() / 0.2]) for c in (x, x_)]
    for row in range(h):
        for column in range(w):
            near = 0.0
            for width in widths(h, w):
                p, p_ = (patch(picture, row, column, width) for picture in pictures)
                near += math.exp(-float((p - p_).square().mean((1, 2, 3)).sum()) / 2)
            total = total + near / len(widths(h, w)) * linear[row, column] / (h * w)
    same = 1.0 if y == y_ else 0.1
    apart = math.log((1 + math.exp(-level)) / (1 + math.exp(-level_)))
    return 500 * total * same * math.exp(-(apart**2) / (2 * 0.25**2))


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_double_loop(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """C6: Gretton et al. 2012, eq. (4), term by term, whatever the blocks."""
    x, level, y, F = batch(5, channels=channels)
    T = batch(5, seed=1, channels=channels)[3]
    expected = 0.0
    for i in range(5):
        for j in range(5):
            if i == j:
                continue
            one, other = ((x[i], level[i], y[i]), (x[j], level[j], y[j]))
            terms = ((F[i], F[j], 1), (T[i], T[j], 1), (F[i], T[j], -1), (T[i], F[j], -1))
            for a, b, sign in terms:
                expected += sign * float(k(one, other, (a * b).sum(0))) / (5 * 4)
    for block in (16, 2):
        monkeypatch.setattr(mmd, "BLOCK", block)
        found = squared_mmd(F - T, seen(x), level, y)
        assert found.shape == (5,)
        assert float(found.mean()) == pytest.approx(expected, rel=1e-10)


def test_it_is_unbiased() -> None:
    """C6: answers drawn from the truth's own distribution, given x: zero within 3 errors."""
    found = []
    for seed in range(2_000):
        x, level, y, eps = batch(6, seed, side=3)
        other = batch(6, seed + 2_000, side=3)[3]
        F, T = x.tanh() + (1 + x.abs()) * eps, x.tanh() + (1 + x.abs()) * other
        found.append(float(squared_mmd(F - T, seen(x), level, y).mean()))
    values = torch.tensor(found)
    assert abs(float(values.mean())) < 3 * float(values.std()) / 2_000**0.5
    assert values.min() < 0 < values.max()


def test_a_wrong_conditional_mean_is_seen() -> None:
    """The same marginal distribution of answers, dealt out to the wrong images, is no match."""
    right, wrong = [], []
    for seed in range(200):
        x, level, y, eps = batch(12, seed, side=3)
        T = x.tanh() + 0.1 * eps
        right.append(float(squared_mmd(x.tanh() - T, seen(x), level, y).mean()))
        wrong.append(float(squared_mmd(x.tanh().flip(0) - T, seen(x), level, y).mean()))
    good, bad = torch.tensor(right), torch.tensor(wrong)
    error = float(bad.std()) / 200**0.5
    assert float(bad.mean()) > 10 * error
    assert abs(float(good.mean())) < 3 * float(good.std()) / 200**0.5


def test_the_gradient_is_that_of_the_statistic() -> None:
    """C6: by finite differences, through both sides of every pair."""
    x, level, y, residual = batch(4)
    residual.requires_grad_()

    def statistic(r: Tensor) -> Tensor:
        return squared_mmd(r, seen(x), level, y).mean()

    assert torch.autograd.gradcheck(statistic, (residual,))


def test_it_is_exact_beside_a_network_in_bf16() -> None:
    x, level, y, residual = batch(6)
    arguments = (residual.float(), seen(x).float(), level.float(), y)
    with torch.autocast("cpu", torch.bfloat16):
        found = squared_mmd(*arguments)
    assert torch.equal(found, squared_mmd(*arguments))


def test_memory_does_not_grow_with_pairs() -> None:
    """L3: what autograd keeps is linear in the number of images."""
    kept = []
    for n in (8, 32):
        x, level, y, residual = batch(n)
        total = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            squared_mmd(residual.requires_grad_(), seen(x), level, y)
        kept.append(total)
    assert kept[1] <= 4.5 * kept[0]


@pytest.mark.parametrize(("side", "width"), [(4, 1), (5, 3), (7, 9), (6, 11)])
def test_means_of_squares(side: int, width: int) -> None:
    x = batch(1, side=side)[0]
    found = square_of(width, x).mean(x)
    for row in range(side):
        for column in range(side):
            mean = patch(x[0], row, column, width).mean()
            assert float(found[0, 0, row, column]) == pytest.approx(float(mean))
    assert widths(8, 8) == [1, 3, 15]
    assert widths(28, 20) == [1, 3, 9, 55]


def test_a_single_image_has_no_pair() -> None:
    x, level, y, residual = batch(1)
    with pytest.raises(UserError, match="a larger --optimiser.batch"):
        squared_mmd(residual, seen(x), level, y)
