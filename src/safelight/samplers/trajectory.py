"""From noise to images, one state after another."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from safelight.diffusion.path import Path
from safelight.errors import UserError
from safelight.samplers.state import Denoise, State, Step
from safelight.seeding import Noise


def trajectory(
    step: Step, denoise: Denoise, path: Path, times: Tensor, eps: Tensor, noise: Noise
) -> Iterator[State]:
    """Every state from pure noise on: len(times) of them, the last one the image.

    Args:
        times: see `require_whole`.
        eps: (b, c, h, w), standard normal.
    """
    require_whole(times)
    return walk(step, denoise, path, start(path, times, eps), times[1:], noise)


def require_whole(times: Tensor) -> None:
    """Raises UserError unless these are the times of a whole trajectory, from noise to image.

    times: (n + 1,) float64, 1 >= t_0 > t_1 > ... > t_n = 0.
    """
    if not (len(times) > 1 and times[0] <= 1 and (times.diff() < 0).all() and times[-1] == 0):
        raise UserError(
            "the times of a trajectory have to fall, from 1 at most to 0; sort them from noise to "
            "image, and let the last be 0"
        )


def start(path: Path, times: Tensor, eps: Tensor) -> State:
    """The first state: noise of the first time's level (the image's share of x_t is not known)."""
    return State(path.sigma(times[0]) * eps, times[0])


def walk(
    step: Step, denoise: Denoise, path: Path, state: State, times: Tensor, noise: Noise
) -> Iterator[State]:
    """`state` and the states at `times`, which fall from it on."""
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
