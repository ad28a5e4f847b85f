"""From noise to images, one state after another."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from safelight.diffusion.path import Path
from safelight.errors import UserError
from safelight.samplers.state import Denoise, State, Step
from safelight.seeding import Noise


def trajectory(
    step: Step, denoise: Denoise, path: Path, times: Tensor, eps: Tensor, noise: Noise
) -> Iterator[State]:
    """Every state from pure noise on: len(times) of them, the last one the image.

    Raises UserError where times do not fall.

    Args:
        times: (n + 1,) float64, falling, the last one 0.
        eps: (b, c, h, w), standard normal.
    """
    return walk(step, denoise, path, start(path, times, eps), times[1:], noise)


def start(path: Path, times: Tensor, eps: Tensor) -> State:
    """The first state: noise of the first time's level (the image's share of x_t is not known)."""
    return State(path.sigma(times[0]) * eps, times[0])


def walk(
    step: Step, denoise: Denoise, path: Path, state: State, times: Tensor, noise: Noise
) -> Iterator[State]:
    """`state` and the states at `times`, which fall from it on."""
    if not (torch.cat([state.t[None], times]).diff() < 0).all():
        raise UserError("the times of a trajectory have to fall; sort them from noise to image")
    return _walk(step, denoise, path, state, times, noise)


def _walk(
    step: Step, denoise: Denoise, path: Path, state: State, times: Tensor, noise: Noise
) -> Iterator[State]:
    yield state
    for s in times:
        state = step(denoise, path, state, s, noise)
        yield state


def last(states: Iterator[State]) -> Tensor:
    """The image at the end of a trajectory."""
    state = next(states)
    for state in states:  # noqa: B007 - keeping one state, not the whole way
        pass
    return state.x
