"""Whole runs with every objective: what they remember, what they refuse, and that they learn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from safelight.config import Config, Diffusion, Sampling
from safelight.data.cache import Cache
from safelight.diffusion.objective import OBJECTIVES
from safelight.diffusion.path import diffuse
from safelight.diffusion.times import LossAware
from safelight.diffusion.weights import edm_weight
from safelight.errors import UserError
from safelight.machine import device
from safelight.presets import RECIPES
from safelight.training.checkpoint import EXTRAS
from safelight.training.learner import Turn, extras
from safelight.training.train import train
from safelight.training.trainer import Trainer
from safelight.training.validation import LEVELS
from tests.training.conftest import SMALL, plan
from tests.training.stopping import train_and_stop_at_seven, weights_hash

UNIFORM: dict[str, Any] = {"prediction": "noise", "times": "uniform", "weight": "simple"}
STATEFUL = {  # what a run may have to remember besides its weights
    "importance": Diffusion(**{**UNIFORM, "times": "importance"}, path="cosine", T=4),
    "uncertainty": Diffusion(uncertainty=True),
    "learned schedule": Diffusion(path="learned", prediction="v", objective="bound"),
}
HYBRID = Diffusion(**UNIFORM, path="cosine", objective="hybrid", variance="learned")


def with_diffusion(diffusion: Diffusion, **optimiser: Any) -> Config:
    options = SMALL.optimiser.model_copy(update=optimiser)
    return SMALL.model_copy(update={"diffusion": diffusion, "optimiser": options})


def trainer(cache: Cache, diffusion: Diffusion, **changes: Any) -> Trainer:
    return Trainer(with_diffusion(diffusion), plan(**changes), cache, Accelerator())


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("name", STATEFUL)
def test_what_a_learner_remembers_survives_a_stop(
    name: str, digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6, B8, C7: stopped in the middle and taken up again, a run ends with the same bits."""
    config = with_diffusion(STATEFUL[name])
    straight = train(digits, config, tmp_path / "straight")
    out = tmp_path / "stopped"
    train_and_stop_at_seven(digits, config, out, monkeypatch)
    run = train(digits, config, out)
    assert weights_hash(run) == weights_hash(straight)
    assert (run.checkpoint().path / EXTRAS).exists() == (name != "learned schedule")


def test_a_plain_run_remembers_nothing_more(digits: Cache, tmp_path: Path) -> None:
    saved = trainer(digits, Diffusion()).save(tmp_path)
    assert saved.extras() == {}
    assert EXTRAS not in saved.state().files


def test_the_learned_parts_learn(digits: Cache) -> None:
    """B8, C7: the importance leaves uniformity, the uncertainty zero, the schedule its start."""
    made = {name: trainer(digits, diffusion) for name, diffusion in STATEFUL.items()}
    schedule = [p.clone() for p in made["learned schedule"].learner.model.path.parameters()]
    for one in made.values():
        for _ in range(6):
            one.advance()
    times = made["importance"].learner.times
    assert isinstance(times, LossAware)
    assert int(times.seen.sum()) == 6 * 16
    assert float(times.probabilities().max()) > 1 / 4 + 0.01
    assert made["uncertainty"].learner.uncertainty is not None
    assert made["uncertainty"].learner.uncertainty(torch.zeros(1, device=device())).detach() != 0
    moved = made["learned schedule"].learner.model.path.parameters()
    assert all(not torch.equal(p, q) for p, q in zip(schedule, moved, strict=True))
    average = made["learned schedule"].average.module.path.parameters()
    assert all(not torch.equal(p, q) for p, q in zip(schedule, average, strict=True))


def test_the_history_is_the_same_in_micro_batches(digits: Cache) -> None:
    """X5, B8: losses are remembered after the step, in the order of the batch."""
    histories = []
    for micro in (16, 5):
        made = trainer(digits, STATEFUL["importance"], micro_batch=micro)
        for module in made.learner.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # it draws differently in pieces
        for _ in range(4):
            made.advance()
        histories.append(extras(made.learner))
    one, other = histories
    assert torch.equal(one["times.seen"], other["times.seen"])
    torch.testing.assert_close(one["times.history"], other["times.history"], rtol=1e-3, atol=1e-4)


