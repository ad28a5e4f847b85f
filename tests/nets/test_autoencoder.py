"""Our autoencoder: what goes in comes out, of any size and width, and what can't be is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image
from torch import Tensor

from safelight.errors import UserError
from safelight.nets.autoencoder import Autoencoder, mean_and_std
from safelight.nets.blocks import ACTIVATIONS, NORMS
from tests.nets.stirring import stirred

BASE: dict[str, Any] = {"channels": 2, "widths": (4, 8), "blocks": 1}


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def photographs(n: int, size: int) -> Tensor:
    """Pieces of a real photograph, one beside the other, at a quarter of its resolution."""
    whole = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1).float()
    small = torch.nn.functional.avg_pool2d(whole / 127.5 - 1, 4)  # (3, 106, 160)
    rows = small.unfold(1, size, size).unfold(2, size, size).flatten(1, 2)
    return rows.movedim(1, 0)[:n].contiguous()


@given(
    colours=st.sampled_from([1, 3]),
    channels=st.integers(1, 5),
    widths=st.lists(st.sampled_from([4, 6, 8]), min_size=1, max_size=3),
    blocks=st.integers(0, 2),
    places=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    others=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_every_size_comes_back(
    colours: int,
    channels: int,
    widths: list[int],
    blocks: int,
    places: tuple[int, int],
    others: tuple[int, int],
) -> None:
    """K12: of the size that it is built for, and of other multiples of its factor."""
    factor = 2 ** len(widths)
    shape = (colours, places[0] * factor, places[1] * factor)
    net = Autoencoder(shape, channels=channels, widths=widths, blocks=blocks)
    assert (net.factor, net.latent) == (factor, (channels, *places))
    for h, w in (places, others):
        x = drawn(2, colours, h * factor, w * factor)
        mean, std = net.encode(x)
        assert mean.shape == std.shape == (2, channels, h, w)
        assert net.decode(mean).shape == x.shape


def test_one_call_is_the_way_there_and_back() -> None:
    """K12: z = mean + std eps, and each picture by itself."""
    net = stirred(lambda: Autoencoder((3, 16, 8), **BASE))
    x, eps = drawn(4, 3, 16, 8), drawn(4, *net.latent)
    mean, std = net.encode(x)
    assert bool((std > 0).all())
    answers = net(x, eps)
    for found, expected in zip(answers, (net.decode(mean + std * eps), mean, std), strict=True):
        assert torch.equal(found, expected)
    assert not torch.equal(answers[0], net(x, 0 * eps)[0])
    alone = net(x[1:2], eps[1:2])
    for found, expected in zip(alone, answers, strict=True):
        torch.testing.assert_close(found, expected[1:2], atol=1e-5, rtol=1e-5)


def test_deviations_are_float32_and_bounded() -> None:
    """K12: exp(log variance / 2), the logarithm within [-30, 20], as in latent diffusion's code."""
    logs = torch.tensor([-1e4, -31.0, -30.0, -2.0, 0.0, 20.0, 21.0])
    moments = torch.stack([torch.arange(7.0), logs])[None, :, :, None].bfloat16()
    mean, std = mean_and_std(moments)
    assert mean.dtype == std.dtype == torch.float32
    expected = torch.tensor([math.exp(x / 2) for x in (-30, -30, -30, -2, 0, 20, 20)])
    torch.testing.assert_close(std.flatten(), expected, rtol=1e-6, atol=0)
    assert torch.equal(mean.flatten(), torch.arange(7.0))
    net = Autoencoder((1, 8, 8), **BASE)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction, mean, std = net(drawn(1, 1, 8, 8), drawn(1, *net.latent))
    assert (reconstruction.dtype, mean.dtype, std.dtype) == (torch.bfloat16, *[torch.float32] * 2)


def test_it_begins_with_little_noise() -> None:
    """K12: by the same amount everywhere."""
    net = Autoencoder((3, 16, 16), **BASE)
    with torch.no_grad():
        mean, std = net.encode(drawn(4, 3, 16, 16))
    assert torch.equal(std, torch.full_like(std, math.exp(-2.5)))
    assert mean.std() > std.max()


