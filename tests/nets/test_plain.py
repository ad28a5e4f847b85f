"""The plain network: every option acts, the embedding is heard, nothing crosses over."""

from __future__ import annotations

import pytest
import torch

from safelight.errors import UserError
from safelight.nets.plain import PlainNet
from tests.nets.stirring import stirred

BASE = {"widths": (8, 16)}
INPUT = torch.randn(2, 1, 8, 8), torch.tensor([-1.0, 0.5]), torch.tensor([0, 1])


def made(**options: object) -> PlainNet:
    return stirred(lambda: PlainNet((1, 8, 8), 3, **{**BASE, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "option",
    [
        {"widths": (8, 24)},
        {"widths": (8, 16, 16)},
        {"norm": "layer"},
        {"norm": "place"},
        {"norm": "batch"},
        {"norm": "none"},
        {"activation": "relu"},
        {"activation": "gelu"},
        {"activation": "leaky-relu"},
        {"embedding": "sinusoidal"},
        {"embedding": "steps"},
        {"frequencies": 3},
        {"spread": 2.0},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_every_option_changes_the_network(option: dict[str, object]) -> None:
    """K4: no dead option."""
    assert not torch.equal(made()(*INPUT), made(**option)(*INPUT))


def test_it_is_zero_before_training() -> None:
    net = PlainNet((1, 8, 8), 3, answers=2, **BASE)  # type: ignore[arg-type]
    assert torch.equal(net(*INPUT), torch.zeros(2, 2, 8, 8))


def test_labels_and_noise_levels_are_heard() -> None:
    """K4, K2: the time embedding, the class, and its absence, change the answer."""
    net = made()
    x, c_noise, y = INPUT
    answers = [net(x, c_noise, y), net(x, c_noise, y + 1), net(x, c_noise), net(x, c_noise + 1, y)]
    for i, one in enumerate(answers):
        for other in answers[i + 1 :]:
            assert not torch.allclose(one, other)
    assert torch.equal(net(x, c_noise), net(x, c_noise, torch.full_like(y, 3)))


def test_nothing_crosses_over() -> None:
    """K4: with the coarsest layer silenced, nothing of the image is left in the answer."""
    net, (x, c_noise, y) = made(), INPUT
    assert not torch.allclose(net(x, c_noise, y), net(x + 1, c_noise, y))
    coarsest = net.layers[1]
    torch.nn.init.zeros_(coarsest.layer.weight)  # type: ignore[union-attr, arg-type]
    assert torch.equal(net(x, c_noise, y), net(x + 1, c_noise, y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (8,) * 5}, "8x8 cannot be halved 4 times; prepare them at 16x16, or give 4"),
        ({"norm": "no-such"}, "unknown normalisation 'no-such'; choose one of: group"),
        ({"activation": "no-such"}, "unknown activation 'no-such'; choose one of: silu"),
        ({"embedding": "no-such"}, "unknown embedding 'no-such'; choose one of: fourier"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(**options)
