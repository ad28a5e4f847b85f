"""`train --low-memory`: the same weights, to the bit, of which less is kept on the way."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from safelight.config import Config, Diffusion, Gan, Net
from safelight.data.cache import Cache
from safelight.errors import OutOfMemory, UserError
from safelight.nets.blocks import ResidualBlock, SelfAttention
from safelight.nets.classic import Pair
from safelight.nets.plain import Told
from safelight.nets.transformer import TransformerBlock
from safelight.training.networks import build_net
from safelight.training.planning import Footprint, micro_batch
from safelight.training.recomputing import advice, blocks, recompute
from safelight.training.run import Run
from safelight.training.shortage import smaller
from safelight.training.step_times import StepTimes
from safelight.training.train import start_run, train
from tests.training.conftest import SMALL, coding, plan
from tests.training.stopping import weights_hash
from tests.training.test_networks import SMALLEST

LOW = SMALL.model_copy(update={"low_memory": True})
CLASSIC = Net(
    kind="classic", widths=(8, 16, 8), blocks=1, attention="coarsest", norm="layer", down="max"
)
CONFIGS = {
    "unet": SMALL,
    "lean": SMALL.model_copy(
        update={"net": Net(widths=(8,), blocks=1, block="lean", attention=(8,), feedforward=2)}
    ),
    "classic": SMALL.model_copy(update={"net": CLASSIC}),
    "transformer": SMALL.model_copy(
        update={"net": Net(kind="transformer", widths=(16,), blocks=2, patch=2, dropout=0.1)}
    ),
    "plain": SMALL.model_copy(update={"net": Net(kind="plain", widths=(8, 16), dropout=0.1)}),
    "mmd": SMALL.model_copy(update={"diffusion": Diffusion(objective="denoising+mmd")}),
    "coder": coding(),
}
BATCH_NORM = {
    "batch": SMALL.net.model_copy(update={"norm": "batch"}),
    "classic-batch": CLASSIC.model_copy(update={"norm": "batch"}),
}


def trained(config: Config, digits: Cache, out: Path, **planned: Any) -> Run:
    run = plan(**{"steps": 3, "validate_every": 2, "preview_every": 3, **planned})
    start_run(digits, config, run, out)
    return train(digits, config, out)


def calls(monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module]) -> list[bool]:
    """Notes each call of a block of this kind: whether it was in training."""
    usual, found = kind.forward, []

    def noted(self: nn.Module, *inputs: Tensor) -> Any:
        found.append(self.training)
        return usual(self, *inputs)

    monkeypatch.setattr(kind, "forward", noted)
    return found


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_weights_are_the_same_to_the_bit(
    name: str, precision: str, digits: Cache, tmp_path: Path
) -> None:
    """X5, C4: in pieces and with dropout, with validations and previews on the way."""
    config = CONFIGS[name]
    size = config.optimiser.batch
    planned = {
        "micro_batch": size if name == "mmd" else size // 3 + 1,
        "precision": precision,
    }
    usual = trained(config, digits, tmp_path / "usual", **planned)
    low = config.model_copy(update={"low_memory": True})
    found = trained(low, digits, tmp_path / "low", **planned)
    assert weights_hash(found) == weights_hash(usual)


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("name", BATCH_NORM)
def test_running_statistics_take_in_each_batch_once(
    name: str, digits: Cache, tmp_path: Path
) -> None:
    """The weights' file has them; and where a run is taken up again it comes to the same."""
    config = SMALL.model_copy(update={"net": BATCH_NORM[name]})
    usual = trained(config, digits, tmp_path / "usual")
    found = trained(config.model_copy(update={"low_memory": True}), digits, tmp_path / "low")
    assert weights_hash(found) == weights_hash(usual)


def test_a_power_iteration_is_made_once() -> None:
    """Whatever a block remembers from call to call is as it would be: here a spectral norm's."""
    torch.manual_seed(0)
    usual = ResidualBlock(4, 4, 0, "batch", "silu", dropout=0.5)
    nn.utils.spectral_norm(usual.conv1)
    nn.init.normal_(usual.conv2.weight)
    found = copy.deepcopy(usual)
    recompute(found)
    assert blocks(found) == [found]
    for block in (usual, found):
        torch.manual_seed(1)
        for _ in range(2):
            block(torch.randn(3, 4, 5, 5)).square().sum().backward()
    theirs = dict(usual.named_parameters())
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter.grad, theirs[name].grad), name
    for name, value in found.state_dict().items():
        assert torch.equal(value, usual.state_dict()[name]), name


