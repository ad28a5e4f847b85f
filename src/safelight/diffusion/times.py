"""How the times of a training step are drawn: one for each image, from its own uniform number."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from safelight.diffusion.path import Path
from safelight.diffusion.precision import precise
from safelight.errors import UserError


class Drawn(NamedTuple):
    """t (b,) in (0, 1], and what each image's loss is multiplied with, (b,).

    Most distributions of t are a part of what is minimised, and each image counts alike: 1. A p
    that is only to learn the same faster must not change the mean of the loss under the uniform q,
    and an image counts q(t) / p(t).
    """

    t: Tensor
    importance: Tensor


class Times(Protocol):
    def __call__(self, path: Path, u: Tensor) -> Drawn:
        """u: (b,), uniform in [0, 1)."""
        ...


def uniform_times(path: Path, u: Tensor) -> Drawn:
    """Uniform over {1/T, ..., 1}, algorithm 1 of arXiv:2006.11239; over (0, 1] without a T."""
    if path.levels is None:
        return Drawn(1 - u, torch.ones_like(u))
    t = ((u * path.levels).floor() + 1).clamp(max=path.levels) / path.levels
    return Drawn(t, torch.ones_like(u))


def lognormal_times(path: Path, u: Tensor, mean: float = -1.2, std: float = 1.2) -> Drawn:
    """ln(sigma / alpha) ~ N(mean, std²), table 1 of arXiv:2206.00364."""
    return Drawn(path.time((-2 * _normal(u, mean, std)).exp()), torch.ones_like(u))


def logit_normal_times(path: Path, u: Tensor, mean: float = 0.0, std: float = 1.0) -> Drawn:
    """ln(t / (1 - t)) ~ N(mean, std²), section 3.1 of arXiv:2403.03206.

    On the flow path t / (1 - t) is sigma / alpha, so that these are the log-normal times.
    """
    return Drawn(_normal(u, mean, std).sigmoid(), torch.ones_like(u))


class LossAware(nn.Module):
    """Steps in proportion to the root mean square of their last losses, eq. (18) of
    arXiv:2102.09672: p_t ~ sqrt(E[L_t²]), the choice with the least variance of the sum's gradient.

    Uniform until every step has been seen `depth` times. The losses are state: they belong in a
    checkpoint, or a resumed run would be another run.

    Args:
        levels: T of the path.
        depth: how many losses of each step are remembered.
        floor: share of the draws that stays uniform, or a step whose losses were 0 would never be
            looked at again.
    """

    history: Tensor
    seen: Tensor

    def __init__(self, levels: int, depth: int = 10, floor: float = 1e-3) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("history", torch.zeros(levels, depth))
        self.register_buffer("seen", torch.zeros(levels, dtype=torch.int64))

    def forward(self, path: Path, u: Tensor) -> Drawn:
        p = self.probabilities()
        T = len(p)
        step = torch.searchsorted(p.cumsum(0), precise(u), right=True).clamp(max=T - 1)
        return Drawn(((step + 1) / T).to(u), (1 / (T * p[step])).to(u))

    def probabilities(self) -> Tensor:
        """p_t of the steps 1..T, (T,), `precise`."""
        T, depth = self.history.shape
        root = precise(self.history).square().mean(1).sqrt()
        trusted = (self.seen.min() >= depth).to(root.device) & (root.sum() > 0)
        p = torch.where(trusted, root, 1.0)
        return (1 - self.floor) * p / p.sum() + self.floor / T

    @torch.no_grad()
    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Remember the losses (b,), before importance, of images at times t (b,), in their order.

        To be called once a step with the images of all processes: then the history does not
        depend on how the batch was split.
        """
        T, depth = self.history.shape
        step = (t * T).round().long() - 1
        same = step[:, None] == step
        before, after = same.tril(-1).sum(1), same.triu(1).sum(1)
        kept = after < depth
        slot = (self.seen[step] + before) % depth
        self.history[step[kept], slot[kept]] = losses[kept].to(self.history)
        self.seen += torch.bincount(step, minlength=T)


@torch.no_grad()
def lowest_drawn(
    times: Times,
    path: Path,
    asked: Callable[[Tensor], Tensor] = lambda t: t,
    share: float = 1e-3,
) -> float:
    """The noise level sigma / alpha up to which this share of the network's times lies.

    That of the first step where it alone has as large a share.

    asked: the times at which the network is asked, of those that are drawn.
    """
    within = 10  # of so many at the lowest end, the last: exact to a tenth of the share
    n = round(within / share)
    t = asked(times(path, (torch.arange(n, dtype=torch.float64) + 0.5) / n).t)
    return float(path.noise_level(t.kthvalue(within).values))


def _normal(u: Tensor, mean: float, std: float) -> Tensor:
    """N(mean, std²) from uniform numbers, by the inverse of its distribution function."""
    return mean + std * math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-6, 1 - 1e-6))


def _loss_aware(path: Path) -> LossAware:
    if path.levels is None:
        raise UserError(
            "importance times remember the losses of each of a path's steps, and this path has "
            "none; choose a path with steps, such as linear, or --diffusion.times uniform"
        )
    return LossAware(path.levels)


def _normal_times(times: Callable[..., Drawn], mean: float | None, std: float | None) -> Times:
    chosen = {"mean": mean, "std": std}
    return partial(times, **{name: x for name, x in chosen.items() if x is not None})


# Each row makes its distribution for a path, from the mean and deviation of its normal, if it has
# one; None for the usual.
TIMES: dict[str, Callable[[Path, float | None, float | None], Times]] = {
    "lognormal": lambda path, mean, std: _normal_times(lognormal_times, mean, std),
    "uniform": lambda path, mean, std: uniform_times,
    "logit-normal": lambda path, mean, std: _normal_times(logit_normal_times, mean, std),
    "importance": lambda path, mean, std: _loss_aware(path),
}
