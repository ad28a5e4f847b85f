"""benchmarks/peak.py counts the arithmetic that there is."""

from __future__ import annotations

import pytest
import torch
from benchmarks.peak import BAR, Convolution, arithmetic, convolutions_of, measured
from torch.utils.flop_counter import FlopCounterMode

from safelight.config import Plan
from safelight.data.cache import Cache
from safelight.training.costs import count_flops
from safelight.training.trainer import Trainer
from tests.training.conftest import SMALL, plan

SHAPES = [
    Convolution(2, 8, 16, 6, 6),
    Convolution(2, 8, 16, 6, 4, kernel=1, padding=0),
    Convolution(1, 4, 4, 8, 8, stride=2),
    Convolution(2, 3, 8, 6, 6, asked=False),
]


@pytest.fixture
def trainer(digits: Cache) -> Trainer:
    from accelerate import Accelerator

    settled: Plan = plan(micro_batch=16)
    config = SMALL.model_copy(update={"data": SMALL.data.model_copy(update={"flip": False})})
    return Trainer(config, settled, digits, Accelerator(cpu=True))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["bf16", "float32"])
def test_a_convolution_is_counted_as_torch_counts_it(shape: Convolution, kind: str) -> None:
    work = shape.work(kind)
    with FlopCounterMode(display=False) as counter:
        work()
    assert shape.flops == counter.get_total_flops()


def test_a_step_is_three_ways_forwards_but_for_what_nobody_asks(trainer: Trainer) -> None:
    """The first layers want no gradient of what goes in: pictures, and how noisy they are."""
    batch, (_, height, width) = 16, (1, 8, 8)
    net = trainer.learner.model.net
    given = torch.zeros(batch, 1, 8, 8), torch.zeros(batch), torch.zeros(batch, dtype=torch.int64)
    forwards = count_flops(net, *given)
    stem = 2 * batch * height * width * 9 * net.stem.weight.shape[0]
    level = net.embed_level[1].weight
    assert arithmetic(trainer) == 3 * forwards - stem - 2 * batch * level.numel()
    own = convolutions_of(trainer)
    assert sum(shape.asked is False for shape in own) == 1
    assert sum(own.values()) == sum(
        layer.kernel_size == (3, 3) or "shortcut" in name  # those of attention are products
        for name, layer in net.named_modules()
        if isinstance(layer, torch.nn.Conv2d)
    )


def test_the_shares_are_those_of_one_turn(trainer: Trainer) -> None:
    """Small shapes and one turn, for real: median, low and high are one number then."""
    found = measured(trainer, "float32", repeats=1, wide=SHAPES[:2])
    rate = {name: value["median"] for name, value in found["TFLOP/s"].items()}
    assert set(rate) == {"peak", "own convolutions", "step"}
    for name, share in found["shares"].items():
        part, whole = name.split("/")
        assert share["low"] == share["median"] == share["high"]
        assert share["median"] == pytest.approx(rate[part] / rate[whole], rel=0.001)
    assert 0 < found["of its convolutions"] <= found["GFLOP of a step"]
    assert BAR == 0.55
