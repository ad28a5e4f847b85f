"""What the tests of samplers share: paths, noise that is quick to draw, and known worlds."""

from __future__ import annotations

import torch
from torch import Tensor

from safelight.diffusion.oracle import GaussianOracle, MixtureOracle
from safelight.diffusion.path import PATHS as NAMES
from safelight.diffusion.path import Path, make_path
from safelight.samplers.state import Denoise, State, Step
from safelight.samplers.trajectory import walk
from safelight.seeding import generator

PATHS = {"preserving": "linear", "exploding": "edm", "flow": "flow"}


class Draws:
    """Noise for b images from one stream: an image's own stream is slow for thousands of them."""

    def __init__(self, b: int, seed: int = 0) -> None:
        self._b, self._stream = b, generator(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self._b, *shape, generator=self._stream)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self._b, *shape, generator=self._stream)


class Impulses:
    """Noise whose k-th draw, k = 1, 2, ..., is 1 in image k + 1 and 0 in all others."""

    def __init__(self, b: int) -> None:
        self._b, self._images = b, iter(range(2, b))

    def normal(self, *shape: int) -> Tensor:
        drawn = torch.zeros(self._b, *shape, dtype=torch.float64)
        drawn[next(self._images)] = 1
        return drawn

    def uniform(self, *shape: int) -> Tensor:
        raise NotImplementedError


def moments(
    step: Step, oracle: GaussianOracle, path: Path, times: Tensor, mean: float, std: float
) -> tuple[float, float]:
    """Mean and standard deviation at the last of the times, if these are those at the first.

    They are exact, since all that a sampler does to Gaussian data is linear: an image is moved
    without noise, one with the deviation alone, and one with each of the draws alone.
    """
    draws = (len(times) - 1) * getattr(step, "inner", 1)
    x = torch.full((draws + 2, 1, 1, 1), mean, dtype=torch.float64)
    x[1] += std
    *_, last = walk(step, oracle, path, State(x, times[0]), times[1:], Impulses(len(x)))
    return float(last.x[0]), float((last.x - last.x[0]).square().sum().sqrt())


def path_of(kind: str) -> Path:
    return make_path(PATHS[kind])


def every_path() -> dict[str, Path]:
    """One of each name, and those that end in pure noise."""
    plain = {name: make_path(name) for name in NAMES if name != "table"}
    return {
        **plain,
        "zero terminal": make_path("scaled-linear", zero_terminal_snr=True),
        "shifted": make_path("flow", shift=3.0),
        "short": make_path("cosine", T=20),
    }


def times_at(path: Path, log_levels: Tensor) -> Tensor:
    """The times at which ln(sigma / alpha) has these values."""
    return path.time((-2 * log_levels.double()).exp())


def mixture(path: Path) -> MixtureOracle:
    """Three components of four pixels."""
    means = torch.randn(3, 1, 2, 2, generator=generator(5), dtype=torch.float64)
    std, weights = torch.tensor([0.3, 0.4, 0.35]), torch.tensor([1.0, 2.0, 3.0])
    return MixtureOracle(path, means, std, weights)


def arrive(
    step: Step, denoise: Denoise, path: Path, times: Tensor, x: Tensor, seed: int = 0
) -> Tensor:
    """x at the last of the times, come from x at the first."""
    *_, last = walk(step, denoise, path, State(x, times[0]), times[1:], Draws(len(x), seed))
    return last.x
