"""The one loop that trains every family."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from safelight.console import Advance, inform, progress
from safelight.errors import UserError
from safelight.training import checkpoint as checkpoints
from safelight.training import snapshots
from safelight.training.optimisers import learning_rate
from safelight.training.run import Run
from safelight.training.shortage import between_steps
from safelight.training.step_times import Recorder, StepTimes
from safelight.training.trainer import Trainer

RECORDS = 500  # of the training loss, in a run
Profiled = Callable[[StepTimes, Run], None]


def fit(trainer: Trainer, run: Run, profiled: Profiled | None = None) -> None:
    """Train to the end of the plan, from wherever the trainer stands.

    Ctrl-C finishes the step, saves, and raises KeyboardInterrupt.

    profiled: told where the time of a step goes, once some steps have been looked at; raises
    UserError where none is left for it.
    """
    plan, main = trainer.plan, trainer.accelerator.is_main_process
    record = _Record(trainer, run, every=max(1, plan.steps // RECORDS))
    if profiled is not None and trainer.step == plan.steps:
        raise UserError(
            f"{run.path} has no step left to profile; train on from its weights: "
            f"{run.further(run.config.budget)} --profile"
        )
    steps = _Steps(trainer, profiled if main else None)
    kept_after = snapshots.planned(plan.steps) if len(trainer.averages) > 1 else frozenset()
    if main and trainer.judge is not None and trainer.step < plan.steps:
        trainer.judge.prepare(trainer.family.preview(run, trainer.average.module))
    with between_steps(), _interruptions() as interrupted, _bar(trainer, main) as advance:
        if main and trainer.step == 0:
            trainer.preview(run)
        clock = _Clock(trainer)
        while trainer.step < plan.steps:
            began = time.monotonic()
            losses = steps.take()
            if main and trainer.plan != run.plan:  # memory ran out
                run.replan(trainer.plan)
            record.add(losses, time.monotonic() - began)
            clock.tick()
            finished = trainer.step == plan.steps
            stopping = trainer.any_process(interrupted()) and not finished
            if main:
                _look(trainer, run, finished)
                clock.tick()
                if trainer.step in kept_after:  # before a checkpoint, from which it is never redone
                    trainer.keep(run.averages_folder)
                if finished or stopping or trainer.step % plan.checkpoint_every == 0:
                    record.flush()
                    trainer.save(run.checkpoint_folder)
                    checkpoints.prune(run.checkpoint_folder, trainer.config.watch.keep)
            steps.look(run, stopping)  # all that it could lose is saved
            advance(1, record.note)
            if stopping:
                raise KeyboardInterrupt(
                    f"stopped at step {trainer.step} of {plan.steps}, which is saved; "
                    f"go on with: {run.command}"
                )


def _look(trainer: Trainer, run: Run, finished: bool) -> None:
    if finished or trainer.step % trainer.plan.validate_every == 0:
        trainer.validate(run)
        if (wrong := run.warning()) and not run.warning(-1):  # once, not at every look
            inform(wrong)
    if finished or trainer.step % trainer.plan.preview_every == 0:
        trainer.preview(run)
    every = trainer.config.watch.evaluate_every
    if every and (finished or trainer.step % every == 0):
        trainer.evaluate(run)


class _Steps:
    """Takes the trainer's steps, and looks at some of them where somebody is to be told."""

    def __init__(self, trainer: Trainer, profiled: Profiled | None) -> None:
        self._trainer, self._profiled = trainer, profiled
        self._recorder: Recorder | None = None
        if profiled is not None:
            left = trainer.plan.steps - trainer.step
            self._recorder = Recorder(trainer.step, left, trainer.accelerator.device)

    def take(self) -> dict[str, float]:
        advance = self._trainer.advance
        return advance() if self._recorder is None else self._recorder.take(advance)

    def look(self, run: Run, stopping: bool) -> None:
        """At the step that was taken; tells once, when all is seen or the run is stopped."""
        if self._recorder is None or self._profiled is None:
            return
        if self._recorder.look() or stopping:
            if found := self._recorder.found():
                self._profiled(found, run)
            self._recorder = None


class _Clock:
    """Adds the time that passes to the trainer's."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._last = trainer, time.monotonic()

    def tick(self) -> None:
        now = time.monotonic()
        self._trainer.seconds += now - self._last
        self._last = now


class _Record:
    """The training loss, averaged over the steps since it was last written down."""

    def __init__(self, trainer: Trainer, run: Run, every: int) -> None:
        self._trainer, self._run, self._every = trainer, run, every
        self._losses: list[dict[str, float]] = []
        self._seconds = 0.0
        self.note = ""

    def add(self, losses: dict[str, float], seconds: float) -> None:
        self._losses.append(losses)
        self._seconds += seconds
        if len(self._losses) >= self._every:
            self.flush()

    def flush(self) -> None:
        trainer = self._trainer
        if not self._losses or not trainer.accelerator.is_main_process:
            return
        options = trainer.config.optimiser
        means = {
            name: sum(losses[phase] for losses in self._losses) / len(self._losses)
            for phase, name in loss_names(trainer.learner.phases).items()
        }
        values = {
            **means,
            "images_per_second": len(self._losses) * options.batch / self._seconds,
            "lr": learning_rate(options, trainer.step - 1, trainer.plan.steps),
        }
        self._run.append("train", **trainer.where(), **values)
        trainer.accelerator.log(values, step=trainer.step)
        said = ", ".join(f"{name} {value:.4g}" for name, value in means.items())
        self.note = f"{said}, {values['images_per_second']:,.0f} images/s"
        self._losses, self._seconds = [], 0.0


def loss_names(phases: Sequence[str]) -> dict[str, str]:
    """How the loss of each phase is called: by its phase, where there are several."""
    return {phase: "loss" if len(phases) == 1 else f"{phase} loss" for phase in phases}


@contextlib.contextmanager
def _bar(trainer: Trainer, shown: bool) -> Iterator[Advance]:
    if not shown:
        yield lambda count=1, note="": None
        return
    with progress("training", trainer.plan.steps, trainer.step) as advance:
        yield advance


@contextlib.contextmanager
def _interruptions() -> Iterator[Callable[[], bool]]:
    """Say whether Ctrl-C or a polite kill has come; a second Ctrl-C is not waited for."""
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt("stopped at once; the same command goes on from the last save")
        came = True

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        before = {}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
