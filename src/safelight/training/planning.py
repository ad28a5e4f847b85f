"""Settling a run before its first step: precision, what fits into memory, how many steps.

Everything found out here is written into the run's config.yaml, so that the run can be repeated
from there on: a slower machine changes the time that it takes and not its result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from safelight.config import Config, Plan, Watch
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.images import dequantise, pieces
from safelight.seeding import ImageNoise, generator
from safelight.training.allocations import alive, linear
from safelight.training.batches import Batch
from safelight.training.budget import Budget, parse_memory
from safelight.training.devices import Precision, best_precision, free_memory, precision_told
from safelight.training.learner import Learner, Turn
from safelight.training.options import compares
from safelight.training.recomputing import SMALLER, advice
from safelight.training.snapshots import GAPS

SHARE_OF_FREE_MEMORY = 0.8
# What a process takes for an image's tensors: operators have buffers of their own, and memory that
# is kept has holes. Found were 1.1 to 1.5; and with --low-memory, which keeps none, up to 1.2.
HEAP, HEAP_GIVEN_BACK = 1.7, 1.4
VALIDATIONS, PREVIEWS = 10, 12  # in a run, at most
APART = 10  # steps between two of them, at least: each costs as much as some steps
WATCHING = 0.06  # share of a time budget that each of the two may take; there is always one
CHECKPOINT_SECONDS = 60.0
FEWEST = 100  # steps: what a budget that is too short for a single one is told to pay for
BLOCK = 50  # pictures in memory while they are counted


def measure_sigma_data(cache: Cache, images: int = 2_000) -> float:
    """Standard deviation of (at most 2,000 of) the pictures in [-1, 1], to three digits."""
    order = torch.randperm(cache.count, generator=generator(0, "sigma_data"))[:images]
    # Three digits: more would only tell this sample of the pictures from another.
    return max(1e-3, float(f"{deviation(cache, np.sort(order.numpy())):.3g}"))


def deviation(cache: Cache, positions: NDArray[np.int64]) -> float:
    """Standard deviation (n - 1) of all values of these pictures, in [-1, 1].

    From how often each of the 256 levels is there: no more than a block of pictures is in memory.
    """
    counts = torch.zeros(256, dtype=torch.int64)
    for piece in pieces(len(positions), BLOCK):
        values = torch.from_numpy(cache.read(positions[piece])).flatten()
        counts += torch.bincount(values, minlength=256)
    levels, n = dequantise(torch.arange(256, dtype=torch.uint8)).double(), int(counts.sum())
    mean = float((counts * levels).sum()) / n
    return math.sqrt(float((counts * (levels - mean) ** 2).sum()) / (n - 1))


def choose_precision(asked: str, device: torch.device) -> Precision:
    return best_precision(device) if asked == "auto" else asked  # type: ignore[return-value]


@dataclass(frozen=True)
class Footprint:
    """Memory of a training step in bytes: fixed + each image's share."""

    fixed: int
    image: int

    def micro_batch(self, batch: int, free: int, advice: str = SMALLER) -> int:
        """The largest even split of `batch` that fits into `free` bytes; UserError if none does.

        advice: what makes a step need less.
        """
        fits = (free - self.fixed) // self.image
        if fits < 1:
            raise UserError(
                f"a step with a single image needs {_mb(self.fixed + self.image)} of memory and "
                f"{_mb(free)} may be used; {advice}, or raise --memory"
            )
        return math.ceil(batch / math.ceil(batch / min(batch, fits)))

    def whole(self, batch: int, free: int, advice: str = SMALLER) -> int:
        """All of `batch`, whose images are compared with one another; UserError if it is too much.

        In pieces they would be compared with fewer, and the result would depend on `free`.
        """
        needed = self.fixed + batch * self.image
        if needed > free:
            raise UserError(
                "this objective, pairing or normalisation looks at the images of a step together, "
                f"so they have to fit into memory at once: {batch} need {_mb(needed)} and "
                f"{_mb(free)} may be used; choose a smaller --optimiser.batch, {advice}, or raise "
                "--memory"
            )
        return batch


