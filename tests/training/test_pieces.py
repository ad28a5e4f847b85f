"""Budget, plan, average, checkpoints: each by its closed form or round trip."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from safelight.config import Diffusion, Net, Optimiser, Watch
from safelight.data.cache import Cache
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.path import make_path
from safelight.diffusion.precond import PREDICTIONS
from safelight.errors import DamagedFile, UserError
from safelight.images import dequantise
from safelight.training.batches import Batches, Pictures
from safelight.training.budget import Budget, parse_memory
from safelight.training.checkpoint import Checkpoint, checkpoints, prune
from safelight.training.devices import precision_told
from safelight.training.diffusion import build_denoiser
from safelight.training.ema import PowerAverage, exponent
from safelight.training.learner import Problem, Turn
from safelight.training.planning import (
    Costs,
    Footprint,
    choose_precision,
    deviation,
    evaluations_told,
    few_told,
    footprint,
    intervals,
    looks,
    measure_sigma_data,
    micro_batch,
    plan_steps,
    require_time,
)
from safelight.training.trainer import Trainer
from tests.training.conftest import SMALL, plan


def trainer(cache: Cache, **changes: object) -> Trainer:
    return Trainer(SMALL, plan(**changes), cache, Accelerator())


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("10m", 600, "seconds"),
        ("90s", 90, "seconds"),
        ("1h30m", 5400, "seconds"),
        ("1.5h", 5400, "seconds"),
        ("5000steps", 5000, "steps"),
        ("20 epochs", 20, "epochs"),
        ("1epoch", 1, "epochs"),
        ("500kimg", 500, "kimg"),
    ],
)
def test_budgets(text: str, amount: float, unit: str) -> None:
    """X5"""
    assert Budget.parse(text) == Budget(amount, unit)


@pytest.mark.parametrize("text", ["0s", "0steps", "", "10", "ten minutes", "-5m", "10mm", "5kimg!"])
def test_no_budget(text: str) -> None:
    with pytest.raises(UserError, match="give a time such as 90s"):
        Budget.parse(text)


def test_steps_of_a_budget() -> None:
    """X5: counts are exact; a time pays for the steps and for what is done beside them."""
    costs = Costs(spent=20, step=0.5, validation=2, preview=1, checkpoint=0.1)

    def planned(text: str, watch: Watch = Watch()) -> int:  # noqa: B008 - frozen
        return plan_steps(Budget.parse(text), costs, batch=64, images=1000, watch=watch)

    assert planned("20epochs") == 313
    assert planned("5kimg") == 79
    steps = planned("10m")
    beside = 20 + 10 * 2 + 12 * 1 + 11 * 0.1  # each look under 6 % of the ten minutes
    assert steps * 0.5 + beside == pytest.approx(600, abs=0.5)
    with pytest.raises(UserError, match="too short.*give at least 7"):
        planned("22s")
    keeping = replace(costs, snapshot=2)  # X7: of 15 of them, before the end
    fewer = plan_steps(Budget.parse("10m"), keeping, batch=64, images=1000, watch=Watch())
    assert fewer * 0.5 + beside + 30 == pytest.approx(600, abs=0.5)
    steps = planned("10m", Watch(preview_every=10))
    assert steps * (0.5 + 1 / 10) + 20 + 10 * 2 + 11 * 0.1 == pytest.approx(600, abs=0.6)


def test_getting_ready_does_not_go_on_beyond_the_budget() -> None:
    """X5: a machine on which the first step is slower than the budget says so after that step."""
    require_time(Budget.parse("20s"), spent=19, step=7)
    require_time(Budget.parse("1step"), spent=1000, step=7)
    with pytest.raises(UserError, match="has taken 21 s, and 100 steps take 700 s.*least 721s"):
        require_time(Budget.parse("20s"), spent=21, step=7)


def test_it_is_said_where_there_is_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """X5: float32 there, unless bf16 is asked for."""
    here = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert choose_precision("auto", here) == "float32"
    for asked, told in (
        ("auto", "float32 (this processor has no instructions for bf16)"),
        ("bf16", "bf16 (emulated: this processor has no instructions for it)"),
        ("float32", "float32"),
    ):
        assert precision_told(choose_precision(asked, here), asked, here) == told
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert precision_told(choose_precision("auto", here), "auto", here) == "bf16"


@given(
    evaluation=st.floats(0.01, 60),
    every=st.integers(1, 2000),
    step=st.floats(0.01, 2),
    minutes=st.integers(5, 60),
)
def test_evaluations_are_inside_the_budget(
    evaluation: float, every: int, step: float, minutes: int
) -> None:
    """C3, X5: as often as asked and once at the end, beside steps, looks and checkpoints."""
    costs = Costs(20, step, validation=0.2, preview=0.1, checkpoint=0.1, evaluation=evaluation)
    budget, watch = Budget.parse(f"{minutes}m"), Watch(evaluate_every=every)
    steps = plan_steps(budget, costs, batch=64, images=1000, watch=watch)
    evaluations = math.ceil(steps / every) * evaluation
    beside = 20 + 10 * 0.2 + 12 * 0.1 + (1 + minutes) * 0.1
    total = steps * step + evaluations + beside
    assert total <= budget.amount + 1e-6
    # no more is left than a step, and an evaluation that the last steps were too few for
    assert total + step + 2 * evaluation / every + evaluation > budget.amount
    told = evaluations_told("KID", watch, budget, costs, steps)
    assert f"{100 * evaluations / budget.amount:.1f} % of the time" in told


def test_a_slow_machine_looks_less_often() -> None:
    """X5: watching never eats the budget; there is always one look, at the end."""
    slow = Costs(spent=10, step=0.5, validation=5, preview=100, checkpoint=0.1)
    assert looks(Budget.parse("150s"), slow) == (1, 1)
    assert looks(Budget.parse("10m"), slow) == (7, 1)
    assert looks(Budget.parse("3h"), slow) == (10, 6)
    steps = plan_steps(Budget.parse("10m"), slow, batch=64, images=1000, watch=Watch())
    assert intervals(Watch(), Budget.parse("10m"), slow, steps)["preview_every"] == steps


def test_memory() -> None:
    assert parse_memory("auto") is None
    assert parse_memory("1.5 GB") == 1.5 * 2**30
    with pytest.raises(UserError, match="500MB or 2GB"):
        parse_memory("lots")


def test_a_batch_that_does_not_fit_is_split_evenly() -> None:
    """X5, L3: pieces of one size where possible, and an error where not even one image fits."""
    needs = Footprint(fixed=100, image=10)
    assert needs.micro_batch(64, free=10_000) == 64
    assert needs.micro_batch(64, free=100 + 639) == 32
    assert needs.micro_batch(64, free=100 + 10) == 1
    assert needs.micro_batch(10, free=100 + 40) == 4
    with pytest.raises(UserError, match="smaller --net.widths"):
        needs.micro_batch(64, free=109)


def test_a_batch_that_is_compared_is_not_split() -> None:
    """C6, X12: or the result would depend on the memory that was free."""
    needs = Footprint(fixed=100 * 2**20, image=2**20)
    assert needs.whole(64, free=164 * 2**20) == 64
    with pytest.raises(UserError, match="64 need 164 MB and 163 MB .*a smaller --optimiser.batch"):
        needs.whole(64, free=163 * 2**20)


@pytest.mark.parametrize(
    ("options", "compared"),
    [
        ({}, False),
        ({"diffusion": Diffusion(objective="mmd")}, True),
        ({"diffusion": Diffusion(pairing="optimal")}, True),
        ({"net": Net(norm="batch")}, True),
    ],
)
def test_what_compares_images_has_them_all_at_once(
    options: dict[str, object], compared: bool
) -> None:
    config = SMALL.model_copy(update={**options, "memory": "30MB"})
    needs, device = Footprint(fixed=2**20, image=2**20), torch.device("cpu")
    assert micro_batch(config, needs, 16, device, local=1) == 16
    if compared:
        with pytest.raises(UserError, match="raise --memory"):
            micro_batch(config, needs, 64, device, local=1)
    else:
        assert micro_batch(config, needs, 64, device, local=1) == 22


def test_the_deviation_is_that_of_all_values(digits: Cache) -> None:
    """Counted level by level; to 1e-9 that of the pictures as numbers."""
    positions = np.arange(5, 160, 3)
    values = dequantise(torch.from_numpy(digits.read(positions))).double()
    assert deviation(digits, positions) == pytest.approx(float(values.std()), rel=1e-9)
    assert measure_sigma_data(digits) == pytest.approx(0.7, abs=0.1)


def test_footprint_grows_with_the_image(digits: Cache) -> None:
    """What autograd keeps is linear in images."""
    made = trainer(digits)
    single, _ = next(made.batches.at(0, 1))
    one = footprint(made.learner, single, False, made.accelerator.device)
    assert one.image > 64 * 8 * 4  # more than one feature map of the widest level
    assert one.fixed >= 7 * sum(p.numel() * 4 for p in made.learner.parameters())


def test_micro_batches_give_the_same_gradient(digits: Cache) -> None:
    """X5: to float32's rounding."""
    gradients = []
    for micro in (16, 5):
        made = trainer(digits, micro_batch=micro)
        made.learner.eval()  # dropout draws differently in pieces
        made._backward(Turn("denoiser"))
        gradients.append(torch.cat([p.grad.flatten() for p in made.learner.parameters()]))
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-5


