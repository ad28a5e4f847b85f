"""Denoisers known in closed form: what a perfect network would say.

Each is E[x_0 | x_t] of a distribution of clean images that is known. Calls take x_t (b, c, h, w)
and t, () or (b,), in [0, 1]. They answer in x_t's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from safelight.diffusion.path import Path, broadcast
from safelight.errors import UserError


class GaussianOracle:
    """x_0 ~ N(mean, std²), every pixel for itself.

    Conjugate normals: with a = alpha, s = sigma and v = a² std² + s², the variance of x_t,
    E[x_0 | x_t] = mean + a std² (x_t - a mean) / v.

    Args:
        mean, std: together of shape (c, h, w); scalars stand for images of any shape. std: at least
            0.
    """

    def __init__(self, path: Path, mean: Tensor, std: Tensor) -> None:
        _require_deviations(std)
        self.path, self.mean, self.std = path, mean, std

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        mean, variance = self._marginal(x_t, t)
        gain = broadcast(self.path.alpha(t).to(x_t), x_t) * self.std.to(x_t) ** 2 / variance
        return self.mean.to(x_t) + gain * (x_t - mean)

    def log_density(self, x_t: Tensor, t: Tensor) -> Tensor:
        """ln p_t(x_t) in nats, (b,)."""
        mean, variance = self._marginal(x_t, t)
        squares = (x_t - mean) ** 2 / variance + (2 * math.pi * variance).log()
        return -squares.flatten(1).sum(1) / 2

    def flow(self, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The probability-flow ODE's exact solution from t to s, before or after t.

        The ODE is linear in x_t - a mean and keeps the marginals, so that x_s is as many standard
        deviations from its mean as x_t is from its own.
        """
        mean_t, variance_t = self._marginal(x_t, t)
        mean_s, variance_s = self._marginal(x_t, s)
        return mean_s + (variance_s / variance_t).sqrt() * (x_t - mean_t)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Clean images (n, c, h, w); of one pixel if mean and std are scalars."""
        like = self.mean + self.std
        shape = like.shape or (1, 1, 1)
        return self.mean + self.std * torch.randn(n, *shape, generator=generator, dtype=like.dtype)

    def _marginal(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of x_t, each pixel's."""
        alpha = broadcast(self.path.alpha(t).to(x_t), x_t)
        sigma = broadcast(self.path.sigma(t).to(x_t), x_t)
        mean, std = self.mean.to(x_t), self.std.to(x_t)
        variance = alpha**2 * std**2 + sigma**2
        _require_noise(variance)
        return alpha * mean, variance


class MixtureOracle:
    """x_0 ~ sum_k weights_k N(means_k, std_k² I).

    With v_k = alpha² std_k² + sigma², x_t is a mixture of N(alpha means_k, v_k I). Bayes' rule
    gives each component's share r_k of x_t, a softmax of its log-densities, and

        E[x_0 | x_t] = sum_k r_k (means_k + alpha std_k² / v_k (x_t - alpha means_k)).

    The work is done in float64, block after block of means, so that the means may be a data set
    that is far larger in float64 than memory.

    Args:
        means: (k, c, h, w).
        std: () or (k,), at least 0.
        weights: (k,), positive; their sum need not be 1. None: all alike.
        block: how many means are looked at together; it changes the memory, not the answer.
    """

    def __init__(
        self,
        path: Path,
        means: Tensor,
        std: Tensor,
        weights: Tensor | None = None,
        block: int = 1024,
    ) -> None:
        weights = torch.ones(len(means)) if weights is None else weights
        if weights.shape != (len(means),) or not (weights > 0).all():
            raise UserError(f"a mixture of {len(means)} needs as many weights, all above 0")
        _require_deviations(std)
        self.path, self.means, self.block = path, means, block
        self.std = std.double().expand(len(means))
        self.log_weights = weights.double().log().log_softmax(0)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        x, alpha, variance = self._marginal(x_t, t)
        share = self._log_joint(x, alpha, variance).softmax(1)  # (b, k)
        gain = alpha * self.std.to(x) ** 2 / variance
        of_means = share * (1 - alpha * gain)
        x_0 = (share * gain).sum(1, keepdim=True) * x
        for at, means in self._blocks(x):
            x_0 = x_0 + of_means[:, at] @ means
        return x_0.reshape(x_t.shape).to(x_t)

    def log_density(self, x_t: Tensor, t: Tensor) -> Tensor:
        """ln p_t(x_t) in nats, (b,)."""
        return self._log_joint(*self._marginal(x_t, t)).logsumexp(1).to(x_t)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Clean images (n, c, h, w)."""
        chosen = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        eps = torch.randn(n, *self.means.shape[1:], generator=generator, dtype=self.means.dtype)
        return self.means[chosen] + broadcast(self.std[chosen].to(eps), eps) * eps

    def _marginal(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """In float64: x_t as (b, c h w), alpha as (b, 1) or (1, 1), v_k as (b, k) or (1, k)."""
        x = x_t.double().flatten(1)
        alpha, sigma = (c(t).to(x).reshape(-1, 1) for c in (self.path.alpha, self.path.sigma))
        variance = alpha**2 * self.std.to(x) ** 2 + sigma**2
        _require_noise(variance)
        return x, alpha, variance

    def _log_joint(self, x: Tensor, alpha: Tensor, variance: Tensor) -> Tensor:
        """ln weights_k + ln N(x; alpha means_k, v_k I), (b, k)."""
        # As a product of matrices, since (b, k, c h w) differences would not fit in memory. It
        # cancels where noise is low; float64 has the digits for that.
        squares = [
            (x**2).sum(1, keepdim=True) - 2 * alpha * (x @ means.T) + alpha**2 * (means**2).sum(1)
            for _, means in self._blocks(x)
        ]
        normal = torch.cat(squares, dim=1) / variance + x.shape[1] * (2 * math.pi * variance).log()
        return self.log_weights.to(x) - normal / 2

    def _blocks(self, like: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The means as (block, c h w), one after another, with their places."""
        for first in range(0, len(self.means), self.block):
            at = slice(first, first + self.block)
            yield at, self.means[at].to(like).flatten(1)


class DatasetOracle:
    """x_0 is one of these images, each as probable: what a network would learn by heart.

    Bayes' rule gives a softmax over the images, eq. (57) of arXiv:2206.00364:

        E[x_0 | x_t] = sum_i r_i x_i,   r_i ~ exp(-|x_t - alpha x_i|² / (2 sigma²)).

    So it is the mixture of these means with std 0. It is defined for t > 0.

    Args:
        images: (n, c, h, w), in [-1, 1]; they are read in blocks, see `MixtureOracle`.
    """

    def __init__(self, path: Path, images: Tensor, block: int = 1024) -> None:
        self._mixture = MixtureOracle(path, images, torch.zeros(()), block=block)

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self._mixture(x_t, t)

    def log_density(self, x_t: Tensor, t: Tensor) -> Tensor:
        """ln p_t(x_t) in nats, (b,)."""
        return self._mixture.log_density(x_t, t)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Some of the images, drawn with replacement."""
        return self._mixture.sample(n, generator)


def _require_deviations(std: Tensor) -> None:
    if not (std >= 0).all():  # not so for NaN either
        raise UserError("the standard deviations of an oracle's images have to be at least 0")


def _require_noise(variance: Tensor) -> None:
    if not (variance > 0).all():
        raise UserError("images without noise have no density: std and t are 0; take t > 0")
