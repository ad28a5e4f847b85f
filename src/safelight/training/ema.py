"""The exponential moving average of the weights, with a memory that grows with the training."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

WIDE = 0.25  # of the average that is kept beside the one that is drawn with


def kept(width: float) -> dict[str, float]:
    """The averages of a run that draws with this width, by the names of their files.

    Two, of very different memory: with snapshots of both all widths between and many a narrower one
    can be made after training (`training.posthoc`).
    """
    return {f"ema-{each:.3f}": each for each in (WIDE, width)}


def exponent(width: float) -> float:
    """gamma of the power function whose relative standard deviation is `width`.

    Solves width² = (gamma + 1) / ((gamma + 2)² (gamma + 3)), algorithm 2 of arXiv:2312.02696.
    """
    inverse = width**-2
    roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
    return float(roots.real.max())


class PowerAverage:
    """After step t the average moves by 1 - beta_t, beta_t = (1 - 1/t)^(gamma + 1).

    Eq. (8) of arXiv:2312.02696. The first step takes the weights as they are, and the memory is
    always the same share of the steps so far: that is its warm-up. All is averaged that training
    changes: the parameters and, of batch normalisation, the running mean and variance. Constants
    are not in the state: an averaged table of constants is no table.
    """

    def __init__(self, model: nn.Module, width: float) -> None:
        self.gamma = exponent(width)
        self.module = copy.deepcopy(model).requires_grad_(False).eval()

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return self.module.state_dict()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step `step` = 1, 2, ..."""
        move = 1 - (1 - 1 / step) ** (self.gamma + 1)
        averaged, current = self.module.state_dict(), model.state_dict()
        numbers = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_([averaged[n] for n in numbers], [current[n] for n in numbers], move)
        for name in current.keys() - set(numbers):  # how many batches were seen
            averaged[name].copy_(current[name])
