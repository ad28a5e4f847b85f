"""Where the time of a step goes: what is counted as what, and that looking changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile, record_function

from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.training.muon import Muon
from safelight.training.run import Run
from safelight.training.step_kinds import (
    AVERAGES,
    BATCHES,
    FORWARDS,
    KINDS,
    OTHERS,
    PRODUCTS,
    REST,
    STEP,
    divided,
)
from safelight.training.step_times import FIRST, RECORDED, Recorder, StepTimes, _counted
from safelight.training.train import train
from tests.training.conftest import SMALL, coding
from tests.training.stopping import train_and_stop_at_seven, weights_hash
from tests.training.test_gan import config as gaming

FAMILIES = {"diffusion": SMALL, "gan": gaming(), "autoencoder": coding()}
CONVOLUTIONS = {"convolutions forwards", "convolutions backwards"}
NORMS = {"normalisation forwards", "normalisation backwards"}


def spent(root: Any) -> dict[str, dict[str, float]]:
    """Kinds that take time -> operators."""
    found = divided([root], lambda operator: operator.own)
    return {kind: dict(each.times) for kind, each in found.items() if each.times}


def operator(name: str, own: float, *called: Any) -> Any:
    return SimpleNamespace(name=name, own=own, cpu_children=called)


def test_operators_are_counted_by_what_they_are_for() -> None:
    """Each by its name, an unknown one by what called it, and all within a label by the label."""
    root = operator(
        STEP,
        1,
        operator("aten::conv2d", 2, operator("aten::mkldnn_convolution", 4)),
        operator("aten::group_norm", 8, operator("aten::never_heard_of", 16)),
        operator("aten::never_heard_of", 32, operator("aten::copy_", 64)),
        operator(BATCHES, 128, operator("aten::conv2d", 256)),
        operator(
            "Optimizer.step#Muon.step",
            512,
            operator("aten::bmm", 1024),
            operator("aten::matmul", 2048, operator("aten::copy_", 4096)),
        ),
        operator(AVERAGES, 8192, operator("aten::never_heard_of", 16384)),
        operator(
            "autograd::engine::evaluate_function: NativeGroupNormBackward0",
            32768,
            operator("NativeGroupNormBackward0", 65536),
            operator("aten::add_", 131072),  # of gradients that come from two sides
        ),
    )
    found = {kind: sum(times.values()) for kind, times in spent(root).items()}
    assert found == {
        REST: 1 + 32768,
        "convolutions forwards": 2 + 4,
        "normalisation forwards": 8 + 16,
        OTHERS: 32 + 131072,
        "copies and casts": 64,
        "batches and noise": 128 + 256,
        "optimiser: the rest": 512 + 4096,
        PRODUCTS: 1024 + 2048,
        "averages": 8192 + 16384,
        "normalisation backwards": 65536,
    }
    assert set(found) <= set(KINDS)


class NormOfAnother(torch.autograd.Function):
    """A normalisation that torch does not know."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = x.square().mean().sqrt()
        ctx.save_for_backward(scale)
        return x / scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / ctx.saved_tensors[0]


