"""Whole runs: repeatable, and refused where they can't be right."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from safelight.config import Config, Sampling
from safelight.data.cache import Cache
from safelight.diffusion.path import PATHS, make_path
from safelight.errors import DamagedFile, NonFiniteLoss, UserError
from safelight.machine import device
from safelight.samplers.steps import State
from safelight.training.checkpoint import checkpoints
from safelight.training.diffusion import shortfall
from safelight.training.options import with_other_processes
from safelight.training.run import Run
from safelight.training.source import DiffusionSource
from safelight.training.train import train
from safelight.training.trainer import Trainer
from tests.training.conftest import SELDOM, SMALL
from tests.training.stopping import weights_hash


def with_optimiser(**changes: object) -> Config:
    return SMALL.model_copy(update={"optimiser": SMALL.optimiser.model_copy(update=changes)})


@pytest.mark.usefixtures("cpu")
def test_a_seed_makes_a_run_repeatable(digits: Cache, tmp_path: Path) -> None:
    """B7"""
    one, two = (train(digits, SMALL, tmp_path / name) for name in ("one", "two"))
    assert weights_hash(one) == weights_hash(two)
    other = train(digits, SMALL.model_copy(update={"seed": 1}), tmp_path / "other")
    assert weights_hash(one) != weights_hash(other)


def test_what_a_run_leaves(digits: Cache, out: Path) -> None:
    """C3, K11: records, previews, checkpoints; and nothing half-written."""
    run = train(digits, SMALL, out)
    assert run.summary.finished
    assert run.summary.images_seen == 12 * 16
    assert [r["step"] for r in run.records("train")] == list(range(1, 13))
    validations = [(r["step"], r["weights"]) for r in run.records("validation")]
    assert validations == [(6, "ema"), (6, "raw"), (12, "ema"), (12, "raw")]
    assert [step for step, _ in run.previews()] == [0, 12]
    assert [saved.step for saved in checkpoints(run.checkpoint_folder)] == [4, 8, 12]
    assert not list(out.rglob(".tmp-*"))
    assert not [p for p in out.rglob("*") if p.suffix in (".pt", ".pkl", ".bin")]
    again = train(digits, SMALL, out)  # finished: nothing to do
    assert again.checkpoint().step == 12


def test_training_learns(digits: Cache, out: Path) -> None:
    """K3, C3: the held-out loss falls well below that of knowing nothing, which is 1; L2."""
    config = with_optimiser(lr=3e-3, batch=64).model_copy(
        update={
            "budget": "100steps",
            "net": SMALL.net.model_copy(update={"widths": (16, 32)}),
            "watch": SELDOM,
        }
    )
    run = train(digits, config, out)
    ema, raw = run.records("validation")[-2:]
    assert ema["mean"] < 0.7
    assert ema["mean"] < raw["mean"] * 1.02  # F8: the average must not harm


def test_images_depend_on_their_own_seed_alone(digits: Cache, out: Path) -> None:
    """B7: image 17 alone and in a batch, to within one of 256 levels."""
    source = train(digits, SMALL, out).source(Sampling(steps=6))
    together = source.images(range(10, 42))
    alone = source.images([17])[0]
    assert (together[7].int() - alone.int()).abs().max() <= 1
    assert not torch.equal(together[6], together[7])
    forced = source.images([17], torch.tensor([3]))
    assert not torch.equal(forced[0], alone)  # its class is 17 modulo 10 = 7 otherwise


@pytest.mark.parametrize(
    "sampling", [Sampling(sampler="ddim", steps=4), Sampling(sampler="ddpm", steps=4, guidance=2.0)]
)
def test_samplers_draw_from_a_run(sampling: Sampling, digits: Cache, out: Path) -> None:
    """F4, K3 (algorithm 2), C4: the last state is the image, the first is noise."""
    source = train(digits, SMALL, out).source(sampling)
    levels, states, guesses = source.develop([0, 1], None, frames=5)
    assert torch.equal(states[-1], source.images([0, 1]))
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == 0
    assert guesses.shape == states.shape


def test_the_way_is_not_kept(digits: Cache, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L3: drawing images holds one state at a time, however many the sampler's steps."""
    source = train(digits, SMALL, out).source(Sampling(sampler="ddpm", steps=30))
    alive: list[weakref.ref[torch.Tensor]] = []
    states, most = DiffusionSource._states, 0

    def watched(*arguments: object) -> Iterator[State]:
        nonlocal most
        for state in states(*arguments):
            alive.append(weakref.ref(state.x))
            most = max(most, sum(kept() is not None for kept in alive))
            yield state

    monkeypatch.setattr(DiffusionSource, "_states", watched)
    source.images([0])
    assert len(alive) == 31
    assert most <= 3
    alive.clear()
    most = 0
    source.develop([0], None, frames=5)
    assert most <= 5 + 3


def test_images_that_are_no_numbers_are_refused(digits: Cache, out: Path) -> None:
    run = train(digits, SMALL, out)
    source = run.source()
    torch.nn.init.constant_(next(source._denoiser.parameters()), torch.nan)
    with pytest.raises(UserError, match="no finite numbers; take an earlier --checkpoint"):
        source.images([0])


def test_pictures_may_move(digits: Cache, out: Path, tmp_path: Path) -> None:
    """The run says that they are gone and how to tell it where they are."""
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(digits.path, first)
    run = train(Cache.open(first), SMALL, out)
    first.rename(second)
    with pytest.raises(UserError, match="no longer at .*train PLACE --resume"):
        run.cache()
    assert train(Cache.open(second), SMALL, out).cache().path == second