@pytest.mark.parametrize("attention", [False, True])
def test_every_parameter_learns(attention: bool) -> None:
    """K12: from the reconstruction and the divergence from N(0, 1)."""
    net = stirred(lambda: Autoencoder((3, 16, 16), attention=attention, **BASE))
    x = drawn(2, 3, 16, 16)
    reconstruction, mean, std = net(x, drawn(2, *net.latent))
    divergence = 0.5 * (mean**2 + std**2 - 1 - 2 * std.log()).sum()
    ((reconstruction - x).square().sum() + divergence).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize(
    "option",
    [
        {"channels": 3},
        {"widths": (4, 12)},
        {"blocks": 2},
        {"attention": True},
        *({"norm": norm} for norm in NORMS if norm != "group"),
        *({"activation": act} for act in ACTIVATIONS if act != "silu"),
    ],
    ids=str,
)
def test_every_option_changes_the_network(option: dict[str, Any]) -> None:
    """No dead option, on either way."""
    usual = stirred(lambda: Autoencoder((1, 8, 8), **BASE))
    other = stirred(lambda: Autoencoder((1, 8, 8), **{**BASE, **option}))
    x = drawn(2, 1, 8, 8)
    assert not torch.equal(usual.encode(x)[0], other.encode(x)[0])
    z, zs = drawn(2, *usual.latent), drawn(2, *other.latent)
    assert not torch.equal(usual.decode(z), other.decode(zs))


def test_few_photographs_are_learnt_by_heart() -> None:
    """K12: 8 of them to more than 25 dB, through an eighth of the numbers."""
    torch.manual_seed(0)
    x = photographs(8, 32)
    net = Autoencoder((3, 32, 32), channels=6, widths=(24, 32), blocks=1)
    optimiser = torch.optim.Adam(net.parameters(), lr=4e-3)
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=300)
    noise = torch.Generator().manual_seed(0)
    for _ in range(300):
        reconstruction, _, _ = net(x, torch.randn(8, *net.latent, generator=noise))
        optimiser.zero_grad()
        (reconstruction - x).square().mean().backward()
        optimiser.step()
        slower.step()
    with torch.no_grad():
        error = (net.decode(net.encode(x)[0]).clamp(-1, 1) - x).square().mean((1, 2, 3))
    assert float((10 * torch.log10(4 / error)).mean()) > 25


@pytest.mark.parametrize(
    ("widths", "count"),
    [((32, 64), 405_652), ((64, 128), 1_589_524), ((64, 128, 128), 2_936_340)],
)
def test_it_is_as_large_as_reported(widths: tuple[int, ...], count: int) -> None:
    with torch.device("meta"):
        net = Autoencoder((3, 64, 64), widths=widths)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize(
    ("shape", "widths", "message"),
    [
        ((3, 30, 30), (4, 4), "30x30 .* 4x4 .* --size 28 or 32, or give 1 width with --autoenc"),
        ((3, 12, 12), (4, 4, 4), "--size 8 or 16, or give 2 widths with --autoencoder.widths$"),
        ((3, 4, 4), (4, 4, 4), "4x4 .* places of 8x8 pixels, .* --size 8, or give 2 widths"),
        ((1, 9, 9), (4,), "prepare them with --size 8 or 10$"),
        ((3, 16, 18), (4, 4), "18x16 .* --size 16 or 20x16, or give 1 width"),
    ],
    ids=str,
)
def test_sides_that_do_not_divide_are_refused(
    shape: tuple[int, int, int], widths: tuple[int, ...], message: str
) -> None:
    """K12: with the sizes and the widths that would do."""
    with pytest.raises(UserError, match=message) as refusal:
        Autoencoder(shape, widths=widths)
    assert "\n" not in str(refusal.value)


def test_rows_that_are_in_no_table_are_refused() -> None:
    with pytest.raises(UserError, match="unknown normalisation 'bach'; did you mean 'batch'"):
        Autoencoder((1, 8, 8), norm="bach")
    with pytest.raises(UserError, match="unknown activation 'silly'; did you mean 'silu'"):
        Autoencoder((1, 8, 8), activation="silly")
