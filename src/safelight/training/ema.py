"""The exponential moving average of the weights, with a memory that grows with the training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


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
    always the same share of the steps so far: that is its warm-up. Only parameters are averaged,
    never buffers: an averaged table of constants is no table.
    """

    def __init__(self, module: nn.Module, width: float) -> None:
        self.gamma = exponent(width)
        self.weights = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step `step` = 1, 2, ..."""
        move = 1 - (1 - 1 / step) ** (self.gamma + 1)
        parameters = dict(module.named_parameters())
        current = [parameters[name].detach() for name in self.weights]
        torch._foreach_lerp_(list(self.weights.values()), current, move)

    def load(self, weights: dict[str, Tensor]) -> None:
        for name, weight in self.weights.items():
            weight.copy_(weights[name])
