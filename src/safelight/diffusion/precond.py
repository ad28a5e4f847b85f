"""What the network predicts: each choice is one affine row x_0 = skip x_t + out F(in x_t, c_noise).

Coefficients are functions of alpha and sigma, tensors of any one shape; sigma_data is the standard
deviation of the images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Affine(NamedTuple):
    skip: Tensor
    out: Tensor
    scale: Tensor  # "in" of the papers: what x_t is multiplied with before the network


Row = Callable[[Tensor, Tensor, float], Affine]


def noise_level(alpha: Tensor, sigma: Tensor) -> Tensor:
    """c_noise = ln(sigma / alpha) / 4, table 1 of arXiv:2206.00364: the same on every path."""
    return (sigma / alpha).log() / 4


def predict_noise(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Affine:
    """F = eps: x_0 = (x_t - sigma F) / alpha, arXiv:2006.11239."""
    return Affine(1 / alpha, -sigma / alpha, (alpha**2 + sigma**2).rsqrt())


def predict_image(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Affine:
    """F = x_0."""
    return Affine(torch.zeros_like(alpha), torch.ones_like(alpha), (alpha**2 + sigma**2).rsqrt())


def predict_v(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Affine:
    """F = (alpha eps - sigma x_0) / r, r² = alpha² + sigma²: v of arXiv:2202.00512 where r = 1."""
    r2 = alpha**2 + sigma**2
    return Affine(alpha / r2, -sigma * r2.rsqrt(), r2.rsqrt())


def predict_edm(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Affine:
    """Table 1 of arXiv:2206.00364 at the noise level sigma / alpha of x_t / alpha."""
    level = sigma / alpha
    total = level**2 + sigma_data**2
    return Affine(
        sigma_data**2 / total / alpha, level * sigma_data * total.rsqrt(), total.rsqrt() / alpha
    )


PREDICTIONS: dict[str, Row] = {
    "edm": predict_edm,
    "noise": predict_noise,
    "image": predict_image,
    "v": predict_v,
}
