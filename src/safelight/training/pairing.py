"""Which noise meets which image in a training step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Pairing = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # x_0, eps, labels (b,) -> eps


def independent(x_0: Tensor, eps: Tensor, labels: Tensor | None) -> Tensor:
    return eps


def optimal(x_0: Tensor, eps: Tensor, labels: Tensor | None) -> Tensor:
    """The permutation of eps with the least sum of |x_0 - eps|², section 3.2 of arXiv:2304.14772.

    It straightens the paths of the probability-flow ODE. Both x_t and what is to be learnt have to
    be made from the permuted noise. Images of a class share the noise of that class alone: the
    noise that a class meets has to stay N(0, I), which is what a sampler starts each class from.
    The permutation is of the images that are given together.
    """
    with torch.autocast(x_0.device.type, enabled=False):  # whatever the network runs in
        cost = -(x_0.flatten(1) @ eps.flatten(1).T).cpu()  # |x_0|² and |eps|² are constant
    paired = torch.empty(len(x_0), dtype=torch.int64)
    for group in _groups(labels, len(x_0)):
        images, noises = linear_sum_assignment(cost[group][:, group].numpy())
        paired[group[images]] = group[noises]
    return eps[paired.to(eps.device)]


def _groups(labels: Tensor | None, n: int) -> list[Tensor]:
    """The places of each class."""
    if labels is None:
        return [torch.arange(n)]
    return [(labels.cpu() == k).nonzero().flatten() for k in sorted(set(labels.tolist()))]


PAIRINGS: dict[str, Pairing] = {"none": independent, "optimal": optimal}