def test_a_file_is_no_run_folder(digits: Cache, out: Path) -> None:
    out.write_text("notes")
    with pytest.raises(
        UserError, match="a file stands where a folder is needed; choose another place"
    ):
        train(digits, SMALL, out)


def test_odd_widths_are_possible(digits: Cache, out: Path) -> None:
    """F3, F9: widths that 64 does not divide, and an odd one."""
    net = SMALL.net.model_copy(update={"widths": (9, 200), "attention": (4,)})
    assert train(digits, SMALL.model_copy(update={"net": net}), out).summary.finished


def test_saved_states_can_be_sampled(digits: Cache, out: Path) -> None:
    """L9: any checkpoint, averaged or raw."""
    run = train(digits, SMALL, out)
    x, t = torch.randn(1, 1, 8, 8, device=device()), torch.tensor([0.01], device=device())
    guesses = [
        run.denoiser(name, weights)(x, t)
        for name in ("4", "step-00000012")
        for weights in ("ema", "raw")
    ]
    for i, one in enumerate(guesses):
        assert all(not torch.equal(one, other) for other in guesses[i + 1 :])
    with pytest.raises(UserError, match="no checkpoint '5'; choose one of: 4, 8, 12"):
        run.source(checkpoint="5")


def test_another_run_is_not_overwritten(digits: Cache, out: Path) -> None:
    train(digits, SMALL, out)
    with pytest.raises(UserError, match=r"holds another run \(optimiser.lr is 0.001 there"):
        train(digits, with_optimiser(lr=0.5), out)


def test_a_full_folder_is_not_overwritten(digits: Cache, out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds no run; choose another folder"):
        train(digits, SMALL, out)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_nan_stops_the_run_and_keeps_the_last_checkpoint(
    digits: Cache, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Says at which step and noise level; nothing of that step is kept."""
    advance = Trainer.advance

    def poisoned(self: Trainer) -> float:
        if self.step == 6 and self.plan.steps == 12:
            with torch.no_grad():
                next(self.learner.parameters()).fill_(torch.nan)
        return advance(self)

    monkeypatch.setattr(Trainer, "advance", poisoned)
    with pytest.raises(NonFiniteLoss, match=r"noise level \d.*step 7"):
        train(digits, SMALL, out)
    assert [saved.step for saved in checkpoints(out / "checkpoints")] == [4]


def test_a_huge_learning_rate_is_no_silent_success(digits: Cache, out: Path) -> None:
    with pytest.raises(NonFiniteLoss, match="try a smaller --optimiser.lr"):
        train(digits, with_optimiser(lr=1e30, warmup=0), out)


def test_changed_pictures_are_noticed(digits: Cache, out: Path, tmp_path: Path) -> None:
    from safelight.data.prepare import prepare

    train(digits, SMALL, out)
    other = prepare("digits", out=tmp_path / "other", split="60/10/30")
    with pytest.raises(UserError, match="another run .the training images"):
        train(other, SMALL, out)


def test_damaged_configurations_are_refused(digits: Cache, out: Path) -> None:
    train(digits, SMALL, out)
    file = out / "config.yaml"
    good = file.read_text()
    file.write_text(good.replace("format: 2", "format: 9"))
    with pytest.raises(DamagedFile, match="newer version .format 9"):
        Run.open(out)
    file.write_text(good.replace("batch: 16", "batch: many"))
    with pytest.raises(DamagedFile, match=r"config.optimiser.batch: .*\(got 'many'\)"):
        Run.open(out)
    file.write_text(good[:200])
    with pytest.raises(DamagedFile, match="config.yaml.*restore it from a copy"):
        Run.open(out)


def test_memory_that_is_asked_for_splits_the_batch(digits: Cache, out: Path) -> None:
    """X5, L3: --memory 2MB leaves room for a few images at a time; the run says so."""
    run = train(digits, SMALL.model_copy(update={"memory": "2MB"}), out)
    assert 1 <= run.plan.micro_batch < 16
    assert run.summary.finished


def test_it_is_said_what_other_processes_change() -> None:
    """X16: noise is each image's own; what acts on all images of a process is not the same."""
    exact = SMALL.model_copy(update={"net": SMALL.net.model_copy(update={"dropout": 0.0})})
    assert with_other_processes(exact) == "the last bits of the weights will differ"
    pairing = SMALL.diffusion.model_copy(update={"pairing": "optimal", "objective": "mmd"})
    said = with_other_processes(SMALL.model_copy(update={"diffusion": pairing}))
    assert said.startswith("the weights will be others, as good: ")
    assert all(part in said for part in ("dropout", "the pairing", "the discrepancy"))


def test_a_folder_in_which_nothing_came_about_goes_again(digits: Cache, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give a time such as"):
        train(digits, SMALL.model_copy(update={"budget": "0s"}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_does_not_end_in_noise_is_told_so(
    digits: Cache, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C7, B4: DDPM's betas over 200 steps instead of 1,000 leave a third of the image."""
    for name in PATHS.keys() - {"table"}:
        assert shortfall(make_path(name)) == ""
    betas = tuple(torch.linspace(1e-4, 0.02, 200).tolist())
    options = SMALL.diffusion.model_copy(update={"path": "table", "betas": betas})
    train(digits, SMALL.model_copy(update={"diffusion": options}), out)
    assert "this path ends at a noise level of 2.6, where much of" in capsys.readouterr().err
