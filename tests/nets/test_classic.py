"""The classic U-Net: as large as reported, every option alive, what can't be built is refused."""

from __future__ import annotations

import pytest
import torch

from safelight.errors import UserError
from safelight.nets.classic import ClassicUNet
from tests.nets.stirring import stirred

BASE = {"widths": (8, 16, 8), "blocks": 1}
INPUT = torch.randn(2, 1, 8, 8), torch.tensor([-1.0, 0.5]), torch.tensor([0, 1])


def made(**options: object) -> ClassicUNet:
    return stirred(lambda: ClassicUNet(**{"shape": (1, 8, 8), "classes": 3, **BASE, **options}))


@pytest.mark.parametrize(
    ("size", "options", "parameters"),
    [
        (64, {"attention": "all"}, 23_332_739),
        (32, {"widths": (32, 64, 128, 64, 64), "blocks": 2, "attention": (16, 8)}, 3_062_531),
    ],
)
def test_it_is_as_large_as_reported(size: int, options: dict[str, object], parameters: int) -> None:
    """K4: 3,062,531 exactly; 23,332,729 is given for the larger, whose layers all have more than
    the ten parameters that it lacks: a digit was mistaken."""
    net = ClassicUNet((3, size, size), **options)  # type: ignore[arg-type]
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(
    "option",
    [
        {"widths": (8, 16, 12)},
        {"widths": (8, 16, 16, 8, 8)},
        {"blocks": 2},
        {"blocks": 2, "middle": 3},
        {"attention": (8,)},
        {"attention": "coarsest"},
        {"attention": "all"},
        {"attention": "all", "heads": 4},
        {"attention": "all", "attention_norm": "place"},
        {"norm": "batch"},
        {"norm": "group"},
        {"norm": "none"},
        {"activation": "relu"},
        {"activation": "silu"},
        {"activation": "leaky-relu"},
        {"down": "strided"},
        {"down": "average"},
        {"up": "nearest"},
        {"up": "corners"},
        {"up": "transposed"},
        {"embedding": "fourier"},
        {"embedding": "steps"},
        {"frequencies": 3},
        {"spread": 100.0},
    ],
    ids=str,
)
def test_every_option_changes_the_network(option: dict[str, object]) -> None:
    """K4, C2, F3: no dead option, the second of two beside the first of them either."""
    assert not torch.equal(made()(*INPUT), made(**option)(*INPUT))
    if len(option) > 1:
        first = dict([next(iter(option.items()))])
        assert not torch.equal(made(**first)(*INPUT), made(**option)(*INPUT))


def test_labels_and_noise_levels_are_heard() -> None:
    """K2: the class, and its absence, change the answer."""
    net = made()
    x, c_noise, y = INPUT
    answers = [net(x, c_noise, y), net(x, c_noise, y + 1), net(x, c_noise), net(x, c_noise + 1, y)]
    for i, one in enumerate(answers):
        for other in answers[i + 1 :]:
            assert not torch.allclose(one, other)
    assert net(x, c_noise).shape == x.shape
    assert ClassicUNet((1, 8, 8), answers=2, **BASE)(x, c_noise).shape == (2, 2, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (8, 16, 8, 8)}, "an odd number of widths of 3 or more, and there are 4"),
        ({"widths": (8,)}, "there are 1; give --net.widths such as 64 128 256 128 64"),
        (
            {"widths": (8, 8, 8, 8, 8, 8, 8, 8, 8)},
            "8x8 cannot be halved 4 times; prepare them at 16x16, or give 7 widths",
        ),
        (
            {"shape": (1, 7, 7)},
            "7x7 cannot be halved 1 time; prepare them at 8x8, or give 1 width with --net.kind",
        ),
        ({"attention": (16,)}, "choose --net.attention from 8, 4"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(**options)