def footprint(
    learner: Learner, single: Batch, bf16: bool, device: torch.device, *, low: bool = False
) -> Footprint:
    """Measure what is alive in a step of two images and of three, such as the one in `single`.

    In the phase that needs most. low: with --low-memory, which gives back what is freed.

    Not of one: where images are compared, a single one has nothing to be compared with.
    """
    parameters = sum(p.numel() * p.element_size() for p in learner.parameters())
    module = cast(nn.Module, learner)

    def alive_in(phase: str, n: int) -> list[int]:
        return alive(lambda: _gradient(learner, Turn(phase), single, n, bf16, device), module)

    phases = [linear(alive_in(phase, 2), alive_in(phase, 3)) for phase in learner.phases]
    fixed, image = (max(each) for each in zip(*phases, strict=True))
    # weights, two moments, two averages and what the optimiser computes with; gradients, and
    # weights in the precision of the step, are measured
    heap = HEAP_GIVEN_BACK if low else HEAP
    return Footprint(fixed=6 * parameters + fixed, image=max(1, int(heap * image)))


def _gradient(
    learner: Learner, turn: Turn, single: Batch, n: int, bf16: bool, device: torch.device
) -> None:
    """Of n times the same image; it is not kept."""
    labels = None if single.labels is None else single.labels.repeat(n)
    varied = None if single.varied is None else single.varied.repeat(n, 1)
    batch = Batch(single.images.repeat(n, 1, 1, 1), labels, varied)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        out = learner(batch, ImageNoise(range(n), device), turn)
    torch.autograd.backward(out["loss"].sum(), inputs=list(learner.taught(turn.phase)))
    for parameter in learner.parameters():
        parameter.grad = None


def micro_batch(
    config: Config, print_of: Footprint, share: int, device: torch.device, local: int
) -> int:
    """How many of a process's `share` of the batch go through the network at once.

    local: processes on this machine.
    """
    asked = parse_memory(config.memory)
    free = int(SHARE_OF_FREE_MEMORY * free_memory(device)) if asked is None else asked
    if device.type == "cpu":
        free //= local  # processes of one machine share its memory
    fit = print_of.whole if compares(config) else print_of.micro_batch
    return fit(share, free, advice(config))


@dataclass(frozen=True)
class Costs:
    """Measured seconds."""

    spent: float  # before the first step
    step: float
    validation: float
    preview: float
    checkpoint: float
    evaluation: float = 0.0
    snapshot: float = 0.0


def require_time(budget: Budget, spent: float, step: float) -> None:
    """Raises UserError where getting ready has used up a budget of time. In seconds, a step too."""
    if budget.unit == "seconds" and spent > budget.amount:
        raise UserError(
            f"a budget of {budget.amount:g} s is too short: getting ready has taken {spent:.0f} s, "
            f"and {FEWEST} steps take {FEWEST * step:.0f} s; give at "
            f"least {math.ceil(spent + FEWEST * step)}s"
        )


def plan_steps(budget: Budget, costs: Costs, batch: int, images: int, watch: Watch) -> int:
    """How many steps the budget pays for, what is done beside them included."""
    steps = budget.steps(batch, images)
    if steps is not None:
        return steps
    validations, previews = looks(budget, costs)
    # An evaluation at the end comes on top of those on the way.
    beside, per_step = costs.spent + len(GAPS) * costs.snapshot, costs.step
    if watch.evaluate_every:
        beside += costs.evaluation
        per_step += costs.evaluation / watch.evaluate_every
    for every, times, cost in (
        (watch.validate_every, validations, costs.validation),
        (watch.preview_every, previews, costs.preview),
        (watch.checkpoint_every, 1 + budget.amount / CHECKPOINT_SECONDS, costs.checkpoint),
    ):
        if every:
            per_step += cost / every
        else:
            beside += times * cost
    left = budget.amount - beside
    if left < per_step:
        needed = beside + FEWEST * per_step
        evaluating = f", an evaluation alone {costs.evaluation:.0f} s" if costs.evaluation else ""
        raise UserError(
            f"a budget of {budget.amount:g} s is too short: getting ready and watching take "
            f"{beside:.0f} s{evaluating}, and {FEWEST} steps {FEWEST * per_step:.0f} s; give at "
            f"least {math.ceil(needed)}s"
        )
    return int(left / per_step)