X = torch.linspace(-1, 1, 2 * 8 * 4 * 4).reshape(2, 8, 4, 4)
LAYERS: dict[str, tuple[Callable[[Tensor], Tensor], set[str]]] = {
    "conv": (nn.Conv2d(8, 8, 3), CONVOLUTIONS),
    "transposed": (nn.ConvTranspose2d(8, 8, 2), CONVOLUTIONS),
    "group": (nn.GroupNorm(2, 8), NORMS),
    "batch": (nn.BatchNorm2d(8), NORMS),
    "layer": (nn.LayerNorm(4), NORMS),
    "ours": (NormOfAnother.apply, NORMS),
    **{
        each.__name__: (each(), {"activations"})
        for each in (nn.SiLU, nn.GELU, nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh)
    },
    "linear": (nn.Linear(4, 4), {"attention and linear layers"}),
    "product": (lambda x: x @ x.mT, {"attention and linear layers"}),
    "softmax": (lambda x: x.softmax(-1), {"attention and linear layers"}),
    "bilinear": (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), {OTHERS}),
    "sum": (lambda x: x + x.square(), {OTHERS}),
    "cat": (lambda x: torch.cat([x, x]), {"copies and casts"}),
    "cast": (lambda x: x.bfloat16(), {"copies and casts"}),
    "noise": (lambda x: x.detach().normal_().requires_grad_(), {"batches and noise"}),
    "view": (lambda x: x.permute(0, 2, 3, 1)[:, 1:], {REST}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_names_are_those_of_torch(name: str) -> None:
    """Forwards and backwards: its own kind, and beside it only what goes with everything."""
    layer, wanted = LAYERS[name]
    x = X.clone().requires_grad_()
    gradient = torch.ones_like(layer(x))
    with profile(activities=[ProfilerActivity.CPU]) as looked, record_function(STEP):
        layer(x).backward(gradient)
    root = next(event for event in looked.events() if event.name == STEP)
    found = divided([root], lambda event: event.self_cpu_time_total)
    kinds = {kind for kind, each in found.items() if each.times}
    assert wanted <= kinds
    assert kinds - wanted <= {REST, "copies and casts", OTHERS}
    total = sum(each.total for each in found.values())
    assert total == pytest.approx(root.cpu_time_total)


def test_an_optimisers_products_are_told_from_its_rest() -> None:
    weight = nn.Parameter(torch.eye(16))
    weight.grad = torch.ones(16, 16)
    optimiser = Muon([weight], [], 0.1, betas=(0.9, 0.99))
    with profile(activities=[ProfilerActivity.CPU]) as looked, record_function(STEP):
        optimiser.step()
    root = next(event for event in looked.events() if event.name == STEP)
    found = divided([root], lambda event: event.self_cpu_time_total)
    assert {"aten::bmm", "aten::baddbmm"} <= set(found[PRODUCTS].times)
    assert {"aten::stack", "aten::_foreach_lerp_"} <= set(found["optimiser: the rest"].times)
    assert not found["attention and linear layers"].times


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("family", FAMILIES)
def test_looking_changes_no_weight(family: str, digits: Cache, tmp_path: Path) -> None:
    """X6: to the bit, in every family; and the shares are the whole step."""
    config, told = FAMILIES[family], []
    alone = train(digits, config, tmp_path / "alone")
    looked = train(
        digits, config, tmp_path / "looked", profiled=lambda found, run: told.append((found, run))
    )
    assert weights_hash(looked) == weights_hash(alone)
    ((found, run),) = told
    assert run.path == looked.path
    assert (found.first, found.last) == (7, 12)  # half of twelve steps
    assert found.whole == pytest.approx(sum(found.seconds) / len(found.seconds))
    for kind in (*CONVOLUTIONS, "optimiser: the rest", "averages", "batches and noise", REST):
        assert found.shares[kind].seconds > 0, kind
    assert not list(alone.path.glob("step-*"))
    assert len(looked.records("train")) == 12


@pytest.mark.usefixtures("cpu")
def test_a_run_that_goes_on_is_looked_at_too(
    digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: its first steps are those after the checkpoint; Ctrl-C tells what was seen until then."""
    told: list[StepTimes] = []

    def tell(found: StepTimes, run: Run) -> None:
        told.append(found)

    straight, out = train(digits, SMALL, tmp_path / "straight"), tmp_path / "stopped"
    train_and_stop_at_seven(digits, SMALL, out, monkeypatch, profiled=tell)
    assert (told[0].first, told[0].last) == (7, 7)
    run = train(digits, SMALL, out, profiled=tell)
    assert (told[1].first, told[1].last) == (11, 12)  # five were left
    assert weights_hash(run) == weights_hash(straight)
    with pytest.raises(UserError, match="has no step left to profile; train on .* --profile"):
        train(digits, SMALL, out, profiled=tell)
    assert len(told) == 2


def recorded(left: int) -> StepTimes:
    """Of a training that does as little as can be, after a hundred steps."""
    recorder, taken = Recorder(100, left, torch.device("cpu")), 1
    assert recorder.take(X.sum) == X.sum()
    while not recorder.look():
        recorder.take(X.sum)
        taken += 1
    found = recorder.found()
    assert found is not None
    assert found.last == 100 + taken <= 100 + left
    return found


def test_the_first_steps_are_passed_over() -> None:
    long = recorded(1000)
    assert (long.first, len(long.seconds)) == (100 + FIRST + 1, RECORDED)
    assert len(long.before) == FIRST - 2  # without the first one, and the profiler's own
    assert long.slower is not None
    short = recorded(1)
    assert (short.first, short.last, short.slower) == (101, 101, None)


def event(name: str, start: float, end: float, *called: FunctionEvent) -> FunctionEvent:
    """One on the processor, in microseconds."""
    made = FunctionEvent(0, name, 1, start, end, use_device="cuda", device_type=DeviceType.CPU)
    for each in called:
        made.append_cpu_child(each)
        each.set_cpu_parent(made)
    return made


def test_on_a_gpu_an_operator_takes_the_time_of_its_kernels() -> None:
    """The way back has a thread of its own, and a label's copy on the GPU is no kernel.

    Made by hand: no GPU is needed, and none is looked at.
    """
    inner, averages = event("aten::cudnn_convolution", 2, 3), event(AVERAGES, 5, 6)
    outer = event("aten::conv2d", 1, 4, inner)
    step = event(STEP, 0, 1000, outer, averages)
    back = event("ConvolutionBackward0", 100, 101)
    inner.append_kernel("implicit_gemm", 0, 300)
    back.append_kernel("wgrad", 0, 450)
    averages.append_kernel(AVERAGES, 0, 70)  # how long its kernels took, which are counted
    averages.append_kernel("lerp", 0, 50)
    kernel = FunctionEvent(0, "wgrad", 7, 100, 550, device_type=DeviceType.CUDA)
    found = _counted([step, outer, inner, averages, back, kernel], torch.device("cuda"))
    times = {kind: each.total for kind, each in found.items() if each.total}
    assert times == {
        f"convolutions{FORWARDS}": 300,
        "convolutions backwards": 450,
        "averages": 50,
        REST: 200,  # in which the GPU waits
    }