@pytest.mark.parametrize("width", [0.03, 0.05, 0.1, 0.2])
def test_the_average_is_as_wide_as_asked(width: float) -> None:
    """F8: the weights that a step has in the average, against their definition."""
    model = Denoiser(torch.nn.Linear(1, 1, bias=False), make_path("edm"), PREDICTIONS["edm"], 0.5)
    average = PowerAverage(model, width)
    steps = 2000
    weight = model.net.weight
    means = []
    for power in (1, 2):
        average = PowerAverage(model, width)
        for step in range(1, steps + 1):
            weight.data.fill_((step / steps) ** power)
            average.update(model, step)
        means.append(float(average.module.net.weight))
    gamma = exponent(width)
    assert means[0] == pytest.approx((gamma + 1) / (gamma + 2), rel=2e-3)
    assert (means[1] - means[0] ** 2) ** 0.5 == pytest.approx(width, rel=0.03)


def test_the_average_warms_up() -> None:
    """F8: the first weights are forgotten; a fixed decay would keep them for thousands of steps."""
    model = Denoiser(torch.nn.Linear(1, 1, bias=False), make_path("edm"), PREDICTIONS["edm"], 0.5)
    model.net.weight.data.fill_(1000.0)
    average = PowerAverage(model, 0.05)
    for step in range(1, 21):
        model.net.weight.data.fill_(1.0)
        average.update(model, step)
    assert float(average.module.net.weight) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.usefixtures("cpu")
