"""What an error of x_0 costs at each noise level: w in E[w |x_0 - D|²].

Losses of different parameterisations are one family: an error of F is |x_0 - D|² over out². Each
weight is a function of the level sigma / alpha, from 0 to infinity (the level at alpha = 0), and
finite there; (b,) in, (b,) out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

Weight = Callable[[Tensor, float], Tensor]  # noise level (b,), sigma_data -> w (b,)


def edm_weight(level: Tensor, sigma_data: float) -> Tensor:
    """1 / level² + 1 / sigma_data², table 1 of arXiv:2206.00364: at first the loss is 1 everywhere.

    It is the error of F in the edm parameterisation.
    """
    return level**-2 + sigma_data**-2


def simple_weight(level: Tensor, sigma_data: float) -> Tensor:
    """1 / level²: the error of eps, L_simple, eq. (14) of arXiv:2006.11239.

    It is denoising score matching with the weight sigma² too, eq. (5) of arXiv:1907.05600 and
    eq. (7) of arXiv:2011.13456.
    """
    return level**-2


def v_weight(level: Tensor, sigma_data: float) -> Tensor:
    """1 + 1 / level²: the error of v, "SNR + 1" of arXiv:2202.00512."""
    return 1 + level**-2


def flow_weight(level: Tensor, sigma_data: float) -> Tensor:
    """(1 + 1 / level)²: the error of eps - x_0, flow matching, eq. (1) of arXiv:2209.03003."""
    return (1 + 1 / level) ** 2


def image_weight(level: Tensor, sigma_data: float) -> Tensor:
    """1: the error of x_0."""
    return torch.ones_like(level)


def min_snr_weight(level: Tensor, sigma_data: float, gamma: float = 5.0) -> Tensor:
    """min(SNR, gamma), section 3.4 of arXiv:2303.09556."""
    return (level**-2).clamp(max=gamma)


def p2_weight(level: Tensor, sigma_data: float) -> Tensor:
    """SNR / (1 + SNR): L_simple over 1 + SNR, eq. (8) of arXiv:2204.00227 with k = gamma = 1."""
    return 1 / (1 + level**2)


# Each row makes its weight from the cap of min-snr.
WEIGHTS: dict[str, Callable[[float], Weight]] = {
    "edm": lambda gamma: edm_weight,
    "simple": lambda gamma: simple_weight,
    "v": lambda gamma: v_weight,
    "flow": lambda gamma: flow_weight,
    "image": lambda gamma: image_weight,
    "min-snr": lambda gamma: partial(min_snr_weight, gamma=gamma),
    "p2": lambda gamma: p2_weight,
}
