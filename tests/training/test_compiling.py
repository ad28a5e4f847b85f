"""`train --compile`: the same training, faster; and the same without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from safelight.cli import main
from safelight.config import Config, Gan, Net, Plan
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.training import compiling
from safelight.training.checkpoint import checkpoints
from safelight.training.compiling import compile_network, plain, reason
from safelight.training.run import Run
from safelight.training.train import start_run, train
from safelight.training.trainer import Trainer
from tests.training.conftest import SMALL, coding, plan
from tests.training.stopping import weights_hash

COMPILED = SMALL.model_copy(update={"compile": True})
PIECES = plan(steps=4, micro_batch=6)  # of 16 pictures: 5, 5 and 6


class Traced:
    """Stands for a compiler that turns what it gets into what it got, and notes each shape."""

    def __init__(self) -> None:
        self.shapes: list[int] = []

    def __call__(self, graph: Any, inputs: list[Tensor]) -> Callable[..., Any]:
        images = next(x for x in inputs if x.ndim == 4 and not isinstance(x, nn.Parameter))
        self.shapes.append(len(images))
        return graph.forward  # type: ignore[no-any-return]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Traced:
    """torch.compile as it is, but for the long part of it: C++."""
    found, usual = Traced(), nn.Module.compile
    torch._dynamo.reset()
    monkeypatch.setattr(compiling, "OPTIONS", None)
    monkeypatch.setattr(
        nn.Module, "compile", lambda self, **how: usual(self, **{**how, "backend": found})
    )
    return found


def trained(config: Config, run: Plan, digits: Cache, out: Path) -> Run:
    start_run(digits, config, run, out)
    return train(digits, config, out)


def gradients(digits: Cache, config: Config, *, compiled: bool) -> dict[str, Tensor]:
    """Of the first step, by name."""
    trainer = Trainer(config, PIECES, digits, Accelerator(cpu=True))
    if compiled:
        assert trainer.compile()
        assert all(p.grad is None for p in trainer.learner.parameters())
    found: dict[str, Tensor] = {}
    trainer.optimiser.step = lambda: found.update(  # type: ignore[method-assign]
        {
            name: p.grad.clone()
            for name, p in trainer.learner.model.named_parameters()
            if p.grad is not None
        }
    )
    trainer.advance()
    return found


@pytest.mark.parametrize("config", [COMPILED, coding(compile=True)], ids=["diffusion", "coder"])
def test_pieces_of_each_size_are_compiled_before_the_first_step(
    config: Config, compiler: Traced, digits: Cache, tmp_path: Path
) -> None:
    """And nothing more on the way: validations and previews ask the plain network.

    What is compiled to the same operators learns the same weights, to the bit, dropout included.
    """
    size = config.optimiser.batch
    run = plan(steps=4, micro_batch=size // 3 + 1, validate_every=2, preview_every=2)
    without = trained(config, run, digits, tmp_path / "plain")
    assert not compiler.shapes
    planned = run.model_copy(update={"compiled": True})
    found = trained(config, planned, digits, tmp_path / "compiled")
    assert sorted(set(compiler.shapes)) == [size // 3, size // 3 + 1]
    assert len(compiler.shapes) == len(set(compiler.shapes))
    assert weights_hash(found) == weights_hash(without)


def test_planning_writes_down_and_says_that_it_compiles(
    compiler: Traced, digits: Cache, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(digits, COMPILED, out).plan.compiled
    told = " ".join(capsys.readouterr().err.split())
    assert "float32, compiled, about" in told
    assert compiler.shapes == [16]  # the run itself has what its planning has compiled


def test_a_plan_of_before_there_was_compiling_is_one_without() -> None:
    old = plan().model_dump(exclude={"compiled"})
    assert not Plan(**old).compiled


def test_what_a_trial_touches_is_put_back(compiler: Traced) -> None:
    """Buffers, gradients and the random stream; whether it comes to its end or not."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    stream = torch.get_rng_state()

    def step(fail: bool) -> None:
        net(torch.ones(3, 1, 5, 5)).sum().backward()
        if fail:
            raise RuntimeError("no room left. \nand more")

    assert compile_network(net, net, lambda: step(fail=False)) is None
    assert net._compiled_call_impl is not None
    with plain(net):
        assert net._compiled_call_impl is None
    assert net._compiled_call_impl is not None
    assert compile_network(net, net, lambda: step(fail=True)) == "no room left"
    assert net._compiled_call_impl is None
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(p.grad is None for p in net.parameters())
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_reason_is_a_few_words() -> None:
    assert reason(MemoryError()) == "memory ran out"
    assert reason(ValueError()) == "ValueError"
    assert len(reason(ValueError("long " * 100))) <= compiling.LONGEST


