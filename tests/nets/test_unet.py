"""The U-Net: every option changes what is built, and what can't be built is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from safelight.errors import UserError
from safelight.nets.blocks import (
    ACTIVATIONS,
    ATTENTIONS,
    BLOCKS,
    NORMS,
    SelfAttention,
)
from safelight.nets.embedding import EMBEDDINGS
from safelight.nets.resampling import DOWNS, UPS
from safelight.nets.unet import SKIPS, UNet
from tests.nets.stirring import stirred

BASE = {"widths": (8, 16), "blocks": 1}
INPUT = torch.randn(2, 1, 8, 8), torch.tensor([-1.0, 0.5]), torch.tensor([0, 1])


def made(**options: object) -> UNet:
    return stirred(lambda: UNet((1, 8, 8), 3, **{**BASE, **options}))


def output(**options: object) -> torch.Tensor:
    return made(**options)(*INPUT)


def test_folding_is_a_network_on_squares_of_pixels() -> None:
    """The same network, its input and output reordered by torch."""
    x, level, y = INPUT
    folded = stirred(lambda: UNet((1, 8, 8), 3, **BASE, fold=2))
    plain = stirred(lambda: UNet((4, 4, 4), 3, **BASE))
    expected = torch.pixel_shuffle(plain(torch.pixel_unshuffle(x, 2), level, y), 2)
    torch.testing.assert_close(folded(x, level, y), expected)
    with pytest.raises(UserError, match="squares of 3 do not tile .* --net.fold from 1, 2, 4, 8"):
        UNet((1, 8, 8), **BASE, fold=3)
    both = UNet((1, 8, 8), answers=2, **BASE, fold=2)
    assert both(*INPUT[:2]).shape == (2, 2, 8, 8)


def test_the_channels_of_a_place_lie_together() -> None:
    """What convolutions are fastest on; a copy of the weights is laid out so too."""
    net = made(attention=(4,))
    for module in (net, copy.deepcopy(net)):
        kernels = [p for p in module.parameters() if p.dim() == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)


@pytest.mark.parametrize(
    "option",
    [
        {"fold": 2},
        {"widths": (8, 24)},
        {"widths": (8, 16, 16)},
        {"blocks": 2},
        {"attention": (4,)},
        {"attention": (4, 8)},
        {"attention": (4,), "heads": 4},
        {"attention": (4,), "feedforward": 2},
        {"attention": (4,), "attention_norm": "place"},
        {"block": "plain"},
        {"norm": "layer"},
        {"norm": "place"},
        {"norm": "batch"},
        {"norm": "none"},
        {"activation": "relu"},
        {"activation": "gelu"},
        {"activation": "leaky-relu"},
        {"down": "max"},
        {"down": "average"},
        {"up": "bilinear"},
        {"up": "corners"},
        {"up": "transposed"},
        {"skip": "sum"},
        {"embedding": "sinusoidal"},
        {"embedding": "sinusoidal", "spread": 100.0},
        {"embedding": "steps"},
        {"embedding": "steps", "spread": 100.0},
        {"spread": 2.0},
        {"frequencies": 3},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_every_option_changes_the_network(option: dict[str, object]) -> None:
    """F3, F9, L8: no dead option, the second of two beside the first of them either."""
    assert not torch.equal(output(), output(**option))
    if len(option) > 1:
        first = dict([next(iter(option.items()))])
        assert not torch.equal(output(**first), output(**option))


def test_it_is_zero_before_training() -> None:
    torch.manual_seed(0)
    assert torch.equal(
        UNet((3, 8, 8), **BASE)(torch.randn(2, 3, 8, 8), INPUT[1]), torch.zeros(2, 3, 8, 8)
    )


def test_labels_and_noise_levels_are_heard() -> None:
    """K2: the class, and its absence, change the answer."""
    net = made()
    x, c_noise, y = INPUT
    answers = [net(x, c_noise, y), net(x, c_noise, y + 1), net(x, c_noise), net(x, c_noise + 1, y)]
    for i, one in enumerate(answers):
        for other in answers[i + 1 :]:
            assert not torch.allclose(one, other)
    assert torch.equal(net(x, c_noise), net(x, c_noise, torch.full_like(y, 3)))


def test_attention_equals_torch() -> None:
    """Our written-out product against torch's own attention, forwards and backwards."""
    torch.manual_seed(0)
    layer = SelfAttention(128, "none")
    torch.nn.init.normal_(layer.out.weight, std=0.1)
    x = torch.randn(2, 128, 4, 4, requires_grad=True)
    q, k, v = (
        part.reshape(2, 2, 64, 16).transpose(-1, -2) for part in layer.qkv(x).flatten(2).chunk(3, 1)
    )
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    expected = x + layer.out(mixed.transpose(-1, -2).reshape(2, 128, 4, 4))
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_attention_is_the_same_on_devices_of_every_kind(kind: str) -> None:
    """Eq. (1) of arXiv:1706.03762 and its gradients, here where all of them can run."""
    qkv = torch.randn(3, 2, 4, 9, 5, dtype=torch.float64, requires_grad=True)
    q, k, v = qkv
    weights = torch.einsum("bhic,bhjc->bhij", q, k).div(5**0.5).exp()
    expected = torch.einsum("bhij,bhjc->bhic", weights / weights.sum(-1, keepdim=True), v)
    found = ATTENTIONS[kind](q, k, v)
    torch.testing.assert_close(found, expected)
    pulls = [torch.autograd.grad(x.square().sum(), qkv)[0] for x in (found, expected)]
    torch.testing.assert_close(*pulls)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UserError, match=r"30x30 cannot be halved 3 times; prepare them at 32x32"):
        UNet((1, 30, 30), widths=(8, 8, 8, 8))
    with pytest.raises(UserError, match="choose --net.attention from 8, 4"):
        UNet((1, 8, 8), widths=(8, 8), attention=(16,))
    with pytest.raises(UserError, match="3 heads cannot share 16 channels; choose --net.heads"):
        UNet((1, 8, 8), widths=(8, 16), attention=(4,), heads=3)
    for table, option in (
        (ACTIVATIONS, "activation"),
        (BLOCKS, "block"),
        (DOWNS, "down"),
        (EMBEDDINGS, "embedding"),
        (NORMS, "norm"),
        (SKIPS, "skip"),
        (UPS, "up"),
    ):
        with pytest.raises(UserError, match=next(iter(table))):
            UNet((1, 8, 8), **{**BASE, option: "no-such"})


def test_a_lean_block_normalises_once_and_is_otherwise_the_residual_one() -> None:
    """B1."""
    residual, lean = (
        stirred(lambda name=name: BLOCKS[name](16, 16, 8, "group", "silu", 0.0))
        for name in ("residual", "lean")
    )
    norms = [sum(isinstance(m, nn.GroupNorm) for m in b.modules()) for b in (residual, lean)]
    assert norms == [2, 1]
    lean.load_state_dict(residual.state_dict(), strict=False)
    x, embedding = torch.randn(2, 16, 8, 8), torch.randn(2, 8)
    with torch.no_grad():
        normed = residual.norm1(x)
        torch.testing.assert_close(
            lean(normed, embedding) - normed, residual(x, embedding) - x, atol=1e-4, rtol=1e-4
        )
