"""What a preset costs: counted exactly, timed honestly, shown in 80 columns."""

from __future__ import annotations

import gc
import itertools
import re

import pytest
import torch
from torch import Tensor, nn

from safelight.config import Config, Net
from safelight.console import results
from safelight.listing import Price, Prices, listing
from safelight.presets import PRESETS
from safelight.training import costs
from safelight.training.costs import Cost, Speed, Trial, beside, count_flops

CPU = torch.device("cpu")
TINY = Config(net=Net(widths=(8, 16), blocks=1, attention=()))


class Known(nn.Module):
    """A convolution, a linear layer of the level, attention of its rows, and a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, padding=1)
        self.linear = nn.Linear(1, 7)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        assert not self.training
        self.linear(c_noise[:, None])
        h = self.convolution(x)
        h = nn.functional.scaled_dot_product_attention(h, h, h)
        return h @ h.mT


def test_flops_are_those_of_the_formula() -> None:
    """A multiply-add is two: 2 (c_in k² c_out h w + inputs outputs + c h w h).

    F5: attention is counted too where it is fused, as in the networks of others.
    """
    h, w = 6, 4
    expected = 2 * (3 * 9 * 5 * h * w + 1 * 7 + 2 * (5 * h * w * h) + 5 * h * w * h)
    for n in (1, 2):
        assert count_flops(Known(), torch.zeros(n, 3, h, w), torch.zeros(n)) == n * expected


def test_flops_of_the_plain_preset() -> None:
    """K4: by hand, layer by layer; what embeds the level is two layers, and one for each layer."""
    net = PRESETS["plain"].net
    side, e, (a, b, c) = 32, 4 * 64, net.widths
    outputs = [a, b, c, b, a]
    convolutions = side**2 * (
        9 * 3 * a + 16 * (a * b / 4 + b * c / 16 + c * b / 16 + b * a / 4) + 9 * a * 3
    )
    embedding = a * e + e * e + sum(2 * e * o for o in outputs)
    found = Trial(PRESETS["plain"], (3, side, side), CPU).cost()
    assert found.flops == 2 * (convolutions + embedding)


def test_the_memory_is_that_of_a_whole_batch() -> None:
    trial = Trial(TINY, (1, 8, 8), CPU)
    half = TINY.model_copy(update={"optimiser": TINY.optimiser.model_copy(update={"batch": 32})})
    more = trial.cost().memory - Trial(half, (1, 8, 8), CPU).cost().memory
    assert more == 32 * trial.needs.image


def test_a_speed_is_the_median_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step in which the machine was away does not count."""
    trial = Trial(TINY, (1, 8, 8), CPU)
    seconds = itertools.chain([9.0, 0.35, 9.0], [0.5, 0.4, 100.0, 0.4, 0.8])
    asked = []

    def take(n: int) -> float:
        asked.append(n)
        return next(seconds)

    monkeypatch.setattr(trial, "_seconds", take)
    speed = trial.speed()
    assert speed is not None
    assert (speed.median, speed.low, speed.high) == (8 / 0.5, 8 / 100, 8 / 0.4)
    assert asked == [4, 4, *[8] * 6]  # so many that a step takes SECONDS


def test_a_real_speed_leaves_no_gradients() -> None:
    trial = Trial(TINY, (1, 8, 8), CPU)
    speed = trial.speed()
    assert speed is not None
    assert 0 < speed.low <= speed.median <= speed.high
    assert all(p.grad is None for p in trial.learner.parameters())


def test_what_does_not_fit_is_not_timed() -> None:
    assert Trial(TINY.model_copy(update={"memory": "0.1MB"}), (1, 8, 8), CPU).speed() is None


def test_what_others_do_is_told_from_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processors busy at 80 %, 15 of 20 seconds of one of them ours: 42.5 % are others'."""
    wall, own = iter([0.0, 20.0]), iter([0.0, 15.0])
    monkeypatch.setattr(costs.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(costs.time, "process_time", lambda: next(own))
    monkeypatch.setattr(costs.psutil, "cpu_percent", lambda: 80.0)
    monkeypatch.setattr(costs.psutil, "cpu_count", lambda: 2)
    assert beside(lambda: "done") == ("done", 80 - 100 * 15 / 20 / 2)


@pytest.mark.parametrize("others", [0.0, 66.6])
def test_times_fit_into_80_columns(others: float, capsys: pytest.CaptureFixture[str]) -> None:
    """And those of a busy machine are marked, and explained."""
    cost = Cost(parameters=99_999_999, flops=10**11, memory=99_999 * 2**20)
    speed = Speed(23456.7, 0.123456, 123.4, others)
    widths = PRESETS["classic"].net.widths
    rows: dict[str, Price | None] = {name: Price(widths, cost, speed) for name in PRESETS}
    rows |= {"tiny": Price(widths, cost, None), "reference": None}
    prices = Prices(rows, "a machine of a name" * 9, "bf16", measured=True)
    results.print(listing(prices))
    shown = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert "too large" in shown
    assert re.search(r"^reference +reference +not installed", shown, re.MULTILINE)
    assert prices.to_json()["rows"]["reference"] is None
    assert ("23457 (0.123-123)*" in shown) == bool(others)
    assert ("* while others had 10 to 67 % of the processors" in shown) == bool(others)


def test_nothing_stays_of_a_network_that_was_counted() -> None:
    """What autograd keeps of it is counted and let go, also what its own graph would hold."""

    def alive() -> int:
        gc.collect()
        tensors = [each for each in gc.get_objects() if type(each) in (Tensor, nn.Parameter)]
        return sum(each.numel() for each in tensors)

    Trial(TINY, (1, 8, 8), CPU).cost()  # what is made once
    before = alive()
    Trial(PRESETS["tiny"], (3, 16, 16), CPU).cost()
    assert alive() == before