def few_told(budget: Budget, costs: Costs, steps: int) -> str:
    """That a budget of time pays for hardly any learning, and what would; else nothing."""
    if budget.unit != "seconds" or steps >= FEWEST:
        return ""
    needed = math.ceil(budget.amount + (FEWEST - steps) * costs.step)
    return (
        f"look out: in {steps} step{'s' * (steps > 1)} a network hardly learns anything; for "
        f"{FEWEST} give --budget {needed}s, and several times that for pictures"
    )


def looks(budget: Budget, costs: Costs) -> tuple[int, int]:
    """How many validations and previews the budget can afford."""
    if budget.unit != "seconds":
        return VALIDATIONS, PREVIEWS

    def affordable(most: int, cost: float) -> int:
        return max(1, min(most, int(WATCHING * budget.amount / max(cost, 1e-9))))

    return affordable(VALIDATIONS, costs.validation), affordable(PREVIEWS, costs.preview)


def intervals(watch: Watch, budget: Budget, costs: Costs, steps: int) -> dict[str, int]:
    """Steps between validations, previews and checkpoints, where none were asked for."""
    validations, previews = looks(budget, costs)
    save = max(1, round(CHECKPOINT_SECONDS / costs.step))
    return {
        "validate_every": watch.validate_every or max(APART, math.ceil(steps / validations)),
        "preview_every": watch.preview_every or max(APART, math.ceil(steps / previews)),
        "checkpoint_every": watch.checkpoint_every or min(save, math.ceil(steps / 4)),
    }


def require_reached(watch: Watch, steps: int) -> None:
    """Raises UserError where a run of so many steps would not come to its first evaluation."""
    if watch.evaluate_every > steps:
        raise UserError(
            f"--watch.evaluate-every {watch.evaluate_every} is more than the {steps:,} steps of "
            f"this run, so there would be no curve; give at most {steps}, such as "
            f"{math.ceil(steps / VALIDATIONS)}"
        )


def evaluations_told(about: str, watch: Watch, budget: Budget, costs: Costs, steps: int) -> str:
    """What is measured on the way, and what of the time that takes, in a sentence."""
    every, cost = watch.evaluate_every, costs.evaluation
    times = math.ceil(steps / every)
    whole = budget.amount if budget.unit == "seconds" else steps * costs.step + times * cost
    seconds = f"{cost:.2g} s" if cost < 10 else f"{cost:.0f} s"
    return (
        f"evaluations: {about}, every {every:,} steps and at the end; each takes about {seconds}, "
        f"{times:,} of them {100 * times * cost / whole:.1f} % of the time"
    )


def announcement(plan: Plan, config: Config, train: Cache, device: torch.device) -> str:
    """The plan in a sentence."""
    batch = config.optimiser.batch
    pieces = -(-batch // (plan.micro_batch * plan.processes))
    split = f" in {pieces} pieces of {plan.micro_batch} that fit into memory" if pieces > 1 else ""
    precision = precision_told(plan.precision, config.precision, device)
    compiled = ", compiled" * plan.compiled
    return (
        f"planned: {plan.steps:,} steps of {batch} images{split} "
        f"({plan.steps * batch / train.count:,.1f} epochs of {train.count:,}), "
        f"{precision}{compiled}, about {timedelta(seconds=round(plan.steps * plan.step_seconds))}"
    )


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
