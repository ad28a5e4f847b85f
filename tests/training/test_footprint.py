"""What planning says that a step needs, against what a process takes for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from safelight.config import Config, Net
from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.presets import PRESETS
from safelight.training.allocations import alive, linear
from safelight.training.planning import Footprint, footprint
from safelight.training.trainer import Trainer
from tests.training.conftest import SMALL, plan

# Its arguments: cache, configuration, plan. Prints by how many bytes a run and its first step raise
# the peak of the process, which has libraries and the code of operators in memory already: from
# the same of two images, which is gone.
STEPS = """
import ctypes, gc, re, sys
from pathlib import Path
import torch
from accelerate import Accelerator
from safelight.config import Config, Plan
from safelight.data.cache import Cache
from safelight.machine import give_back_memory, keep_memory
from safelight.training.trainer import Trainer

def memory(of):
    found = re.search(rf"{of}:\\s+(\\d+)", Path("/proc/self/status").read_text())
    return 1024 * int(found[1])

torch.set_num_threads(1)
cache = Cache.open(Path(sys.argv[1]))
config, plan = Config.model_validate_json(sys.argv[2]), Plan.model_validate_json(sys.argv[3])
(give_back_memory if config.low_memory else keep_memory)()  # as `train` does
few = config.optimiser.model_copy(update={"batch": 2})
few = config.model_copy(update={"optimiser": few}), plan.model_copy(update={"micro_batch": 2})
Trainer(*few, cache, Accelerator(cpu=True)).advance()
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory("VmRSS")
trainer = Trainer(config, plan, cache, Accelerator(cpu=True))
trainer.advance()
print(memory("VmHWM") - before)
"""


def test_what_is_alive_is_followed() -> None:
    """After each operator: what was made and is still held, but for what was there before."""
    layer = nn.Linear(256, 256, bias=False)
    numbers = 4 * 256 * 256

    def work() -> None:
        a = torch.ones(256, 256)
        b = a @ layer.weight  # 2
        del a  # kept by autograd, for the weights' gradient
        b.relu_()
        c = b.view(-1)[:10].clone()
        b = c.sum()
        del b, c
        torch.ones(256)

    found = alive(work, layer)
    assert found[0] == numbers
    assert max(found) == 2 * numbers + 40 + 4  # c and its sum
    assert found[-1] == 4 * 256  # and nothing of what is gone


def test_the_most_is_found_moment_by_moment() -> None:
    """Where gradients of weights are most for a few images, activations are for many."""
    two, three = [20, 100 + 2], [30, 100 + 3]
    assert linear(two, three) == (100, 10)
    assert linear([7, 7, *two], [7, 7, 7, *three])[1] == 10  # noise of each image


def test_blocks_that_are_computed_again_need_less(digits: Cache) -> None:
    config = SMALL.model_copy(update={"net": Net(widths=(16,), blocks=4)})
    needs = [of(each, digits) for each in (config, low(config))]
    assert needs[1].image < 0.6 * needs[0].image
    assert needs[1].fixed == pytest.approx(needs[0].fixed, rel=0.1)


def low(config: Config) -> Config:
    return config.model_copy(update={"low_memory": True})


def of(config: Config, cache: Cache, bf16: bool = False) -> Footprint:
    made = Trainer(config, plan(), cache, Accelerator(cpu=True))
    single, _ = next(made.batches.at(0, 1))
    device = torch.device("cpu")
    return footprint(made.learner, single, bf16, device, low=config.low_memory)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """Digits of 32x32 pixels."""
    return prepare("digits", size=32, out=tmp_path_factory.mktemp("data") / "larger")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's peak from /proc")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("less", [False, True], ids=["usual", "low"])
@pytest.mark.parametrize(("name", "n"), [("small", 48), ("classic-half", 8), ("transformer", 48)])
def test_a_real_step_takes_what_was_planned(
    name: str, n: int, less: bool, precision: str, larger: Cache
) -> None:
    """X5: no more than that, and no less than half of it: weights, moments, averages and all."""
    preset = PRESETS[name]
    optimiser = preset.optimiser.model_copy(update={"batch": n})
    config = preset.model_copy(update={"optimiser": optimiser, "low_memory": less})
    needs = of(config, larger, bf16=precision == "bf16")
    planned = plan(micro_batch=n, precision=precision)
    words = [str(larger.path), config.model_dump_json(), planned.model_dump_json()]
    done = subprocess.run(
        [sys.executable, "-c", STEPS, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    needed = needs.fixed + n * needs.image
    assert needed / 2 <= int(done.stdout) <= needed, (int(done.stdout), needed)
