"""A run's networks, optimiser and averages, and what a step does to them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.profiler import record_function

from safelight.config import Config, Plan
from safelight.console import inform
from safelight.data.cache import Cache
from safelight.errors import NonFiniteLoss
from safelight.machine import Spare, training_kernels
from safelight.seeding import derive
from safelight.training import checkpoint as checkpoints
from safelight.training import snapshots
from safelight.training.batches import Batches, Pictures, centred
from safelight.training.checkpoint import Checkpoint, Progress
from safelight.training.compiling import compile_network, decompile, fallback_told, plain
from safelight.training.devices import describe, versions
from safelight.training.ema import PowerAverage, kept
from safelight.training.families import classes_told, family_of
from safelight.training.latents import Latents
from safelight.training.learner import Learner, Problem, Turn, extras, load_extras
from safelight.training.optimisers import learning_rate, make_optimiser
from safelight.training.recomputing import recompute
from safelight.training.run import Run
from safelight.training.shortage import is_shortage, smaller, told
from safelight.training.step_kinds import AVERAGES
from safelight.training.watching import Judge, draw_preview

NOTICED = 2.0  # seconds: a second network like one that was compiled before takes less


class Trainer:
    """A run's networks, optimiser and averages, and what a step does to them."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        cache: Cache,
        accelerator: Accelerator,
        latents: Latents | None = None,
        judge: Judge | None = None,
    ) -> None:
        """judge: measures images every `watch.evaluate_every` steps, in one process."""
        torch.set_num_threads(plan.threads)
        self.config, self.plan, self.accelerator, self.judge = config, plan, accelerator, judge
        self.step, self.seconds, self.spare = 0, 0.0, Spare()
        self.processes = accelerator.num_processes
        train, seen = cache.subset("train"), centred(cache, config.data)
        device, self.family = accelerator.device, family_of(config)
        codec = latents.codec if latents else None
        shape = codec.latent if codec else seen.shape
        classes = len(classes_told(config, cache.classes))
        learner = self.family.learner(config, Problem(shape, classes, plan.sigma_data))
        self.learner = learner.to(device)
        model, widths = self.learner.model, kept(config.ema)
        self.averages = {name: PowerAverage(model, width) for name, width in widths.items()}
        self.average = self.averages[f"ema-{config.ema:.3f}"]  # that is looked at
        if self.processes > 1:
            _at_once(list(self.learner.parameters()), broadcast)
        self.optimiser = make_optimiser(cast(nn.Module, learner), config.optimiser)
        self.batches = Batches(
            latents or Pictures(train, config.data, device),
            size=config.optimiser.batch,
            seed=config.seed,
            rank=accelerator.process_index,
            processes=self.processes,
        )
        self.examiner = self.family.examiner(seen, config, device, codec)
        self.net = self.family.call(self.learner.model, torch.zeros(1, *shape, device=device))[0]
        if config.low_memory:
            recompute(self.net)
        self.compiled = False

    def autocast(self) -> torch.autocast:
        bf16 = self.plan.precision == "bf16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16)

    def compile(self) -> bool:
        """Compile the network for the pieces that its batches come in; says how long, or why not.

        In all processes or in none.
        """
        began = time.monotonic()
        each_size = {
            len(piece[0].images): piece for piece in self.batches.at(self.step, self.micro_batch)
        }

        def throw_away() -> None:
            for batch, noise in each_size.values():
                for phase in self.learner.phases:
                    with self.autocast():
                        out = self.learner(batch, noise, Turn(phase, self.step / self.plan.steps))
                    torch.autograd.backward(out["loss"].sum())

        self.learner.train()
        wrong = compile_network(self.net, cast(nn.Module, self.learner), throw_away)
        self.compiled = not self.any_process(wrong is not None)
        if not self.compiled:
            decompile(self.net)
        seconds = time.monotonic() - began
        if self.accelerator.is_main_process:
            if not self.compiled:
                inform(fallback_told(wrong))
            elif seconds > NOTICED:
                inform(f"compiled the network in {seconds:.0f} s")
        return self.compiled

    def advance(self) -> dict[str, float]:
        """One step: for each phase losses, gradients and weights; then the averages.

        Returns this process's mean loss in each phase.
        """
        self.learner.train()
        lr = learning_rate(self.config.optimiser, self.step, self.plan.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        with training_kernels(self.accelerator.device, self.plan.precision):
            losses = {phase: self._update(phase) for phase in self.learner.phases}
        self.step += 1
        with record_function(AVERAGES):
            for average in self.averages.values():
                average.update(self.learner.model, self.step)
        return losses

    def _update(self, phase: str) -> float:
        """Move the weights of a phase. Returns this process's mean loss."""
        taught = list(self.learner.taught(phase))
        with _only(taught, self.learner):
            loss, seen = self._gradient(Turn(phase, self.step / self.plan.steps))
        if self.processes > 1:
            _at_once(_gradients(taught), lambda flat: self.accelerator.reduce(flat, "mean"))
        norm = nn.utils.clip_grad_norm_(taught, self.config.optimiser.clip)
        if not math.isfinite(norm):
            raise NonFiniteLoss(self._not_finite("the gradient"))
        self.optimiser.step()  # leaves alone what has no gradient
        self.optimiser.zero_grad(set_to_none=True)
        if self.learner.observe is not None:
            self.learner.observe(self._of_everyone(torch.cat(seen, dim=1)))
        return loss

    @property
    def micro_batch(self) -> int:
        """Images that go through the network at once."""
        return self.plan.micro_batch_at(self.step)

    def _gradient(self, turn: Turn) -> tuple[float, list[Tensor]]:
        """As `_backward`; where memory runs out, again from the beginning in smaller pieces.

        All processes do so where it runs out in one of them.
        """
        planned = self.plan
        while True:
            found, short = None, None
            try:
                found = self._backward(turn)
            except Exception as error:
                if not is_shortage(error):
                    raise
                short = error.with_traceback(None)  # which holds all that the step has computed
            if not self.any_process(short is not None):
                if self.plan is not planned:  # room for what validation and previews compile
                    self.spare.release()
                assert found is not None
                return found
            found = None
            self.optimiser.zero_grad(set_to_none=True)
            self.spare.release()
            self.plan = smaller(self.plan, self.step, self.config, short)
            if self.accelerator.is_main_process:
                inform(told(self.plan, self.step))
            if self.compiled:  # for pieces of this size
                self.compile()

    def _backward(self, turn: Turn) -> tuple[float, list[Tensor]]:
        """Accumulate the gradient of the batch's mean loss, micro-batch by micro-batch.

        Returns this process's mean loss, and what was "seen" of its images, (2, b) in pieces.
        """
        # Dropout is the only draw from the global stream; it too depends on (seed, step) alone.
        torch.manual_seed(derive(self.config.seed, "dropout", self.step, self.batches.rank))
        # Processes average their gradients: each counts for as many images as it has.
        share = self.config.optimiser.batch / self.processes
        total, seen = 0.0, []
        for batch, noise in self.batches.at(self.step, self.micro_batch):
            with self.autocast():
                out = self.learner(batch, noise, turn)
            self._check(out)
            loss = out["loss"].sum() / share
            loss.backward()
            total += float(loss.detach())
            if "seen" in out:
                seen.append(out["seen"])
        return total, seen

    def _of_everyone(self, seen: Tensor) -> Tensor:
        """What was seen of the images of all processes, (2, batch), in the order of the batch."""
        if self.processes == 1:
            return seen
        batch = self.config.optimiser.batch
        padded = seen.new_zeros(-(-batch // self.processes), len(seen))
        padded[: seen.shape[1]] = seen.T
        gathered: Tensor = self.accelerator.gather(padded[None])  # (processes, share, 2)
        # Process r has the places r, r + processes, ... of the batch; padding comes last.
        return gathered.transpose(0, 1).flatten(0, 1)[:batch].T

    def _check(self, out: dict[str, Tensor]) -> None:
        wrong = ~out["loss"].isfinite()
        if wrong.any():
            at = f" at noise level {float(out['level'][wrong][0]):.3g}" if "level" in out else ""
            raise NonFiniteLoss(self._not_finite(f"the loss{at}"))

    def _not_finite(self, what: str) -> str:
        return (
            f"{what} is not a finite number at step {self.step + 1}; nothing of this step was "
            "kept, and the checkpoints before it are good; try a smaller --optimiser.lr, or "
            "--precision float32, in a new run"
        )

    def save(self, folder: Path) -> Checkpoint:
        about = {
            "parameters": sum(p.numel() for p in self.learner.parameters()),
            "device": describe(self.accelerator.device),
            "versions": versions(),
        }
        averages = {name: average.weights for name, average in self.averages.items()}
        images = self.step * self.config.optimiser.batch
        done = Progress(step=self.step, images=images, seconds=self.seconds)
        model, beside = self.learner.model, extras(self.learner)
        return checkpoints.save(folder, done, model, averages, self.optimiser, beside, about)

    def keep(self, folder: Path) -> None:
        """Write a snapshot of the averages."""
        weights = {name: average.weights for name, average in self.averages.items()}
        snapshots.save(folder, self.step, weights)

    def load(self, saved: Checkpoint) -> None:
        """Take up where `saved` was written."""
        state = saved.state()  # checks that no file has changed
        self.step, self.seconds = state.progress.step, state.progress.seconds
        checkpoints.load_weights(self.learner.model, saved.weights("raw"), saved.path)
        for name, average in list(self.averages.items()):
            if f"{name}.safetensors" in state.files:
                checkpoints.load_weights(average.module, saved.weights(name), saved.path)
            else:  # begun by an earlier version, which had one: its beginning can't be made up for
                del self.averages[name]
        checkpoints.load_optimiser(self.optimiser, saved)
        load_extras(self.learner, saved.extras())

    def validate(self, run: Run) -> None:
        if self.examiner is None:
            return
        for name, model in (("ema", self.average.module), ("raw", self.learner.model)):
            with self.autocast(), plain(self.net):
                found = self.examiner.look(model.eval(), self.micro_batch)
            if found:
                run.append("validation", **self.where(), weights=name, **found)
                self.accelerator.log(self.examiner.curves(name, found), step=self.step)

    def preview(self, run: Run) -> None:
        draw_preview(run, self.family.preview(run, self.average.module), self.step)

    def evaluate(self, run: Run) -> None:
        """Nothing is drawn from a stream that the training draws from."""
        if self.judge is None:
            return
        found = self.judge.look(self.family.preview(run, self.average.module))
        run.append("evaluation", **self.where(), weights="ema", **found)
        self.accelerator.log(self.judge.curves(found), step=self.step)
        inform(f"step {self.step:,}: {self.judge.told(found)}")

    def any_process(self, happened: bool) -> bool:
        """Whether it happened to any process: they have to stop at the same step."""
        if self.processes == 1:
            return happened
        flag = torch.tensor(float(happened), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag) > 0)

    def where(self) -> dict[str, Any]:
        images = self.step * self.config.optimiser.batch
        return {"step": self.step, "images": images, "seconds": round(self.seconds, 3)}


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


@torch.no_grad()
def _at_once(tensors: Sequence[Tensor], between: Callable[[Tensor], Tensor]) -> None:
    """Let processes agree on these in one message."""
    agreed = between(torch.cat([tensor.flatten() for tensor in tensors]))
    parts = torch.split(agreed, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


@contextlib.contextmanager
def _only(taught: Sequence[nn.Parameter], learner: Learner) -> Iterator[None]:
    """Compute gradients for these alone: what others would get would be thrown away."""
    chosen = {id(parameter) for parameter in taught}
    others = [p for p in learner.parameters() if p.requires_grad and id(p) not in chosen]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