def test_processes_tell_each_other_what_they_saw(
    digits: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X16: process r has the places r, r + 3, ... of 16; the gathered come in the batch's order."""
    made = trainer(digits, Diffusion())
    every = torch.stack([torch.arange(16.0), -torch.arange(16.0)])
    shares = [every[:, rank::3] for rank in range(3)]

    def gather(mine: Tensor) -> Tensor:
        padded = [torch.nn.functional.pad(s, (0, 6 - s.shape[1])).T for s in shares]
        assert torch.equal(mine, padded[1][None])
        return torch.stack(padded)

    made.processes = 3
    monkeypatch.setattr(made.accelerator, "gather", gather)
    assert torch.equal(made._of_everyone(shares[1]), every)


def test_importance_is_that_of_what_is_learnt(digits: Cache) -> None:
    """B8: eq. (18) of arXiv:2102.09672 of the weighted error; the uncertainty is not in it."""
    importance = STATEFUL["importance"].model_copy(update={"uncertainty": True})
    learner, batches = (made := trainer(digits, importance)).learner.eval(), made.batches
    sure = learner.uncertainty
    assert sure is not None
    found = {}
    for log_error in (0.0, -3.0):
        torch.nn.init.constant_(sure.layers[1].bias, log_error)
        found[log_error] = learner(*next(batches.at(0, 16)), Turn("denoiser"))
    error = found[0.0]["seen"][1]
    torch.testing.assert_close(found[-3.0]["seen"][1], error * math.exp(3))
    torch.testing.assert_close(found[-3.0]["loss"], error * math.exp(3) - 3)


@pytest.mark.parametrize("path", ["flow", "learned"])
def test_the_level_of_a_loss_is_where_the_network_was_asked(path: str, digits: Cache) -> None:
    """Which a bound without steps moves: a loss that is no number is found by it."""
    made = trainer(digits, STATEFUL["learned schedule"].model_copy(update={"path": path}))
    told: list[Tensor] = []
    made.learner.model.net.register_forward_pre_hook(lambda net, given: told.append(given[1]))
    level = made.learner(*next(made.batches.at(0, 16)), Turn("denoiser"))["level"]
    torch.testing.assert_close(told[0].detach(), level.log() / 4, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"objective": "mmd"}, {"pairing": "optimal"}])