def test_batch_normalisation_is_averaged_saved_and_resumed(digits: Cache, tmp_path: Path) -> None:
    """C2, F8, X6: its running mean and variance decide the pictures as weights do."""
    net = SMALL.net.model_copy(update={"norm": "batch", "dropout": 0.0})
    config = SMALL.model_copy(update={"net": net})
    made, other = (Trainer(config, plan(), digits, Accelerator()) for _ in range(2))
    for _ in range(5):
        made.advance()
    states = [module.state_dict() for module in (made.learner.model, made.average.module)]
    mean = next(name for name in states[0] if name.endswith("running_mean"))
    raw, averaged = (state[mean].abs().max() for state in states)
    assert 0 < averaged != raw > 0
    other.load(made.save(tmp_path))
    for module, state in zip((other.learner.model, other.average.module), states, strict=True):
        for name, value in module.state_dict().items():
            assert torch.equal(value, state[name])
    assert made.advance() == other.advance()
    x, c_noise = torch.randn(4, 1, 8, 8), torch.zeros(4)
    net = made.average.module.net  # in a batch each image is as it is alone
    torch.testing.assert_close(net(x, c_noise)[:1], net(x[:1], c_noise[:1]))


def test_damaged_checkpoints_are_refused(digits: Cache, tmp_path: Path) -> None:
    made = trainer(digits)
    saved = made.save(tmp_path)
    weights = saved.path / "model.safetensors"
    good = weights.read_bytes()
    for damage in (good[:-10], good[:-1] + bytes([good[-1] ^ 1]), b""):
        weights.write_bytes(damage)
        with pytest.raises(DamagedFile, match="cut short or edited; delete"):
            made.load(saved)
    weights.write_bytes(good)
    state = saved.path / "state.json"
    text = state.read_text()
    state.write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(DamagedFile, match="newer version; update safelight"):
        saved.state()
    state.write_text(text[:40])
    with pytest.raises(DamagedFile, match="is damaged; delete"):
        saved.state()


