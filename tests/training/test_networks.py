"""The networks by name: each is built, trains, resumes and draws; no option is dead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from safelight.config import Data, Net, Optimiser
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.presets import PRESETS
from safelight.training.networks import NETS, build_net, heeded, unsettled_net
from safelight.training.train import train
from tests.training.conftest import SMALL

TINY = {
    "unet": Net(widths=(8, 16), blocks=1, attention=()),
    "classic": Net(kind="classic", widths=(8, 16, 8), blocks=1, norm="batch"),
    "transformer": Net(kind="transformer", widths=(32,), blocks=2),
    "reference": Net(
        kind="reference",
        options={
            "block_out_channels": [8, 16],
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "dropout": 0.1,
        },
    ),
    "lucidrains": Net(
        kind="lucidrains",
        options={
            "dim": 8,
            "dim_mults": [1, 1],
            "attn_heads": 1,
            "attn_dim_head": 8,
            "dropout": 0.1,
        },
    ),
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_built_and_answers(name: str) -> None:
    """C2, K4, B2, F3, F5, X13: for colour pictures of 32x32, with classes if it knows any."""
    net = build_net(PRESETS[name].net, (3, 32, 32), classes=2 * PRESETS[name].data.conditional)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        answer = net.eval()(x, torch.zeros(1), torch.tensor([1]))
    assert answer.shape == x.shape
    assert answer.isfinite().all()


def test_the_largest_and_the_smallest_of_the_report() -> None:
    """K4: see `tests.nets.test_classic` for the ten parameters between this and the report."""
    sizes = {
        name: sum(p.numel() for p in build_net(PRESETS[name].net, (3, 32, 32), 0).parameters())
        for name in ("classic", "classic-half", "classic-two", "classic-two-half")
    }
    assert sizes["classic"] == 23_332_739
    assert sizes["classic-two-half"] == 3_062_531
    for name in ("classic", "classic-two"):
        assert sizes[f"{name}-half"] < 0.3 * sizes[name]


@pytest.mark.parametrize("kind", NETS)
def test_every_kind_trains_resumes_and_draws(kind: str, digits: Cache, tmp_path: Path) -> None:
    """C2, K4, F5, X13, X6: a stopped and resumed training ends with the same weights."""
    rate = Optimiser(batch=16, warmup=2, lr=2e-3)
    data = Data(conditional=kind != "lucidrains")
    asked = {"data": data, "net": TINY[kind], "optimiser": rate, "budget": "60steps"}
    config = SMALL.model_copy(update=asked)
    run = train(digits, config, tmp_path / "run")
    losses = [record["loss"] for record in run.records("train")]
    assert sum(losses[-15:]) < 0.9 * sum(losses[:15])
    before = run.checkpoint().weights("ema")
    images = run.source().images([0, 1])
    assert images.shape == (2, 1, 8, 8)
    assert images.float().std() > 1
    (tmp_path / "run" / "checkpoints" / run.checkpoint().path.name).rename(tmp_path / "away")
    again = train(digits, config, tmp_path / "run")
    assert again.checkpoint().step == 60
    for name, value in again.checkpoint().weights("ema").items():
        assert torch.equal(value, before[name])
    assert torch.equal(again.source().images([0, 1]), images)


def test_a_run_says_all_options(digits: Cache, tmp_path: Path) -> None:
    """F5: diffusers' usual ones may change; a tuple in Python is a list in the file."""
    options = {**TINY["reference"].options, "dropout": 0.0, "block_out_channels": (8, 16)}
    config = SMALL.model_copy(
        update={"net": Net(kind="reference", options=options), "budget": "2steps"}
    )
    run = train(digits, config, tmp_path / "run")
    written = run.open(run.path).config.net
    assert written.options["block_out_channels"] == [8, 16]
    assert written.options["attention_head_dim"] == 8
    assert unsettled_net(written).options == {k: v for k, v in config.net.options.items() if v}
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


def test_every_option_is_of_some_network() -> None:
    assert {name for kind in NETS for name in heeded(kind)} == set(Net.model_fields) - {"kind"}
