"""Optimisers by name, and the learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from safelight.config import Optimiser
from safelight.errors import UserError, lookup
from safelight.training.muon import Muon, matrices

BETAS = (0.9, 0.99)
ADAPTIVE = ("adamw", "adam", "muon")  # which have betas
OPTIMISERS: dict[str, Callable[[nn.Module, Optimiser], Optimizer]] = {
    "muon": lambda n, o: Muon(
        *_divided(n), o.lr, betas=o.betas or BETAS, weight_decay=o.weight_decay
    ),
    "adamw": lambda n, o: torch.optim.AdamW(
        n.parameters(), o.lr, o.betas or BETAS, weight_decay=o.weight_decay, fused=True
    ),
    "adam": lambda n, o: torch.optim.Adam(
        n.parameters(), o.lr, o.betas or BETAS, weight_decay=o.weight_decay, fused=True
    ),
    "adadelta": lambda n, o: torch.optim.Adadelta(
        n.parameters(), o.lr, weight_decay=o.weight_decay
    ),
    "sgd": lambda n, o: torch.optim.SGD(
        n.parameters(), o.lr, momentum=0.9, weight_decay=o.weight_decay
    ),
}
DECAYS: dict[str, Callable[[float], float]] = {
    "none": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: 0.5 + 0.5 * math.cos(math.pi * progress),
}


def make_optimiser(network: nn.Module, options: Optimiser) -> Optimizer:
    """Of all parameters. Raises UserError for an unknown one, or betas that it has not."""
    make = lookup(OPTIMISERS, options.name, "optimiser")
    if options.betas is not None and options.name not in ADAPTIVE:
        raise UserError(
            f"{options.name} has no betas; leave --optimiser.betas out, or choose "
            f"--optimiser.name {' or '.join(ADAPTIVE)}"
        )
    return make(network, options)


def _divided(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices within the network, and all other parameters."""
    within = list(matrices(network))
    known = {id(p) for p in within}
    return within, [p for p in network.parameters() if id(p) not in known]


def learning_rate(options: Optimiser, step: int, steps: int) -> float:
    """The rate of step 0..steps-1: a linear warm-up times the chosen decay to `options.final`."""
    warmup = min(options.warmup, steps // 10)
    rise = min(1.0, (step + 1) / (warmup + 1))
    left = DECAYS[options.decay](step / steps)
    return options.lr * rise * (options.final + (1 - options.final) * left)
