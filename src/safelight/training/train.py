"""`train`: plan a run, or take one up again, and see it through."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from safelight.config import Config, Plan, RunFile
from safelight.console import inform, say
from safelight.data.cache import Cache
from safelight.data.mirror import symmetry
from safelight.errors import UserError
from safelight.files import TEMPORARY, clear_leftovers, disk_errors
from safelight.locks import Lock, locked
from safelight.machine import give_back_memory, keep_memory
from safelight.training.batches import centred
from safelight.training.budget import Budget
from safelight.training.checkpoint import checkpoints
from safelight.training.codec import ABOUT, DEVIATION, FOLDER, Codec
from safelight.training.families import family_of
from safelight.training.further import begin
from safelight.training.latents import Latents, learnt_in
from safelight.training.loop import Profiled, fit
from safelight.training.options import deciding, require_heeded, with_other_processes
from safelight.training.planning import (
    Costs,
    announcement,
    choose_precision,
    evaluations_told,
    few_told,
    footprint,
    intervals,
    measure_sigma_data,
    micro_batch,
    plan_steps,
    require_reached,
    require_time,
)
from safelight.training.run import Run
from safelight.training.trainer import Trainer
from safelight.training.variation import require_fitting
from safelight.training.watching import Judge

WARM_UP_STEPS, WARM_UP_SECONDS = 4, 4.0  # at least so many steps are timed, for so long
Settled = TypeVar("Settled")


def train(
    cache: Cache,
    config: Config,
    out: Path,
    judge: Judge | None = None,
    profiled: Profiled | None = None,
) -> Run:
    """Train on the cache's training split into the folder `out`; go on where a run is there.

    judge: measures images on the way, where the configuration asks for it (`watch.evaluate_every`).
    profiled: told where the time of a step goes, which is looked at for it.

    Raises UserError where `out` holds another run, or something that is no run, or where another
    process is training there; and where no step is left that could be looked at.
    """
    if bool(judge) != bool(config.watch.evaluate_every):
        raise ValueError("a judge is there if and only if the configuration asks for evaluations")
    began = time.monotonic()
    (give_back_memory if config.low_memory else keep_memory)()
    trackers = "tensorboard" if config.watch.tensorboard else None
    # Under torchrun without a GPU, Accelerate has to be told, or each process trains by itself.
    several_on_cpu = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()
    accelerator = Accelerator(cpu=several_on_cpu, log_with=trackers, project_dir=str(out))
    with _alone_in(out, accelerator):
        run, latents = _run_in(out, cache, config, accelerator, began, judge)
        _see_through(run, cache, accelerator, latents, judge, profiled)
        if accelerator.is_main_process:
            summary, name = run.summary, shlex.quote(str(run.path))
            say(f"trained {run.path}: {summary.steps:,} steps, {summary.images_seen:,} images")
            say(f"next:  safelight sample {name}   or   safelight report {name}")
    return run


@contextlib.contextmanager
def _alone_in(out: Path, accelerator: Accelerator) -> Iterator[None]:
    """One `train` at a time in a folder, which is made, and goes again where nothing came of it."""
    made = not out.exists()
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        main = accelerator.is_main_process
        lock = held.enter_context(locked(out, wait=False)) if main else Lock.NONE
        if _agree(lock is Lock.THEIRS, accelerator):
            raise UserError(
                f"another safelight train is at work in {out}; wait for it to end, or choose "
                "another folder with --out"
            )
        try:
            yield
        finally:
            if made and main:
                with contextlib.suppress(OSError):  # there is something in it
                    out.rmdir()


def _run_in(
    out: Path,
    cache: Cache,
    config: Config,
    accelerator: Accelerator,
    began: float,
    judge: Judge | None,
) -> tuple[Run, Latents | None]:
    """The run in `out`: the one that is there, or a new one, planned now; and what it learns."""
    run = existing_run(cache, config, out)
    accelerator.wait_for_everyone()  # none may make the run while another still looks for it
    if run is None:
        require_heeded(config)
        require_fitting(config.data, cache.shape)
        config = _mirroring(cache, config, accelerator)
    with accelerator.main_process_first():  # the others read what it has encoded
        latents = learnt_in(cache, run.config if run else config, run)
    codec = latents.codec if latents else None
    if run is None:
        plan = make_plan(cache, config, accelerator, began, latents, judge)
        accelerator.free_memory()  # the throw-away networks
        run = _written(out, _described(cache, config, plan), codec, accelerator)
    elif Path(run.file.cache) != cache.path.resolve():  # the same pictures, moved
        moved = run.file.model_copy(update={"cache": str(cache.path.resolve())})
        run = _written(out, moved, codec, accelerator)
    return run, latents


def _written(out: Path, file: RunFile, codec: Codec | None, accelerator: Accelerator) -> Run:
    """One process writes it: two that replace a folder at once would find it gone."""
    run = Run.create(out, file, codec) if accelerator.is_main_process else None
    accelerator.wait_for_everyone()
    return run or Run.open(out)


def _see_through(
    run: Run,
    cache: Cache,
    accelerator: Accelerator,
    latents: Latents | None,
    judge: Judge | None,
    profiled: Profiled | None,
) -> None:
    """Train from the newest checkpoint, if there is one, to the end of the plan."""
    trainer = Trainer(run.config, run.plan, cache, accelerator, latents, judge)
    _take_up(trainer, run)
    if run.plan.compiled and trainer.step < run.plan.steps:
        trainer.compile()
    purge = {"tensorboard": {"purge_step": trainer.step}}
    accelerator.init_trackers("tensorboard", init_kwargs=purge)
    try:
        fit(trainer, run, profiled)
        accelerator.wait_for_everyone()  # for the main process's last checkpoint
    finally:
        accelerator.end_training()  # which ends the group of processes too
        accelerator.free_memory()


def _mirroring(cache: Cache, config: Config, accelerator: Accelerator) -> Config:
    """The same, with its word on whether pictures are mirrored; and says why, where it had none."""
    if config.data.flip is not None:
        return config
    main = accelerator.is_main_process
    found = _agree(symmetry(cache.subset("train")) if main else None, accelerator)
    assert found is not None
    if main:
        inform(found.sentence())
    return _with_flip(config, found.mirrored)


def _with_flip(config: Config, flip: bool | None) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"flip": flip})})


def existing_run(cache: Cache, config: Config, out: Path) -> Run | None:
    """The run in `out`, if it is the one that these arguments describe."""
    if not (out / "config.yaml").is_file():
        there = [path.name for path in out.iterdir() if not path.name.startswith(TEMPORARY)]
        if not there or (there == [FOLDER] and (out / FOLDER / ABOUT).is_file()):
            return None  # empty, or killed before its plan was written
        raise UserError(f"{out} is not empty and holds no run; choose another folder with --out")
    run = Run.open(out)
    if config.data.flip is None:  # decided when the run began
        config = _with_flip(config, run.config.data.flip)
    differences = _differences(deciding(_settled(run.config)), deciding(_settled(config)))
    if cache.subset("train").fingerprint != run.file.fingerprint:
        differences.insert(0, "the training images")
    if differences:
        longer = all(found.startswith("budget is ") for found in differences)
        on = f"; or train on from its weights: {run.further(config.budget)}" if longer else ""
        raise UserError(
            f"{out} holds another run ({'; '.join(differences[:3])}); choose another folder with "
            f"--out, or go on with that one: {run.command}{on}"
        )
    return run


def start_run(
    cache: Cache, config: Config, plan: Plan, out: Path, codec: Codec | None = None
) -> Run:
    return Run.create(out, _described(cache, config, plan), codec)


def _described(cache: Cache, config: Config, plan: Plan) -> RunFile:
    train = cache.subset("train")
    return RunFile(
        cache=str(cache.path.resolve()),
        fingerprint=train.fingerprint,
        shape=centred(train, config.data).shape,
        classes=cache.classes,
        config=_settled(config),
        plan=plan,
    )


def _settled(config: Config) -> Config:
    """What is usual today may be another thing tomorrow: a run says what it was."""
    return family_of(config).settled(config)


def make_plan(
    cache: Cache,
    config: Config,
    accelerator: Accelerator,
    began: float,
    latents: Latents | None = None,
    judge: Judge | None = None,
) -> Plan:
    """Measure memory and speed on a throw-away copy of the run, and settle the rest."""
    train, device = cache.subset("train"), accelerator.device
    if config.optimiser.batch < accelerator.num_processes:
        raise UserError(
            f"a batch of {config.optimiser.batch} leaves some of {accelerator.num_processes} "
            "processes without an image; raise --optimiser.batch or start fewer processes"
        )
    budget, batch, watch = Budget.parse(config.budget), config.optimiser.batch, config.watch
    if (counted := budget.steps(batch, train.count)) is not None:
        require_reached(watch, counted)  # before anything is measured
    precision = choose_precision(config.precision, device)
    draft = Plan(
        steps=10**6,
        micro_batch=1,
        precision=precision,
        sigma_data=config.diffusion.sigma_data
        or (DEVIATION if latents else measure_sigma_data(centred(train, config.data))),
        validate_every=1,
        preview_every=1,
        checkpoint_every=1,
        threads=torch.get_num_threads(),
        processes=accelerator.num_processes,
        step_seconds=0,
    )
    trainer = Trainer(config, draft, cache, accelerator, latents, judge)
    begin(trainer)  # refused here where it does not fit
    share = -(-config.optimiser.batch // accelerator.num_processes)
    single, _ = next(trainer.batches.at(0, 1))
    bf16, low = precision == "bf16", config.low_memory
    needs = footprint(trainer.learner, single, bf16, device, low=low)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's word
    fits = _agree(micro_batch(config, needs, share, device, local), accelerator)
    trainer.plan = draft = draft.model_copy(update={"micro_batch": fits})
    compiled = config.compile and trainer.compile()
    codec = latents.codec if latents else None
    costs = _agree(_measure(trainer, cache, codec, began, budget), accelerator)
    found = {"micro_batch": trainer.micro_batch, "compiled": compiled}  # memory may have run out
    draft = draft.model_copy(update=found)
    steps = plan_steps(budget, costs, batch, train.count, watch)
    require_reached(watch, steps)
    looked = intervals(watch, budget, costs, steps)
    settled = {"steps": steps, "step_seconds": costs.step, **looked}
    plan = _agree(draft.model_copy(update=settled), accelerator)
    if accelerator.is_main_process:
        inform(announcement(plan, config, train, device))
        if few := few_told(budget, costs, steps):
            inform(few)
        if judge is not None:
            inform(evaluations_told(judge.about, watch, budget, costs, steps))
        if lacking := trainer.family.shortfall(trainer.learner.model):
            inform(lacking)
    return plan


def _measure(
    trainer: Trainer, cache: Cache, codec: Codec | None, began: float, budget: Budget
) -> Costs:
    """Time steps, and what is done beside them if the budget is a time, on a throw-away run.

    Evaluations in any case: what they will cost is said.
    """
    watched = budget.unit == "seconds"
    for _ in range(2):  # the first steps allocate memory and choose kernels
        first = _seconds(trainer.advance)
        require_time(budget, *_agree((time.monotonic() - began, first), trainer.accelerator))
    more = max(WARM_UP_STEPS, min(100, int(WARM_UP_SECONDS / first))) if watched else 1
    more = _agree(more, trainer.accelerator)
    step = sum(_seconds(trainer.advance) for _ in range(more)) / more
    nothing = Costs(spent=0, step=step, validation=0, preview=0, checkpoint=0)
    if not watched and trainer.judge is None:
        return nothing
    with tempfile.TemporaryDirectory() as scratch:
        run = start_run(cache, trainer.config, trainer.plan, Path(scratch), codec)
        evaluation = _cost_of_evaluation(trainer, run)
        if not watched:
            return replace(nothing, evaluation=evaluation)
        validation = _seconds(trainer.validate, run)
        preview = _seconds(trainer.preview, run)
        saving = _seconds(trainer.save, run.checkpoint_folder)
        keeping = _seconds(trainer.keep, run.averages_folder)
    spent = time.monotonic() - began
    return Costs(spent, step, validation, preview, saving, evaluation, keeping)


def _cost_of_evaluation(trainer: Trainer, run: Run) -> float:
    """In seconds. One process evaluates, and only that one gets ready for it."""
    if trainer.judge is None or not trainer.accelerator.is_main_process:
        return 0.0
    return trainer.judge.cost(trainer.family.preview(run, trainer.average.module))


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    began = time.monotonic()
    work(*arguments)
    return time.monotonic() - began


def _agree(value: Settled, accelerator: Accelerator) -> Settled:
    """The main process's value, on every process."""
    if accelerator.num_processes == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]


