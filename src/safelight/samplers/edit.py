"""Editing pictures: guesses that agree with what is known, and trajectories from a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from safelight.diffusion.denoiser import with_variance
from safelight.diffusion.path import Path
from safelight.errors import UserError
from safelight.samplers.edm import Heun
from safelight.samplers.state import Denoise, State, Step, noised
from safelight.samplers.trajectory import last, require_whole, start, walk
from safelight.seeding import ImageNoise, Noise

STRETCHES = 10  # of a trajectory, each of which is walked several times


@dataclass(frozen=True)
class Known:
    """mask x + (1 - mask) x_0: the known pixels x in their place.

    picture (b, c, h, w); mask bool, broadcast over it, true where the picture is known.
    """

    picture: Tensor
    mask: Tensor

    def __call__(self, x_0: Tensor) -> Tensor:
        return torch.where(self.mask, self.picture.to(x_0), x_0)


@dataclass(frozen=True)
class Pooled:
    """A⁺ y + (I - A⁺ A) x_0, where A takes the mean of each k x k block and A⁺ repeats it.

    A A⁺ = I, so that the blocks of what comes out have the means y = `small` (b, c, h/k, w/k);
    of all such images it is the nearest to x_0.
    """

    small: Tensor

    def __call__(self, x_0: Tensor) -> Tensor:
        k = x_0.shape[-1] // self.small.shape[-1]
        return x_0 + repeated(self.small.to(x_0) - avg_pool2d(x_0, k), k)


def repeated(small: Tensor, k: int) -> Tensor:
    """Each pixel as a block of k x k."""
    return small.repeat_interleave(k, dim=-2).repeat_interleave(k, dim=-1)


def fitted(x_0: Tensor, small: Tensor) -> Tensor:
    """x_0 with the block means `small`, as `Pooled` has it, but without leaving [-1, 1].

    The pixels of a block that is too dark go the same share of their way to white, and those of
    one that is too bright to black. x_0 (b, c, h, w); small (b, c, h/k, w/k) in [-1, 1].
    """
    x_0, k = x_0.clamp(-1, 1), x_0.shape[-1] // small.shape[-1]
    mean = avg_pool2d(x_0, k)
    end = torch.where(small > mean, 1.0, -1.0).to(x_0)
    room = (end - mean).abs().clamp(min=torch.finfo(x_0.dtype).tiny)
    share = (small - mean).abs() / room
    return torch.lerp(x_0, repeated(end, k), repeated(share, k))


@dataclass(frozen=True)
class Projected:
    """A denoiser whose guess agrees with what is known of the image, eq. (13) of arXiv:2212.00490.

    Every sampler ends at its last guess, and so at an image that agrees with it.
    """

    denoise: Denoise
    onto: Callable[[Tensor], Tensor]

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.onto(self.denoise(x_t, t))

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x_0, v = with_variance(self.denoise, x_t, t)
        return self.onto(x_0), v


@dataclass(frozen=True)
class Between:
    """Guesses between those of two denoisers: (1 - share) one + share other, share (b, 1, 1, 1)."""

    one: Denoise
    other: Denoise
    share: Tensor

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self._mixed(self.one(x_t, t), self.other(x_t, t))

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        x_0, v = with_variance(self.one, x_t, t)
        other_x_0, other_v = with_variance(self.other, x_t, t)
        return self._mixed(x_0, other_x_0), self._mixed(v, other_v)

    def _mixed(self, one: Tensor, other: Tensor) -> Tensor:
        return torch.lerp(one, other, self.share.to(one))


def resampled(times: Tensor, repeats: int) -> Iterator[Tensor]:
    """The times after the first, each tenth of them walked `repeats` times.

    Noise is added again to come back to where the tenth began: the resampling of arXiv:2201.09865
    and the time travel of arXiv:2212.00490. What is drawn gets several chances to fit what is
    known.
    """
    n = len(times) - 1
    stretch = -(-n // STRETCHES)
    for first in range(0, n, stretch):
        down = times[first + 1 : first + 1 + stretch]
        for _ in range(repeats - 1):
            yield from (*down, times[first])
        yield from down


def restore(
    step: Step,
    denoise: Denoise,
    path: Path,
    times: Tensor,
    onto: Callable[[Tensor], Tensor],
    eps: Tensor,
    noise: Noise,
    repeats: int = 1,
) -> Tensor:
    """An image of the model that agrees with what is known; the arguments of `trajectory`, and

    onto: the projection, such as `Known`. repeats: see `resampled`.
    """
    require_whole(times)
    guess, state = Projected(denoise, onto), start(path, times, eps)
    for s in resampled(times, repeats):
        back = s > state.t
        state = noised(path, state, s, noise) if back else step(guess, path, state, s, noise)
    return onto(state.x)


def times_from(path: Path, times: Tensor, level: float) -> Tensor:
    """The noise level's own time, or the first of `times` if that is lower, and those after it.

    One that is nearer to it than to the next is left out, since it would be hardly a step.
    """
    t = path.time(torch.tensor(level, dtype=times.dtype) ** -2).to(times).minimum(times[0])
    after = times[times < t]
    if len(after) > 1 and t - after[0] < (after[0] - after[1]) / 2:
        after = after[1:]
    return torch.cat([t[None], after])


def redraw(
    step: Step,
    denoise: Denoise,
    path: Path,
    times: Tensor,
    picture: Tensor,
    level: float,
    noise: Noise,
) -> Tensor:
    """The picture, noised to the level sigma / alpha and denoised: SDEdit, arXiv:2108.01073.

    times: of a whole trajectory; those below the level are walked. At level 0 it is the picture.
    """
    require_whole(times)
    times = times_from(path, times, level)
    eps = noise.normal(*picture.shape[1:])
    x_t = path.alpha(times[0]) * picture + path.sigma(times[0]) * eps
    return last(walk(step, denoise, path, State(x_t, times[0]), times[1:], noise))


def invert(denoise: Denoise, path: Path, times: Tensor, picture: Tensor, eps: Tensor) -> State:
    """The noise from which the probability-flow ODE leads to the picture, by Heun's method.

    The ODE is walked upwards, from the smallest level of `times` (of a whole trajectory, falling)
    to the largest with any image in it. It begins at x_t of the smallest level, usually less noise
    than a grey level: no picture that the model has seen there is without any, and from plain black
    it would find no noise but a shadow of the picture.
    """
    low, *higher = rising(path, times)
    state = State(path.alpha(low) * picture + path.sigma(low) * eps, low)
    for t in higher:
        state = Heun()(denoise, path, state, t, _NONE)
    return State(state.x, state.t)


def rising(path: Path, times: Tensor) -> Tensor:
    """The times that `invert` walks: those of a whole trajectory with image and noise, upwards."""
    require_whole(times)
    found = times[(path.alpha(times) > 0) & (times > 0)].flip(0)
    if not len(found):
        raise UserError("one step from pure noise leads back to no picture; use more --steps")
    return found


def develop(denoise: Denoise, path: Path, times: Tensor, state: State) -> Tensor:
    """The image that the ODE leads to from `state`, which `invert` found; the same `times`."""
    require_whole(times)
    return last(walk(Heun(), denoise, path, state, times[times < state.t], _NONE))


_NONE = ImageNoise([])  # what solves an ODE draws no noise


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """From a to b along a circle, image by image; the norm goes evenly from one's to the other's.

    Between two images of standard normal noise lies such noise again, while (a + b) / 2 would have
    half its variance. From a to -a, where no arc is the shortest, and from 0, it goes straight.

    a, b: (b, c, h, w); share (b,) in [0, 1].
    """
    u, v = (x.double().flatten(1) for x in (a, b))
    s = share.to(u)[:, None]
    norm_u, norm_v = (x.norm(dim=1, keepdim=True) for x in (u, v))
    unit_u, unit_v = u / norm_u, v / norm_v
    angle = 2 * torch.atan2((unit_u - unit_v).norm(dim=1), (unit_u + unit_v).norm(dim=1))[:, None]
    sine = angle.sin()
    arc = (((1 - s) * angle).sin() * unit_u + (s * angle).sin() * unit_v) / sine
    curved = torch.lerp(norm_u, norm_v, s) * arc
    # What is too small to have a norm has no direction either.
    curves = (sine > FLAT) & (norm_u > 0) & (norm_v > 0)
    between: Tensor = torch.where(curves, curved, torch.lerp(u, v, s))
    return between.view_as(a).to(a)


FLAT = 1e-9  # sine of an angle at which an arc and its chord are the same to 1e-18


@dataclass(frozen=True)
class Arc:
    """A `Noise` between two others: each draw is the slerp of theirs. share (b,) in [0, 1]."""

    a: Noise
    b: Noise
    share: Tensor

    def normal(self, *shape: int) -> Tensor:
        return slerp(self.a.normal(*shape), self.b.normal(*shape), self.share)

    def uniform(self, *shape: int) -> Tensor:
        u: Tensor = torch.special.ndtr(self.normal(*shape))
        return u
