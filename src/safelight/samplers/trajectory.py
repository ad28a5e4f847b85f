"""From noise to images, one state after another."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from safelight.diffusion.path import Path
from safelight.samplers.steps import Denoise, State, Step, start
from safelight.seeding import Noise


def trajectory(
    step: Step, denoise: Denoise, path: Path, times: Tensor, eps: Tensor, noise: Noise
) -> Iterator[State]:
    """Every state from pure noise on: len(times) of them, the last one the image.

    Args:
        times: (n + 1,) float64, falling, the last one 0.
        eps: (b, c, h, w), standard normal.
    """
    state = start(path, times, eps)
    yield state
    for s in times[1:]:
        state = step(denoise, path, state, s, noise)
        yield state
