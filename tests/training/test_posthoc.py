"""Averages of other widths, made after training, against closed forms and averages that were kept.

The error of an average that is made is measured against its distance from the last weights: against
its own norm it would be a hundred times as small, since all of them are nearly the same weights.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from safelight import edit, evaluate, export_images, sample
from safelight.config import Sampling
from safelight.data.cache import Cache
from safelight.editing.tasks import Invert
from safelight.errors import DamagedFile, UserError
from safelight.evaluation import store
from safelight.evaluation.network import Network
from safelight.files import TEMPORARY, write_json
from safelight.images import ImageSource
from safelight.training import snapshots
from safelight.training.checkpoint import checkpoints
from safelight.training.choosing import MOST
from safelight.training.ema import WIDE, PowerAverage, exponent, kept
from safelight.training.posthoc import Kept, Mixture, mixtures
from safelight.training.run import Run
from safelight.training.train import train
from safelight.training.trainer import Trainer
from tests.refusals import refused
from tests.training import test_gan
from tests.training.conftest import SELDOM, SMALL, coding
from tests.training.stopping import snapshots_hash, train_and_stop_at_seven

QUICK = Sampling(steps=2, guidance=1.0)
RANGE = np.geomspace(0.02, WIDE, 30).tolist()  # of the widths that a finished run can have
LEARNING = SMALL.model_copy(update={"budget": "300steps", "watch": SELDOM})
STEADY = LEARNING.model_copy(
    update={"optimiser": LEARNING.optimiser.model_copy(update={"decay": "none"})}
)


def shares(width: float, step: int, steps: int) -> np.ndarray:
    """Of the weights of steps 1..steps in the average after `step`, eq. (8) unrolled; its sum is 1.

    Unrolled anew: beta_s of step s, times all that later steps leave of it.
    """
    move = 1 - (1 - 1 / np.arange(1, step + 1)) ** (exponent(width) + 1)
    left = np.append(np.cumprod(1 - move[:0:-1])[::-1], 1.0)
    return np.append(move * left, np.zeros(steps - step))


def basis(steps: int) -> list[Kept]:
    """What a run of so many steps keeps."""
    at = sorted({*snapshots.planned(steps), steps})
    return [Kept(width, step) for step in at for width in kept(0.05).values()]


def made(mixture: Mixture, held: list[Kept], weights: np.ndarray) -> np.ndarray:
    """The average that the mixture gives of weights (steps, d)."""
    steps = len(weights)
    return sum(
        x * shares(*average, steps) @ weights
        for x, average in zip(mixture.shares, held, strict=True)
    )


@pytest.mark.parametrize("steps", [1, 12, 300, 20_000])
def test_every_width_is_within_a_hundredth(steps: int) -> None:
    """X7: of weights that walk at random, by their memories summed up anew."""
    held = basis(steps)
    assert len(held) <= 2 * 16
    parts = np.array([shares(*average, steps) for average in held])
    for width, found in zip(RANGE, mixtures(held, RANGE, steps), strict=True):
        target = shares(width, steps, steps)
        apart = (np.array(found.shares) @ parts - target).cumsum()[:-1]
        assert np.linalg.norm(apart) <= MOST * np.linalg.norm(target.cumsum()[:-1])
        assert found.error <= MOST
        assert sum(found.shares) == pytest.approx(1, abs=1e-9)
        assert np.linalg.norm(found.shares) < 12  # so much of their rounding is in it


def test_fewer_snapshots_are_not_enough() -> None:
    """X7: so that the number of them is no accident."""
    held = [average for average in basis(20_000) if average.step < 18_000 or average.step == 20_000]
    found = dict(zip(RANGE, mixtures(held, RANGE, 20_000), strict=True))
    assert found[RANGE[0]].error > 0.05
    assert found[RANGE[-1]].error < 1e-3  # which is kept


def test_weights_that_are_known_functions_of_the_step() -> None:
    """X7: constants exactly, straight lines and parabolas nearly, against sums in closed form."""
    steps, held = 3000, basis(3000)
    s = np.arange(1, steps + 1) / steps
    weights = np.stack([np.ones(steps), s, s**2], axis=1)
    for width, found in zip(RANGE, mixtures(held, RANGE, steps), strict=True):
        gamma = exponent(width)
        one, line, parabola = made(found, held, weights)
        assert one == pytest.approx(1, abs=1e-9)
        # of a long training: the moments (gamma + 1) / (gamma + k + 1) of the power function
        assert line == pytest.approx((gamma + 1) / (gamma + 2), abs=1e-3)
        assert parabola == pytest.approx((gamma + 1) / (gamma + 3), abs=1e-3)
        exact = shares(width, steps, steps) @ weights
        distance = np.linalg.norm(exact - weights[-1])
        assert np.linalg.norm([one, line, parabola] - exact) < 3e-3 * distance


def test_the_error_that_is_told_is_that_of_a_random_walk() -> None:
    """X7: of 2,000 weights that walk at random, with too few snapshots for a small error."""
    steps = 1000
    held = [Kept(width, step) for step in (400, 800, steps) for width in kept(0.05).values()]
    weights = np.random.default_rng(3).normal(size=(steps, 2000)).cumsum(axis=0)
    for width, found in zip(RANGE[::6], mixtures(held, RANGE[::6], steps), strict=True):
        exact = shares(width, steps, steps) @ weights
        error = np.linalg.norm(made(found, held, weights) - exact)
        assert error == pytest.approx(
            found.error * np.linalg.norm(exact - weights[-1]), rel=0.1, abs=1e-6
        )
    assert mixtures(held, [0.02], steps)[0].error > 0.2


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    parts = [(one[n].double() - other[n].double()).norm() for n in one]
    return float(torch.stack(parts).norm())


def keeping(monkeypatch: pytest.MonkeyPatch, widths: Sequence[float]) -> dict[float, PowerAverage]:
    """Averages of these widths too, kept directly in the next training."""
    held: dict[float, PowerAverage] = {}
    advance = Trainer.advance

    def more(self: Trainer) -> dict[str, float]:
        if self.step == 0:
            held.update({width: PowerAverage(self.learner.model, width) for width in widths})
        losses = advance(self)
        for average in held.values():
            average.update(self.learner.model, self.step)
        return losses

    monkeypatch.setattr(Trainer, "advance", more)
    return held


TRAININGS = {
    "diffusion": (LEARNING, (0.03, 0.07, 0.15, 0.2)),
    # At a rate that has fallen to zero 0.02 is within 1e-5 of the last weights, as float32 rounds.
    "steady": (STEADY, (0.02, 0.03, 0.07, 0.15, 0.2)),
    "gan": (test_gan.config(budget="60steps", watch=SELDOM), (0.03, 0.1)),
    "autoencoder": (coding(budget="60steps", watch=SELDOM), (0.03, 0.1)),
}


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("name", TRAININGS)
def test_averages_that_were_kept_are_met(
    name: str, digits: Cache, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7, F8: in a real training, of every family, to within 1 % of the distance from the last
    weights; counts of batches are those of the last step."""
    config, widths = TRAININGS[name]
    held = keeping(monkeypatch, widths)
    run = train(digits, config, out)
    last = run.checkpoint().weights("raw")
    for width, average in held.items():
        found = run.model(run.checkpoint(), str(width))[0].state_dict()
        exact = average.weights
        assert found.keys() == exact.keys()
        assert distance(found, exact) < 0.01 * distance(exact, last)
        whole = [n for n, value in exact.items() if not value.is_floating_point()]
        assert all(torch.equal(found[n], exact[n]) for n in whole)


