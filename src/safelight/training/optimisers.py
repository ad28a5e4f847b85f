"""Optimisers by name, and the learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from safelight.config import Optimiser
from safelight.errors import UserError, lookup

Parameters = Iterable[nn.Parameter]
BETAS = (0.9, 0.99)
ADAPTIVE = ("adamw", "adam")  # which have betas
OPTIMISERS: dict[str, Callable[[Parameters, Optimiser], Optimizer]] = {
    "adamw": lambda p, o: torch.optim.AdamW(
        p, o.lr, o.betas or BETAS, weight_decay=o.weight_decay, fused=True
    ),
    "adam": lambda p, o: torch.optim.Adam(
        p, o.lr, o.betas or BETAS, weight_decay=o.weight_decay, fused=True
    ),
    "adadelta": lambda p, o: torch.optim.Adadelta(p, o.lr, weight_decay=o.weight_decay),
    "sgd": lambda p, o: torch.optim.SGD(p, o.lr, momentum=0.9, weight_decay=o.weight_decay),
}
DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 + 0.5 * math.cos(math.pi * progress),
}


def make_optimiser(parameters: Parameters, options: Optimiser) -> Optimizer:
    """Raises UserError for an unknown one, or betas that it has not."""
    make = lookup(OPTIMISERS, options.name, "optimiser")
    if options.betas is not None and options.name not in ADAPTIVE:
        raise UserError(
            f"{options.name} has no betas; leave --optimiser.betas out, or choose "
            f"--optimiser.name {' or '.join(ADAPTIVE)}"
        )
    return make(parameters, options)


def learning_rate(options: Optimiser, step: int, steps: int) -> float:
    """The rate of step 0..steps-1: a linear warm-up times the chosen decay."""
    warmup = min(options.warmup, steps // 10)
    rise = min(1.0, (step + 1) / (warmup + 1))
    return options.lr * rise * DECAYS[options.decay](step / steps)