def test_what_is_computed_again_is_what_is_learnt(
    digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations and previews compute once, as without it."""
    found = calls(monkeypatch, SelfAttention)
    trained(SMALL, digits, tmp_path / "usual")
    looked, learnt = found.count(False), found.count(True)
    found.clear()
    trained(LOW, digits, tmp_path / "low")
    assert looked > 0
    assert found.count(False) == looked
    assert found.count(True) == 2 * learnt > 0


def test_a_copy_has_its_own_blocks() -> None:
    net = build_net(SMALL.net, (1, 8, 8), 0)
    names, (first, *_) = list(net.state_dict()), blocks(net)
    recompute(net)
    other = copy.deepcopy(net)
    assert list(net.state_dict()) == names == list(other.state_dict())
    assert first.forward.__self__ is first
    assert blocks(other)[0].forward.__self__ is blocks(other)[0] is not first
    x, level = torch.randn(2, 1, 8, 8), torch.zeros(2)
    other.load_state_dict({name: value + 1 for name, value in other.state_dict().items()})
    assert not torch.equal(other.eval()(x, level), net.eval()(x, level))


@pytest.mark.parametrize(
    ("net", "kinds", "count"),
    [
        (SMALL.net, {ResidualBlock, SelfAttention}, 7 + 4),
        (CLASSIC, {Pair, SelfAttention}, 1 + 2 + 1 + 2 + 1),
        (CONFIGS["transformer"].net, {TransformerBlock}, 2),
        (CONFIGS["plain"].net, {Told}, 3),
    ],
    ids=["unet", "classic", "transformer", "plain"],
)
def test_blocks_are_found_in_every_network(
    net: Net, kinds: set[type[nn.Module]], count: int
) -> None:
    built = build_net(net, (1, 8, 8), 3)
    found = [block for block in blocks(built) if type(block) in kinds]
    assert {type(block) for block in found} == kinds
    assert len(found) == count
    all_of_a_kind = [part for part in built.modules() if type(part) in kinds]
    assert len(all_of_a_kind) == count


@pytest.mark.parametrize(
    "net",
    [
        Net(kind="reference", options=SMALLEST),
        Net(kind="lucidrains", options={"dim": 8, "dim_mults": [1, 2]}),
    ],
    ids=["diffusers", "lucidrains"],
)
def test_networks_of_other_libraries_have_the_same_gradients(net: Net) -> None:
    pytest.importorskip("diffusers" if net.kind == "reference" else "denoising_diffusion_pytorch")
    usual = build_net(net, (1, 8, 8), 0)
    found = copy.deepcopy(usual)
    recompute(found)
    assert any("Resnet" in type(block).__name__ for block in blocks(found)) or any(
        type(block).__name__ == "Block" for block in blocks(found)
    )
    assert any("Attention" in type(block).__name__ for block in blocks(found))
    x, told = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 500.0])
    for each in (usual, found):
        torch.manual_seed(0)
        each(x, told).square().sum().backward()
    theirs = dict(usual.named_parameters())
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter.grad, theirs[name].grad), name


def test_where_memory_is_short_it_is_proposed() -> None:
    needs, device = Footprint(fixed=2**20, image=2**20), torch.device("cpu")
    short = SMALL.model_copy(update={"memory": "1MB"})
    with pytest.raises(UserError, match="may be used; add --low-memory or choose smaller --net.w"):
        micro_batch(short, needs, 16, device, local=1)
    with pytest.raises(UserError, match="may be used; choose smaller --net.widths, or raise --mem"):
        micro_batch(short.model_copy(update={"low_memory": True}), needs, 16, device, local=1)
    with pytest.raises(OutOfMemory, match="or add --low-memory or choose"):
        smaller(plan(micro_batch=1), 3, SMALL, None)
    assert "--low-memory" not in advice(Config(family="gan"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"family": "gan", "net": Net(), "gan": Gan(widths=(8,))},
            "--low-memory computes .*; leave it out",
        ),
        ({"compile": True}, "--compile settles .*; leave one of the two out"),
    ],
    ids=["gan", "compiled"],
)
def test_what_it_does_not_go_with_is_refused(
    changes: dict[str, Any], match: str, digits: Cache, out: Path
) -> None:
    with pytest.raises(UserError, match=match):
        train(digits, LOW.model_copy(update=changes), out)
    assert not out.exists()


def test_a_step_that_is_looked_at_comes_to_the_same(digits: Cache, tmp_path: Path) -> None:
    """`--profile` counts what is computed again as part of the way back, and changes nothing."""
    usual = trained(LOW, digits, tmp_path / "usual", steps=6)
    start_run(digits, LOW, plan(steps=6, validate_every=2, preview_every=3), tmp_path / "looked")
    found: list[StepTimes] = []
    looked = train(
        digits, LOW, tmp_path / "looked", profiled=lambda times, run: found.append(times)
    )
    assert weights_hash(looked) == weights_hash(usual)
    again = found[0].shares["convolutions backwards"].operators
    assert again["aten::mkldnn_convolution"][1] > 0