def test_weights_of_another_network_are_refused(digits: Cache, tmp_path: Path) -> None:
    saved = trainer(digits).save(tmp_path)
    wider = SMALL.net.model_copy(update={"widths": (8, 24)})
    other = Trainer(SMALL.model_copy(update={"net": wider}), plan(), digits, Accelerator())
    with pytest.raises(UserError, match="belongs to another network: .* is .* there and"):
        other.load(Checkpoint(saved.path))


def test_the_network_is_drawn_from_the_seed() -> None:
    """B7: and drawing it leaves the global stream alone."""
    before = torch.random.get_rng_state()
    one, same = (build_denoiser(SMALL, Problem((1, 8, 8), 10, 0.5)) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    other = build_denoiser(SMALL.model_copy(update={"seed": 1}), Problem((1, 8, 8), 10, 0.5))
    for a, b, c in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.unique().numel() == 1 or not torch.equal(a, c)  # norms begin at 1, biases at 0


def test_a_kill_while_pruning_leaves_no_half_checkpoint(
    digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: what is being removed no longer has a checkpoint's name."""
    made = trainer(digits)
    for step in (1, 2, 3):
        made.step = step
        made.save(tmp_path)
    monkeypatch.setattr("shutil.rmtree", lambda *a, **k: None)  # killed before it began
    prune(tmp_path, keep=1)
    assert [saved.step for saved in checkpoints(tmp_path)] == [3]
    assert len(list(tmp_path.glob(".tmp-*"))) == 2


def test_uneven_shares_weigh_every_image_alike(digits: Cache) -> None:
    """X16: the mean of two processes' gradients is the whole batch's, 9 and 8 images of 17."""
    config = SMALL.model_copy(update={"optimiser": Optimiser(batch=17)})
    gradients = []
    for processes in (1, 2):
        total = 0.0
        for rank in range(processes):
            made = Trainer(config, plan(micro_batch=17), digits, Accelerator())
            made.learner.eval()
            made.batches = Batches(
                Pictures(digits.subset("train"), config.data, made.accelerator.device),
                size=17,
                seed=0,
                rank=rank,
                processes=processes,
            )
            made.processes = processes
            made._backward(Turn("denoiser"))
            grads = torch.cat([p.grad.flatten() for p in made.learner.parameters()])
            total = total + grads / processes
        gradients.append(total)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-5


def test_a_time_for_hardly_any_steps_is_told_of_with_one_that_is_enough() -> None:
    """X5: with that there are a hundred; whoever gives a number of steps has meant it."""
    costs = Costs(spent=2, step=0.5, validation=0, preview=0, checkpoint=0)
    short = Budget.parse("10s")
    told = few_told(short, costs, plan_steps(short, costs, 64, 1000, Watch()))
    assert "in 16 steps" in told
    assert "for 100 give --budget 52s," in told
    assert plan_steps(Budget.parse("52s"), costs, 64, 1000, Watch()) == 100
    assert few_told(Budget.parse("50s"), costs, 100) == ""
    assert few_told(Budget.parse("20steps"), costs, 20) == ""