def test_a_batch_of_two_is_enough_to_compare(
    options: dict[str, Any], digits: Cache, tmp_path: Path
) -> None:
    """C6, X12: and what memory does not hold at once is refused, not split."""
    config = with_diffusion(Diffusion(**options), batch=2)
    assert train(digits, config, tmp_path / "two").plan.micro_batch == 2
    tight = with_diffusion(Diffusion(**options)).model_copy(update={"memory": "2MB"})
    with pytest.raises(UserError, match="images of a step together.*16 need") as refusal:
        train(digits, tight, tmp_path / "tight")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_lowers_its_loss(objective: str, digits: Cache) -> None:
    """C6, B8, K3"""
    chosen = {
        "hybrid": HYBRID,
        "bound": Diffusion(**UNIFORM, path="cosine", objective="bound", variance="learned"),
    }.get(objective, Diffusion(objective=objective))
    config = with_diffusion(chosen, lr=3e-3, batch=32, decay="none")
    made = Trainer(config, plan(micro_batch=32), digits, Accelerator())
    losses = [made.advance()["denoiser"] for _ in range(40)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


@pytest.mark.parametrize(
    ("steps", "mean", "middle"),
    [(200, 0.85, 0.65), pytest.param(800, 0.7, 0.5, marks=pytest.mark.slow)],
)
def test_mmd_alone_learns_to_denoise(steps: int, mean: float, middle: float, digits: Cache) -> None:
    """C6: the error of denoising falls well below 1, what knowing nothing costs."""
    net = SMALL.net.model_copy(update={"widths": (16, 32), "dropout": 0.0})
    config = with_diffusion(Diffusion(objective="mmd"), lr=4e-3, batch=64, warmup=20)
    config = config.model_copy(update={"net": net})
    made = Trainer(config, plan(steps=steps, micro_batch=64), digits, Accelerator())
    for _ in range(steps):
        made.advance()
    assert made.examiner is not None
    found = made.examiner.look(made.average.module.eval(), 64)
    assert found["mean"] < mean
    assert found["loss"][found["sigma"].index(1.0)] < middle


def test_a_model_with_learned_variance_is_sampled(digits: Cache, out: Path) -> None:
    """B8: by the ancestral sampler with its own variance, and by any other; bits differ."""
    run = train(digits, with_diffusion(HYBRID), out)
    drawn = [
        run.source(Sampling(sampler="ddpm", steps=8, variance=variance)).images([3])
        for variance in ("learned", "small", "large")
    ]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert run.source(Sampling(steps=4)).images([3]).shape == drawn[0].shape
    plain = train(digits, SMALL, out.with_name("plain"))
    with pytest.raises(UserError, match="learned no variance; use --variance small or large"):
        plain.source(Sampling(sampler="ddpm", steps=2, variance="learned")).images([0])


def test_optimal_pairing_changes_the_noise_and_nothing_else(digits: Cache) -> None:
    """X12: the loss of another noise, finite and of the same size."""
    trainers = [trainer(digits, Diffusion(pairing=p)) for p in ("none", "optimal")]
    losses = [made.advance()["denoiser"] for made in trainers]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.3)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (Diffusion(), []),
        (RECIPES["ddpm"].model_copy(update={"T": 100}), [0.02]),
        (
            RECIPES["ddpm"].model_copy(update={"path": "table", "betas": (0.01, 0.3)}),
            [0.02, 0.05, 0.1, 1.0, 2.0, 5.0],
        ),
    ],
)
def test_validation_tells_the_psnr(options: Diffusion, missing: list[float], digits: Cache) -> None:
    """F6: 10 log10(4 / mse) of the guess of x_0 at each noise level of the path, and as curves.

    A level that the path does not have is left out, and said to be.
    """
    made = trainer(digits, options)
    assert made.examiner is not None
    model, held_out = made.average.module.eval(), made.examiner
    found = held_out.look(model, 32)
    assert found["missing"] == missing
    assert sorted([*found["sigma"], *missing]) == list(LEVELS)
    weights = edm_weight(torch.tensor(found["sigma"]), model.sigma_data).tolist()
    for level, psnr, loss, weight in zip(
        found["sigma"], found["psnr"], found["loss"], weights, strict=True
    ):
        t = model.path.time(held_out.images.new_full((len(held_out.images),), level**-2))
        x_t = diffuse(model.path, held_out.images, t, held_out.eps)
        with torch.inference_mode():
            guess = model(x_t, t, held_out.labels)
        mse = float((guess - held_out.images).square().mean())
        assert psnr == pytest.approx(10 * math.log10(4 / mse), abs=0.02)
        assert loss == pytest.approx(weight * mse, rel=5e-3)
    told = held_out.curves("ema", found)
    assert told["validation ema PSNR/sigma 0.5"] == found["psnr"][found["sigma"].index(0.5)]
    assert told["validation ema/sigma 0.5"] == found["loss"][found["sigma"].index(0.5)]
    assert len(told) == 2 * len(found["sigma"])


def test_a_path_without_any_of_the_levels_is_trained_unwatched(digits: Cache, out: Path) -> None:
    far = RECIPES["ddpm"].model_copy(update={"path": "table", "betas": (0.99, 0.999)})
    run = train(digits, with_diffusion(far), out)
    assert run.records("validation") == []
    assert run.summary.finished
