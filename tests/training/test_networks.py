"""The networks by name: an option is refused by those that it would not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.config import Net
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.training.networks import NETS, build_net, further_options, heeded
from safelight.training.train import train
from tests.training.conftest import SMALL

SMALLEST = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "dropout": 0.1,
}


def test_a_run_says_all_options(digits: Cache, tmp_path: Path) -> None:
    """F5: diffusers' usual ones may change; a tuple in Python is a list in the file."""
    options = {**SMALLEST, "dropout": 0.0, "block_out_channels": (8, 16)}
    config = SMALL.model_copy(
        update={"net": Net(kind="reference", options=options), "budget": "2steps"}
    )
    run = train(digits, config, tmp_path / "run")
    written = run.open(run.path).config.net
    assert written.options["block_out_channels"] == [8, 16]
    assert written.options["attention_head_dim"] == 8
    said = {k: v for k, v in config.net.options.items() if v}
    assert further_options(written, Net()) == said
    assert further_options(written, Net(kind="reference", options={"norm_num_groups": 4})) == {
        k: v for k, v in said.items() if k != "norm_num_groups"
    }
    train(digits, config, tmp_path / "run")  # the same run, said in fewer words
    other = Net(kind="reference", options={**options, "dropout": 0.5})
    with pytest.raises(UserError, match=r"net.options.dropout is 0.0 there and 0.5 here"):
        train(digits, config.model_copy(update={"net": other}), tmp_path / "run")


def test_an_option_of_another_network_is_refused() -> None:
    """F7: it would change nothing."""
    with pytest.raises(UserError, match="unet has no --net.patch; .* choose --net.kind transform"):
        build_net(Net(patch=4), (1, 8, 8), 0)
    with pytest.raises(UserError, match="has no --net.norm; .* --net.kind unet or classic"):
        build_net(Net(kind="transformer", widths=(16,), norm="batch"), (1, 8, 8), 0)
    with pytest.raises(UserError, match="unknown network 'u-net'; did you mean 'unet'"):
        build_net(Net(kind="u-net"), (1, 8, 8), 0)


def test_the_plain_network_has_what_acts_alone() -> None:
    """K4: no attention, no blocks, and one way down and up."""
    for options in ({"blocks": 3}, {"down": "max"}, {"up": "bilinear"}, {"attention": (8,)}):
        with pytest.raises(UserError, match="the network plain has no --net"):
            build_net(Net(kind="plain", **options), (1, 8, 8), 0)


def test_every_option_is_of_some_network() -> None:
    assert {name for kind in NETS for name in heeded(kind)} == set(Net.model_fields) - {"kind"}
