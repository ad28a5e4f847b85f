"""The diffusion transformer: every option changes what is built; what can't be built is refused."""

from __future__ import annotations

import pytest
import torch

from safelight.errors import UserError
from safelight.nets.transformer import Transformer, positions
from tests.nets.stirring import stirred

BASE = {"widths": (16,), "blocks": 1, "heads": 2}
INPUT = torch.randn(2, 1, 8, 4), torch.tensor([-1.0, 0.5]), torch.tensor([0, 1])


def made(**options: object) -> Transformer:
    return stirred(lambda: Transformer((1, 8, 4), 3, **{**BASE, **options}))


@pytest.mark.parametrize(
    "option",
    [
        {"widths": (32,)},
        {"blocks": 2},
        {"patch": 4},
        {"heads": 4},
        {"feedforward": 2.0},
        {"embedding": "sinusoidal"},
        {"embedding": "steps"},
        {"frequencies": 3},
        {"spread": 2.0},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_every_option_changes_the_network(option: dict[str, object]) -> None:
    """X13: no dead option."""
    assert not torch.equal(made()(*INPUT), made(**option)(*INPUT))


def test_it_is_zero_before_training() -> None:
    net = Transformer((1, 8, 4), 3, answers=2, **BASE)
    assert torch.equal(net(*INPUT), torch.zeros(2, 2, 8, 4))


def test_labels_noise_levels_and_places_are_heard() -> None:
    """X13, K2: the class, its absence, the level, and where in the image something is."""
    net = made()
    x, c_noise, y = INPUT
    answers = [net(x, c_noise, y), net(x, c_noise, y + 1), net(x, c_noise), net(x, c_noise + 1, y)]
    for i, one in enumerate(answers):
        for other in answers[i + 1 :]:
            assert not torch.allclose(one, other)
    moved = net(x.roll(2, dims=2), c_noise, y).roll(-2, dims=2)
    assert not torch.allclose(moved, answers[0])
    net.places.zero_()
    without = net(x, c_noise, y)
    moved = net(x.roll(2, dims=2), c_noise, y).roll(-2, dims=2)
    torch.testing.assert_close(moved, without)


def test_every_place_has_a_row_of_its_own() -> None:
    places = positions(16, 7, 5)
    assert places.shape == (35, 16)
    assert len({tuple(place) for place in places.tolist()}) == 35


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 3}, "squares of 3 do not tile images of 4x8; choose --net.patch from 1, 2, 4"),
        ({"widths": (16, 32)}, "a transformer has one width and not 2; give one, such as"),
        ({"heads": 3}, "3 heads cannot share 16 channels"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(**options)
