"""Settling a run before its first step: precision, what fits into memory, how many steps.

Everything found out here is written into the run's config.yaml, so that the run can be repeated
from there on: a slower machine changes the time that it takes and not its result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from safelight.config import Config, Watch
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.images import dequantise
from safelight.seeding import generator
from safelight.training.batches import Batches
from safelight.training.budget import Budget, parse_memory
from safelight.training.devices import Precision, best_precision, free_memory

SHARE_OF_FREE_MEMORY = 0.8
OVERHEAD = 1.5  # of what autograd keeps: gradients of activations and the kernels' own buffers
VALIDATIONS, PREVIEWS = 10, 12  # in a run, at most
WATCHING = 0.06  # share of a time budget that each of the two may take; there is always one
CHECKPOINT_SECONDS = 60.0


def measure_sigma_data(cache: Cache, images: int = 2_000) -> float:
    """Standard deviation of (at most 2,000 of) the pictures in [-1, 1], to three digits."""
    order = torch.randperm(cache.count, generator=generator(0, "sigma_data"))[:images]
    pixels = dequantise(torch.from_numpy(cache.read(np.sort(order.numpy()))))
    # Three digits: more would only tell this sample of the pictures from another.
    return max(1e-3, float(f"{pixels.double().std():.3g}"))


def choose_precision(asked: str, device: torch.device) -> Precision:
    return best_precision(device) if asked == "auto" else asked  # type: ignore[return-value]


@dataclass(frozen=True)
class Footprint:
    """Memory of a training step in bytes: fixed + each image's share."""

    fixed: int
    image: int

    def micro_batch(self, batch: int, free: int) -> int:
        """The largest even split of `batch` that fits into `free` bytes; UserError if none does."""
        fits = (free - self.fixed) // self.image
        if fits < 1:
            raise UserError(
                f"a step with a single image needs {_mb(self.fixed + self.image)} of memory and "
                f"{_mb(free)} may be used; choose smaller --net.widths or raise --memory"
            )
        pieces = math.ceil(batch / min(batch, fits))
        return math.ceil(batch / pieces)


def footprint(learner: nn.Module, batches: Batches, bf16: bool, device: torch.device) -> Footprint:
    """Count the bytes that autograd keeps of a few images and of one more."""
    parameters = sum(p.numel() * p.element_size() for p in learner.parameters())
    few = 2 if batches.share > 2 else 1  # some objectives compare images, and one alone has no pair
    less, more = (_kept(learner, batches, n, bf16, device) for n in (few, few + 1))
    one = more - less
    # weights, gradients, two moments, the average, and a copy in the precision of the step
    fixed = 6 * parameters + max(0, less - few * one)
    return Footprint(fixed=fixed, image=max(1, int(OVERHEAD * one)))


def _kept(learner: nn.Module, batches: Batches, n: int, bf16: bool, device: torch.device) -> int:
    weights = {p.data_ptr() for p in learner.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch, noise = next(batches.at(0, n))
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast(device.type, torch.bfloat16, enabled=bf16),
    ):
        learner(batch, noise)
    return sum(kept.values())


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
    return print_of.micro_batch(share, free)


@dataclass(frozen=True)
class Costs:
    """Measured seconds."""

    spent: float  # before the first step
    step: float
    validation: float
    preview: float
    checkpoint: float


def plan_steps(budget: Budget, costs: Costs, batch: int, images: int, watch: Watch) -> int:
    """How many steps the budget pays for, what is done beside them included."""
    steps = budget.steps(batch, images)
    if steps is not None:
        return steps
    validations, previews = looks(budget, costs)
    beside, per_step = costs.spent, costs.step
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
        needed = beside + 100 * per_step
        raise UserError(
            f"a budget of {budget.amount:g} s is too short: getting ready and watching take "
            f"{beside:.0f} s of it; give at least {math.ceil(needed)}s"
        )
    return int(left / per_step)


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
        "validate_every": watch.validate_every or math.ceil(steps / validations),
        "preview_every": watch.preview_every or math.ceil(steps / previews),
        "checkpoint_every": watch.checkpoint_every or min(save, math.ceil(steps / 4)),
    }


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"
