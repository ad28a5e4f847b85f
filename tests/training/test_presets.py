"""Every preset: as large as documented, all of it alive, and it learns, resumes and draws."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from safelight.config import Config, Net, Optimiser, Sampling, Watch
from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.errors import UserError
from safelight.presets import PRESETS, SHAPES, natural_shape
from safelight.training.networks import NETS, build_net
from safelight.training.run import Run
from safelight.training.train import train
from tests.nets.stirring import stirred
from tests.training.conftest import SMALL

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
QUICK = Sampling(steps=3)
# Those of GANs are in test_gan.py.
NETWORKS = [name for name, config in PRESETS.items() if config.family == "diffusion"]
FULL = {  # preset: pictures, parameters, and as many as were reported
    name: (tuple(map(int, shape.split("×"))), parameters, reported)
    for name, shape, parameters, reported in re.findall(
        r"^\| `([\w-]+)` \|[^|]*\| ([\d×]+) \| ([\d,]+) \| ?([\d,.]*)[ \w]*\|$", PAGE, re.MULTILINE
    )
}
DIVIDES = {  # preset: what the sides of its pictures divide by
    name: int(factor)
    for names, factor in re.findall(r"^\| (`.*`) \| (\d+)[ ,]", PAGE, re.MULTILINE)
    for name in re.findall(r"`([\w-]+)`", names)
}


def shrunk(name: str, least: int = 8) -> Config:
    """The preset at an eighth of its widths."""
    config = PRESETS[name]
    smaller = SMALLER.get(config.net.kind, smaller_widths)(config.net, least)
    return config.model_copy(update={"net": config.net.model_copy(update=smaller)})


def eighths(widths: Sequence[int], least: int) -> list[int]:
    return [max(least, width // 8) for width in widths]


def smaller_widths(net: Net, least: int) -> dict[str, Any]:
    return {"widths": tuple(eighths(net.widths, least))}


def smaller_reference(net: Net, least: int) -> dict[str, Any]:
    channels = eighths(net.options["block_out_channels"], least)
    few = {"block_out_channels": channels, "norm_num_groups": 4}
    return {"options": {**net.options, **few}}


def smaller_lucidrains(net: Net, least: int) -> dict[str, Any]:
    return {"options": {**net.options, "dim": least, "attn_dim_head": 8}}


SMALLER = {"reference": smaller_reference, "lucidrains": smaller_lucidrains}


def briefly(config: Config, steps: int, batch: int, lr: float) -> Config:
    """A short training, saved halfway and at its end."""
    never = steps + 1
    watch = Watch(
        checkpoint_every=steps // 2, validate_every=never, preview_every=never, tensorboard=False
    )
    rate = Optimiser(batch=batch, warmup=2, lr=lr)
    short = {"watch": watch, "optimiser": rate, "budget": f"{steps}steps"}
    return config.model_copy(update={**short, "precision": SMALL.precision})


def resumed(run: Run, cache: Cache) -> Run:
    """The same training, taken up again where it was halfway."""
    newest = run.checkpoint().path
    newest.rename(run.path.parent / f"{run.path.name}-whole")
    return train(cache, run.config, run.path)


def assert_resumes_and_draws(run: Run, cache: Cache, n: int) -> None:
    before, images = run.checkpoint().weights("ema"), run.source(QUICK).images(range(n))
    assert images.shape == (n, *cache.shape)
    assert images.float().std() > 1
    again = resumed(run, cache)
    assert again.checkpoint().step == run.plan.steps
    after = again.checkpoint().weights("ema")
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert torch.equal(again.source(QUICK).images(range(n)), images)


def assert_all_alive(net: torch.nn.Module, shape: tuple[int, int, int]) -> None:
    """In evaluation: in training a batch normalisation takes away the bias before it."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, *shape, generator=generator)
    answer = net.eval()(x, torch.tensor([-1.0, 0.5]), torch.tensor([0, 1]))
    assert answer.shape == x.shape
    (answer * torch.randn(answer.shape, generator=generator)).mean().backward()
    gradients = {name: p.grad for name, p in net.named_parameters()}
    silent = [name for name, grad in gradients.items() if grad is None or not grad.any()]
    assert not silent
    assert all(grad is not None and grad.isfinite().all() for grad in gradients.values())