@pytest.mark.usefixtures("cpu")
def test_snapshots_of_a_stopped_run_are_the_same_bits(
    digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6, X7: killed after a snapshot and before its checkpoint, with half of another left behind;
    test_stopping kills processes."""
    straight = train(digits, SMALL, tmp_path / "straight")
    assert set(snapshots.found(straight.averages_folder)) == snapshots.planned(12)
    out = tmp_path / "stopped"
    train_and_stop_at_seven(digits, SMALL, out, monkeypatch)
    run = Run.open(out)
    later = run.averages_folder / "step-00000009.safetensors"
    later.write_bytes(b"of a training that went on, and is forgotten")
    half = run.averages_folder / f"{TEMPORARY}half"
    half.write_bytes(b"")
    resumed = train(digits, SMALL, out)
    assert not half.exists()
    assert snapshots_hash(resumed) == snapshots_hash(straight)


@pytest.fixture(scope="module")
def finished(digits: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(digits, SMALL, tmp_path_factory.mktemp("finished") / "run")


def test_kept_averages_are_taken_as_they_are(finished: Run) -> None:
    """X7: the usual one has one name, whatever it is called; the wide one is read as it is."""
    usual = finished.source(QUICK)
    assert finished.source(QUICK, weights="0.05").fingerprint == usual.fingerprint
    assert finished.source(QUICK, weights="0.050").trained == usual.trained
    wide = finished.model(finished.checkpoint(), "0.25")[0].state_dict()
    held = finished.checkpoint().weights("ema-0.250")
    assert all(torch.equal(wide[name], held[name]) for name in wide)


def test_what_is_drawn_says_with_which_weights(finished: Run, tmp_path: Path) -> None:
    """X7: in `sample`, `export-images`, `edit` and the identities of their results."""
    words = ("ema", "0.1", "0.15", "raw")
    sources = [finished.source(QUICK, weights=word) for word in words]
    assert len({source.fingerprint for source in sources}) == len(words)
    assert [s.name for s in sources] == [
        f"run (step 12, {said})" for said in ("ema", "ema 0.1", "ema 0.15", "raw")
    ]
    drawn = sample(finished.path, n=1, sampling=QUICK, weights="0.1", out=tmp_path / "drawn")
    assert json.loads((drawn / "sample.json").read_text())["run"] == "run (step 12, ema 0.1)"
    sent = export_images(finished.path, out=tmp_path / "s", n=1, sampling=QUICK, weights="0.1")
    assert json.loads((sent / "export.json").read_text())["source"] == "run (step 12, ema 0.1)"
    edited = edit(
        finished.path,
        f"{finished.file.cache}:test",
        Invert(),
        n=1,
        sampling=Sampling(steps=2),
        weights="0.1",
        out=tmp_path / "edited",
    )
    assert json.loads((edited / "edit.json").read_text())["run"] == "run (step 12, ema 0.1)"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("big", "--weights big is none of ema, raw or the width of an average, which lies above 0"),
        ("0", "--weights 0 is none of"),
        ("-0.1", "--weights -0.1 is none of"),
        ("nan", "--weights nan is none of"),
        ("0.26", "and is at most 0.25, such as 0.1"),
        ("0.05,0.1", "--weights 0.05,0.1 is none of"),
        (
            "0.001",
            "the average of width 0.001 can't be made at .*000012: the snapshots of 10 earlier",
        ),
    ],
)
def test_weights_that_are_refused(
    word: str, said: str, finished: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """X7: in a line, with status 2, and with what can be had."""
    line = refused(capsys, "sample", finished.path, f"--weights={word}", "--steps", 2)
    assert re.search(said, line), line
    evaluated = refused(capsys, "evaluate", finished.path, f"--weights={word},")
    assert "none of ema" in evaluated or "can't be made" in evaluated


@pytest.mark.parametrize("lost", [1, 4, 13])
def test_what_can_be_had_is_told_and_can_be_had(lost: int, finished: Run, tmp_path: Path) -> None:
    """X7: of the widths that are named each can be drawn with, where the newest snapshots are lost;
    those that are kept where too many or all are."""
    run = Run.open(shutil.copytree(finished.path, tmp_path / "run"))
    snapshots.forget(run.averages_folder, 12 - lost)
    with pytest.raises(UserError, match="choose --weights (.*) or raw$") as refusal:
        run.source(QUICK, weights="0.001")
    words = str(refusal.value).partition("choose --weights ")[2].removesuffix(" or raw").split(", ")
    assert {"0.05", "0.25"} <= set(words)
    assert (len(words) > 2) == (lost == 1)
    for word in words:
        run.source(QUICK, weights=word)
    with pytest.raises(UserError, match="can't be made"):
        run.source(QUICK, weights="0.1" if lost == 13 else "0.001")


def test_a_damaged_snapshot_is_told(finished: Run, tmp_path: Path) -> None:
    """X7: cut short, it is named; deleted, the others do where they can."""
    run = Run.open(shutil.copytree(finished.path, tmp_path / "run"))
    first = sorted(run.averages_folder.iterdir())[0]
    first.write_bytes(first.read_bytes()[:100])
    with pytest.raises(DamagedFile, match=f"{first.name} is missing or damaged; delete it"):
        run.source(QUICK, weights="0.1")
    first.unlink()
    assert run.source(QUICK, weights="0.1").fingerprint


def older(run: Run) -> None:
    """As an earlier version left it: with one average, and no snapshots."""
    shutil.rmtree(run.averages_folder)
    for saved in checkpoints(run.checkpoint_folder):
        (saved.path / f"ema-{WIDE:.3f}.safetensors").unlink()
        state = json.loads((saved.path / "state.json").read_text())
        del state["files"][f"ema-{WIDE:.3f}.safetensors"]
        write_json(saved.path / "state.json", state)


@pytest.mark.usefixtures("cpu")
def test_runs_of_earlier_versions(
    digits: Cache, finished: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X7, X6: they go on to the weights that they would have had, have their own average, and say
    why there is no other."""
    train_and_stop_at_seven(digits, SMALL, out, monkeypatch)
    older(Run.open(out))
    run = train(digits, SMALL, out)
    newest, whole = run.checkpoint(), finished.checkpoint()
    for kind in ("raw", "ema"):
        assert newest.state().digest(kind) == whole.state().digest(kind)
    assert not run.averages_folder.exists()
    assert run.source(QUICK).fingerprint == finished.source(QUICK).fingerprint
    for word in ("0.1", "0.25"):
        with pytest.raises(UserError, match=r"earlier version kept one average.*0\.05 or raw"):
            run.source(QUICK, weights=word)


def test_a_sweep_is_set_side_by_side(
    finished: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """X7, X9: each width by the same seeds and the same real features, a table, the best of them
    and the command that draws with it."""
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path / "kept"))
    looked: Counter[str] = Counter()
    extract = store.extract

    def counted(network: Network, images: Tensor, source: ImageSource) -> Tensor:
        looked[source.name] += len(images)
        return extract(network, images, source)

    monkeypatch.setattr(store, "extract", counted)
    words, file = ["0.1", "ema", "0.2", "raw"], tmp_path / "sweep.json"
    evaluate(
        finished.path,
        features="pixels",
        metrics=("kid",),
        n=20,
        sampling=QUICK,
        weights=",".join([*words, "0.10"]),
        json=file,
    )
    found = json.loads(file.read_text())
    assert [each["trained"]["weights"] for each in found] == words
    assert len({json.dumps(each["estimates"][0]["protocol"]) for each in found}) == 1
    values = {each["trained"]["weights"]: each["estimates"][0]["value"] for each in found}
    assert len(set(values.values())) == len(words)
    assert looked["digits:test"] <= finished.cache().subset("test").count  # each once for all
    best = min(values, key=values.__getitem__)
    last = capsys.readouterr().out.splitlines()[-1]
    assert "told from" in last
    assert last.endswith(f"safelight sample {finished.path} --checkpoint 12 --weights {best}")
    assert len(Run.open(finished.path).evaluations()) == len(words)
