"""Numbers on the way: they change nothing, are there once, and are those that `evaluate` finds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import safelight
from safelight.config import Autoencoder, Config, Diffusion, Optimiser, Sampling, Watch
from safelight.data.cache import Cache
from safelight.evaluation.estimate import Estimate, Evaluation
from safelight.reporting.collect import collect
from safelight.reporting.page import page
from safelight.starting import judge_of
from safelight.training.run import Run
from safelight.training.train import train
from safelight.training.trainer import Trainer
from tests.refusals import refused
from tests.training import test_gan
from tests.training.conftest import SMALL
from tests.training.stopping import train_and_stop_at_seven, weights_hash

EVALUATE = {"evaluate_every": 5, "evaluate_images": 20, "evaluate_features": "pixels"}


def watched(config: Config, **changes: Any) -> Config:
    watch = config.watch.model_copy(update={**EVALUATE, **changes})
    return config.model_copy(update={"watch": watch})


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are computed, and not found from another time."""
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path / "kept"))


def points(run: Run) -> list[tuple[int, tuple[Estimate, ...]]]:
    records = run.records("evaluation")
    return [(r["step"], Evaluation.from_json(r).estimates) for r in records]


FAMILIES = {"diffusion": SMALL, "gan": test_gan.config()}


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("family", FAMILIES)
def test_evaluations_change_no_bit_and_none_is_lost_or_doubled(
    family: str, digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3, X6: with and without them, stopped and resumed: the same weights, the same curve."""
    config = watched(FAMILIES[family])
    plain = train(digits, FAMILIES[family], tmp_path / "plain")
    straight = train(digits, config, tmp_path / "straight", judge_of(digits, config.watch))
    assert weights_hash(straight) == weights_hash(plain)
    assert [step for step, _ in points(straight)] == [5, 10, 12]
    out = tmp_path / "stopped"
    judge = judge_of(digits, config.watch)
    train_and_stop_at_seven(digits, config, out, monkeypatch, judge)
    resumed = train(digits, config, out, judge_of(digits, config.watch))
    assert weights_hash(resumed) == weights_hash(straight)
    assert points(resumed) == points(straight)


@pytest.mark.usefixtures("cpu")
def test_an_evaluation_without_its_checkpoint_is_taken_again(
    digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: as if killed between the two."""
    config = watched(SMALL, checkpoint_every=5)
    straight = train(digits, config, tmp_path / "straight", judge_of(digits, config.watch))
    save, out = Trainer.save, tmp_path / "killed"

    def killed(self: Trainer, folder: Path) -> Any:
        if self.step == 10:
            raise KeyboardInterrupt
        return save(self, folder)

    monkeypatch.setattr(Trainer, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(digits, config, out, judge_of(digits, config.watch))
    assert [step for step, _ in points(Run.open(out))] == [5, 10]
    monkeypatch.setattr(Trainer, "save", save)
    resumed = train(digits, config, out, judge_of(digits, config.watch))
    assert points(resumed) == points(straight)
    assert weights_hash(resumed) == weights_hash(straight)


@pytest.mark.slow
@pytest.mark.usefixtures("cpu")
def test_a_killed_run_has_the_same_curve(digits: Cache, tmp_path: Path) -> None:
    """X6: SIGKILL, wherever it strikes."""
    words = [
        *(sys.executable, "-m", "safelight", "train", str(digits.path), "--budget", "400steps"),
        *("--net.widths", "8", "16", "--net.blocks", "1", "--optimiser.batch", "16"),
        *("--precision", "float32", "--watch.checkpoint-every", "7", "--watch.no-tensorboard"),
        *("--watch.evaluate-every", "10", "--watch.evaluate-features", "pixels"),
        *("--watch.evaluate-images", "80", "--out"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, str(tmp_path / "straight")], check=True, env=environment)
    out, kills = tmp_path / "killed", 0
    for wanted in (3, 12, 25):
        process = subprocess.Popen([*words, str(out)], env=environment)
        while process.poll() is None and _evaluations(out) < wanted:
            time.sleep(0.002)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills == 3
    subprocess.run([*words, str(out)], check=True, env=environment)
    straight, killed = Run.open(tmp_path / "straight"), Run.open(out)
    assert points(killed) == points(straight)
    assert len(points(killed)) == 40
    assert weights_hash(killed) == weights_hash(straight)


def _evaluations(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_text().count('"kind": "evaluation"') if log.exists() else 0


@pytest.fixture(scope="module")
def folder(digits: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module", params=FAMILIES)
def run(request: pytest.FixtureRequest, digits: Cache, folder: Path) -> Run:
    config = watched(FAMILIES[request.param], tensorboard=True, evaluate_images=80)
    return safelight.train(digits, config=config, out=folder / request.param)


def test_evaluate_finds_the_last_point(run: Run, digits: Cache) -> None:
    """C3, F10, X1: the same images, real pictures and protocol, by the command."""
    record = run.records("evaluation")[-1]
    drawn = Sampling.model_validate(record["sampling"]) if record["sampling"] else Sampling()
    found = safelight.evaluate(
        run.path,
        against=f"{digits.path}:validation",
        features="pixels",
        metrics=("kid", "fd"),
        n=80,
        sampling=drawn,
    )
    _, last = points(run)[-1]
    for mine, theirs in zip(last, found.estimates, strict=True):
        assert mine.name == theirs.name
        assert mine.protocol.hash == theirs.protocol.hash
        assert mine.value == pytest.approx(theirs.value, rel=1e-9)
        assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
        assert mine.floor == theirs.floor


def test_the_curve_is_in_tensorboard_and_in_the_report(run: Run) -> None:
    """C3, X14: value and ends of the interval at each step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = {path.parent for path in (run.path / "tensorboard").rglob("events.*")}
    logged = EventAccumulator(str(events)).Reload()
    html = page(collect(run))
    for i, name in enumerate(("KID (pixels)", "FD (pixels)")):
        for what in ("value", "low", "high"):
            curve = [(e.step, e.value) for e in logged.Scalars(f"{name}/{what}")]
            mine = [(step, getattr(e[i], what)) for step, e in points(run)]
            assert [step for step, _ in curve] == [step for step, _ in mine]
            assert [x for _, x in curve] == pytest.approx([x for _, x in mine], rel=1e-6)
        last = points(run)[-1][1][i]
        assert last.floor is not None
        floors = {event.value for event in logged.Scalars(f"{name}/real images")}
        assert [*floors] == [pytest.approx(last.floor.value, rel=1e-6)]
        assert f"<h3>{name} while it learned</h3>" in html
        assert str(last) in html


@pytest.mark.slow
def test_latents_are_judged_by_their_pictures(digits: Cache, tmp_path: Path) -> None:
    """C3: an autoencoder draws none of its own, and a model in its latents does."""
    coder = SMALL.model_copy(
        update={
            "family": "autoencoder",
            "net": Config().net,
            "autoencoder": Autoencoder(channels=3, widths=(8,), blocks=1),
            "optimiser": Optimiser(batch=16),
            "budget": "2steps",
        }
    )
    train(digits, coder, tmp_path / "coder")
    place = str(tmp_path / "coder")
    latent = watched(
        SMALL.model_copy(update={"diffusion": Diffusion(autoencoder=place), "budget": "5steps"})
    )
    run = safelight.train(digits, config=latent, out=tmp_path / "run")
    ((step, (kid,)),) = points(run)
    assert (step, kid.protocol.image, kid.protocol.dimension) == (5, "1x8x8", 64)


def test_only_one_process_evaluates(digits: Cache, tmp_path: Path) -> None:
    """X16: the others wait, and do not get ready either."""
    from accelerate import Accelerator

    from safelight.training.train import _cost_of_evaluation, start_run
    from tests.training.conftest import plan

    class Unasked:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    class Other:
        is_main_process = False

    config = watched(SMALL)
    trainer = Trainer(config, plan(), digits, Accelerator(), judge=Unasked())  # type: ignore[arg-type]
    trainer.accelerator = Other()  # type: ignore[assignment]
    run = start_run(digits, config, plan(), tmp_path)
    assert _cost_of_evaluation(trainer, run) == 0


def test_what_gives_no_curve_is_refused(
    digits: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X2: in one line, before anything is written."""
    out = tmp_path / "run"
    words = ("train", digits.path, "--budget", "6steps", "--out", out)
    cases = {
        ("--watch.evaluate-images", 100): "say how images are measured .*give that too",
        ("--watch.evaluate-features", "pixels"): "say how images are measured .*give that too",
        ("--watch.evaluate-every", 7): "7 is more than the 6 steps of this run, .* such as 1",
        ("--watch.evaluate-every", -1): "--watch.evaluate-every: should be greater than or",
        ("--watch.evaluate-every", 2, "--watch.evaluate-images", 3): "greater than or equal to 4",
        ("--watch.evaluate-every", 2, "--watch.evaluate-images", 10_001): "or equal to 10000",
        ("--watch.evaluate-every", 2, "--watch.evaluate-features", "pixel"): "mean 'pixels'",
        ("--watch.evaluate-every", 2, "--preset", "autoencoder"): "draws no images of its own",
    }
    for options, message in cases.items():
        line = refused(capsys, *words, *options)
        assert re.search(message, line), (options, line)
        assert not out.exists()


def test_a_judge_and_the_wish_for_one_go_together(digits: Cache, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="if and only if"):
        train(digits, watched(SMALL), tmp_path / "run")
    judge = judge_of(digits, Watch(**EVALUATE))
    with pytest.raises(ValueError, match="if and only if"):
        train(digits, SMALL, tmp_path / "run", judge)