def test_a_step_out_of_memory_goes_on_compiled_in_smaller_pieces(
    compiler: Traced, digits: Cache, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, short = Trainer._backward, [True]

    def once_short(self: Trainer, turn: Any) -> Any:
        if self.step == 2 and short:
            short.clear()
            raise MemoryError
        return backward(self, turn)

    monkeypatch.setattr(Trainer, "_backward", once_short)
    run = trained(COMPILED, plan(steps=4, compiled=True), digits, out)
    assert run.plan.smaller == ((2, 8),)
    assert run.plan.compiled
    assert compiler.shapes == [16, 8]


@pytest.mark.usefixtures("cpu")
def test_a_run_that_was_planned_with_a_compiler_goes_on_without_one(
    digits: Cache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its plan stays as it is: where there is a compiler again, it is compiled again."""

    def no_compiler(self: nn.Module, **how: Any) -> None:
        raise RuntimeError("torch.compile is not supported here")

    run = plan(steps=4)
    without = trained(COMPILED, run, digits, tmp_path / "plain")
    monkeypatch.setattr(nn.Module, "compile", no_compiler)
    planned = run.model_copy(update={"compiled": True})
    found = trained(COMPILED, planned, digits, tmp_path / "run")
    told = " ".join(capsys.readouterr().err.split())
    assert "not compiled, since torch.compile is not supported here; it is trained" in told
    assert found.plan.compiled
    assert weights_hash(found) == weights_hash(without)


def test_a_gan_is_not_compiled(digits: Cache, out: Path) -> None:
    config = COMPILED.model_copy(update={"family": "gan", "net": Net(), "gan": Gan(widths=(8,))})
    with pytest.raises(UserError, match="--compile is for .*; leave it out"):
        train(digits, config, out)
    assert not out.exists()


@pytest.mark.usefixtures("cpu")
def test_without_a_compiler_it_says_so_and_trains_all_the_same(
    digits: Cache, tmp_path: Path
) -> None:
    """The same weights as without --compile, to the bit, and status 0."""
    words = ["train", str(digits.path), "--watch.no-tensorboard", "--net.widths", "8"]
    words += ["--budget", "3steps", "--optimiser.batch", "8", "--precision", "float32", "--out"]
    main([*words, str(tmp_path / "plain")])
    plainly = Run.open(tmp_path / "plain")
    out = tmp_path / "compiled"
    nowhere = {
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled-code"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "safelight", *words, str(out), "--compile"],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert (
        "not compiled, since no C++ compiler, such as g++, was found; it is trained as it is"
        in told
    )
    assert "Traceback" not in told
    assert not Run.open(out).plan.compiled
    assert weights_hash(Run.open(out)) == weights_hash(plainly)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
def test_compiled_code_has_the_same_gradients(
    digits: Cache, out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """But for rounding, with dropout; its checkpoints have the usual names and load into any."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled-code"))
    torch._dynamo.reset()
    config = COMPILED.model_copy(update={"net": Net(widths=(8,), blocks=1, dropout=0.1)})
    theirs, ours = (gradients(digits, config, compiled=each) for each in (True, False))
    assert theirs.keys() == ours.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient, rtol=1e-3, atol=1e-5)
    run = trained(config, PIECES.model_copy(update={"compiled": True}), digits, out)
    usual = Trainer(config, PIECES, digits, Accelerator(cpu=True))
    usual.load(checkpoints(run.checkpoint_folder)[-1])
    assert usual.step == PIECES.steps
