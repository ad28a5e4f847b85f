"""Denoisers known in closed form: what a perfect network would say."""

from __future__ import annotations

from torch import Tensor

from safelight.diffusion.path import Path, broadcast


class GaussianOracle:
    """E[x_0 | x_t] for x_0 ~ N(mean, std²), every pixel for itself.

    mean and std broadcast against (c, h, w). Conjugate normals: with a = alpha, s = sigma,
    E[x_0 | x_t] = mean + a std² (x_t - a mean) / (a² std² + s²).
    """

    def __init__(self, path: Path, mean: Tensor, std: Tensor) -> None:
        self.path, self.mean, self.std = path, mean, std

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha = broadcast(self.path.alpha(t), x_t)
        sigma = broadcast(self.path.sigma(t), x_t)
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.mean + gain * (x_t - alpha * self.mean)
