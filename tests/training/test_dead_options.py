"""No option of a network is accepted and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from safelight.config import Net
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.presets import PRESETS
from safelight.training.networks import NETS, build_net, heeded, require_acting
from safelight.training.train import start_run, train
from tests.nets.stirring import stirred
from tests.training.conftest import SMALL, plan

# Other values than the usual one, of every option. An option that is not here fails the test.
VALUES: dict[str, tuple[Any, ...]] = {
    "options": ({"dropout": 0.5},),
    "widths": ((8, 8), (8,), (4, 4, 8)),
    "blocks": (1, 3),
    "middle": (3,),
    "block": ("lean", "plain"),
    "attention": ((), "all"),
    "heads": (2,),
    "attention_norm": ("batch",),
    "feedforward": (2.0,),
    "patch": (1,),
    "fold": (2,),
    "norm": ("layer",),
    "activation": ("relu",),
    "down": ("max",),
    "up": ("bilinear",),
    "skip": ("sum",),
    "embedding": ("sinusoidal", "steps"),
    "frequencies": (1, 3),
    "spread": (5.0,),
    "dropout": (0.5,),
}
TINY = {
    "block_out_channels": [4, 8],
    "down_block_types": ["DownBlock2D"] * 2,
    "up_block_types": ["UpBlock2D"] * 2,
    "norm_num_groups": 2,
}
SMALLEST = {
    "unet": Net(widths=(4, 8), blocks=1),
    "classic": Net(kind="classic", widths=(4, 8, 4)),
    "transformer": Net(kind="transformer", widths=(4,), blocks=1),
    "plain": Net(kind="plain", widths=(4, 8)),
    "reference": Net(kind="reference", options=TINY),
    "lucidrains": Net(kind="lucidrains", options={"dim": 8, "dim_mults": [1, 2]}),
}

# Three resolutions leave 2x2 places: a single one would attend to itself alone, with any heads.
SHAPE = (1, 8, 8)


def changed(net: Net, name: str, value: Any) -> Net:
    value = {**net.options, **value} if name == "options" else value
    return net.model_copy(update={name: value})


@cache
def answer(text: str) -> bytes | None:
    """What the network answers to fixed images, as training does; None where it is refused."""
    net = Net.model_validate_json(text)
    try:
        require_acting(net)
        built = stirred(lambda: build_net(net, SHAPE, 0))
    except UserError:
        return None
    torch.manual_seed(2)
    with torch.no_grad():
        return built(torch.randn(4, *SHAPE), torch.linspace(1, 9, 4)).numpy().tobytes()


def dead(net: Net) -> Iterator[str]:
    """The options that this network accepts other values of, which all make the same network."""
    usual = answer(net.model_dump_json())
    for name in set(heeded(net.kind)) if usual else ():
        values = [getattr(SMALLEST[net.kind], name), *VALUES[name]]
        others = [other for value in values if (other := changed(net, name, value)) != net]
        if {answer(other.model_dump_json()) for other in others} - {None} == {usual}:
            yield name


def neighbours(net: Net) -> Iterator[Net]:
    """The same network, and those that are another in one option."""
    yield net
    for name in heeded(net.kind):
        yield from (changed(net, name, value) for value in VALUES[name])


def test_values_are_there_of_every_option() -> None:
    assert set(VALUES) == set(Net.model_fields) - {"kind"}
    assert set(SMALLEST) == set(NETS)


@pytest.mark.parametrize("kind", NETS)
def test_whatever_is_accepted_changes_the_network(kind: str) -> None:
    """F7: alone and beside any other option: of each, some value is another network, or refused."""
    found = {
        net.model_dump_json(exclude_defaults=True): set(dead(net))
        for net in neighbours(SMALLEST[kind])
    }
    assert not {text: names for text, names in found.items() if names}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_nothing_in_vain(name: str) -> None:
    require_acting(PRESETS[name].net)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"attention": (), "heads": 2}, "--net.heads .* there is none; leave it out .* coarsest"),
        ({"attention": (), "attention_norm": "batch"}, "--net.attention-norm is of the attention"),
        ({"widths": (8,), "attention": "coarser", "heads": 1}, "--net.heads is of the attention"),
        ({"attention": (), "feedforward": 2.0}, "--net.feedforward is of the attention"),
        ({"widths": (8,), "down": "max"}, "leave it at strided, or give several --net.widths"),
        ({"widths": (8,), "up": "bilinear"}, "leave it at nearest, or give several --net.widths"),
        ({"embedding": "steps", "frequencies": 1, "spread": 9.0}, "give more frequencies"),
        ({"kind": "classic", "widths": (8, 8, 8), "blocks": 1, "middle": 3}, "give more blocks"),
    ],
)
def test_dead_options_are_refused_of_a_new_run(
    options: dict[str, Any], remedy: str, digits: Cache, tmp_path: Path
) -> None:
    """F7: in one line; a run of before they were refused goes on, and can be opened and drawn."""
    small = {"widths": SMALL.net.widths, "blocks": 1, **options}
    config, out = SMALL.model_copy(update={"net": Net(**small)}), tmp_path / "run"
    with pytest.raises(UserError, match=remedy) as refusal:
        train(digits, config, out)
    assert "\n" not in str(refusal.value)
    assert not out.exists()
    start_run(digits, config, plan(steps=1, checkpoint_every=1), out)
    assert train(digits, config, out).source().images([0]).shape == (1, 1, 8, 8)