def _take_up(trainer: Trainer, run: Run) -> None:
    """Load the newest checkpoint and forget what came after it."""
    saved = checkpoints(run.checkpoint_folder)
    if saved:
        trainer.load(saved[-1])
    else:
        begin(trainer)
    if not trainer.accelerator.is_main_process:
        return
    progress = run.path / "samples" / "progress"
    for folder in (run.path, run.checkpoint_folder, run.averages_folder, progress):
        clear_leftovers(folder)
    run.rewind(trainer.step)
    if trainer.accelerator.num_processes != run.plan.processes:
        inform(
            f"planned for {run.plan.processes} processes and going on with "
            f"{trainer.accelerator.num_processes}: {with_other_processes(run.config)}"
        )
    if trainer.step < run.plan.steps and run.file.format < RunFile.model_fields["format"].default:
        inform(
            f"{run.path} was begun by an earlier version, which had the pictures in another order; "
            "it goes on as well, but not to the weights that it would have had there"
        )
    if trainer.step == run.plan.steps:
        inform(
            f"{run.path} has finished its {trainer.step:,} steps; nothing to do; to train on from "
            f"its weights: {run.further(run.config.budget)}"
        )
    elif trainer.step:
        inform(f"going on with {run.path} at step {trainer.step:,} of {run.plan.steps:,}")


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in {**there, **here}:
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name} is {old!r} there and {new!r} here")
    return found