def few(out: Path, **options: Any) -> Cache:
    """Some digits, of two classes: the fewer, the smaller the previews; and none is held out."""
    return prepare("digits", out=out, classes=("0", "1"), per_class=50, split="100/0/0", **options)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Cache]:
    """A few of scikit-learn's digits at 8x8, and at 16x16 for the preset that halves oftenest."""
    folder = tmp_path_factory.mktemp("data")
    return {size: few(folder / str(size), size=size, channels="grey") for size in (8, 16)}


def test_every_kind_of_network_has_a_preset() -> None:
    """So that what holds for every preset holds for every kind."""
    assert {PRESETS[name].net.kind for name in NETWORKS} == set(NETS)
    assert set(FULL) == set(DIVIDES) == set(NETWORKS)
    assert set(SHAPES) <= set(PRESETS)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_as_documented(name: str) -> None:
    """C2, K4, B2, F3, X13: beside the reported ones, where there are any."""
    shape, parameters, reported = FULL[name]
    assert shape == natural_shape(name)
    counted = sum(
        p.numel() for p in build_net(PRESETS[name].net, natural_shape(name), 0).parameters()
    )
    assert f"{counted:,}" == parameters
    if "." in reported:  # in millions
        assert f"{counted / 1e6:.1f}" == reported
    elif reported:
        assert abs(counted - int(reported.replace(",", ""))) <= 10


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_reach_every_parameter(name: str, channels: int) -> None:
    """C2, K4, B2, F3, L8: no part is dead, for grey and for colour pictures, with classes."""
    # Of 16 channels at least, as in earnest: alone in its group, a channel's bias would not act.
    config, shape = shrunk(name, least=16), (channels, 16, 16)
    classes = 2 * config.data.conditional
    assert_all_alive(stirred(lambda: build_net(config.net, shape, classes)), shape)


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_small_one_learns_resumes_and_draws(
    name: str, pictures: dict[int, Cache], tmp_path: Path
) -> None:
    """C2, K4, B2, F3, X13, X6: resumed, it ends with the same weights, bit for bit."""
    cache = pictures[max(8, DIVIDES[name])]
    run = train(cache, briefly(shrunk(name), steps=16, batch=16, lr=3e-3), tmp_path / "run")
    losses = [record["loss"] for record in run.records("train")]

    assert sum(losses[-6:]) < 0.95 * sum(losses[:6])
    assert_resumes_and_draws(run, cache, 2)


@pytest.mark.usefixtures("cpu")
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_at_full_size(name: str, tmp_path: Path) -> None:
    """C2, K4, B2, F3, X13, X6: the same for the pictures that it was made for."""
    shape, classes = natural_shape(name), 2 * PRESETS[name].data.conditional
    assert_all_alive(stirred(lambda: build_net(PRESETS[name].net, shape, classes)), shape)
    channels = "grey" if shape[0] == 1 else "rgb"
    cache = few(tmp_path / "digits", size=shape[1], channels=channels)
    run = train(cache, briefly(PRESETS[name], steps=8, batch=4, lr=1e-3), tmp_path / "run")
    losses = [record["loss"] for record in run.records("train")]
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    assert_resumes_and_draws(run, cache, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_sides_that_cannot_be_halved_are_refused(name: str) -> None:
    """The documented factor is exact; the message names a size that does."""
    net, factor = shrunk(name).net, DIVIDES[name]
    build_net(net, (1, factor, factor), 0)
    if name == "transformer":
        with pytest.raises(UserError, match=r"do not tile images of 15x15; .* from 1, 3, 5, 15"):
            build_net(net, (1, 15, 15), 0)
        return
    side = 3 * factor // 2
    with pytest.raises(
        UserError, match=rf"{side}x{side} cannot be halved .* prepare them at"
    ) as no:
        build_net(net, (1, side, side), 0)
    (good,) = re.findall(r"prepare them at (\d+)x", str(no.value))
    build_net(net, (1, int(good), int(good)), 0)
    for count in re.findall(r"give (\d+) widths? with --net.widths", str(no.value)):
        build_net(net.model_copy(update={"widths": (8,) * int(count)}), (1, side, side), 0)
