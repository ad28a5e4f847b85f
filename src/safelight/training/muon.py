"""Muon: the momentum of a layer's weights is made orthogonal before it moves them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the fifth-order iteration by the author of Muon
ITERATIONS = 5
RMS = 0.2  # of an update, in learning rates: about that of AdamW, section 2.2 of arXiv:2502.16982
MOMENTUM = 0.95
SMALLEST = 1e-30  # square of a norm: a gradient of zeros stays one
NARROWEST = 16  # channels in or out of a layer whose weights are taken for a matrix


def matrices(network: nn.Module) -> Iterator[Tensor]:
    """The weights of layers within the network: not of those that pixels go into or come out of."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear) and layer.weight.requires_grad:
            outputs, inputs = layer.weight.shape[:2]
            if min(outputs, inputs) >= NARROWEST:
                yield layer.weight


def towards_orthogonal(grams: Tensor) -> Tensor:
    """P (k, r, r) of Gram matrices X Xᵀ (k, r, r), |X| = 1: P X has singular values of about 1.

    Of 0.7 to 1.2, and the singular vectors of X. The iteration X <- a X + b (X Xᵀ) X + c (X Xᵀ)² X
    is a polynomial in the Gram matrix at each step, so that the long side of X has no part in it.
    """
    a, b, c = COEFFICIENTS
    product = None
    for iteration in range(ITERATIONS):
        factor = torch.baddbmm(grams, grams, grams, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
        if iteration < ITERATIONS - 1:
            grams = factor @ grams @ factor
    assert product is not None
    return product


class Muon(Optimizer):
    """Matrices by Muon (K. Jordan 2024) with the scale of arXiv:2502.16982, the rest by AdamW.

    With that scale one learning rate and one weight decay serve both. Convolutions are taken for
    matrices (c_out, c_in h w).

    Args:
        matrices: parameters of at least two dimensions.
        others: all other parameters.
        betas: of AdamW.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        *,
        betas: tuple[float, float],
        weight_decay: float = 0.0,
    ) -> None:
        within: list[dict[str, Any]] = [{"params": list(matrices)}]
        super().__init__(within, {"lr": lr, "weight_decay": weight_decay})
        rest: list[dict[str, Any]] = [{"params": list(others)}]
        self._rest = AdamW(rest, lr, betas, weight_decay=weight_decay, fused=True)
        self.param_groups += self._rest.param_groups
        self._share()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Loading makes new groups and a new state: both optimisers have to see them."""
        self._rest.param_groups, self._rest.state = self.param_groups[1:], self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all that have a gradient; there is no closure to ask again."""
        within = self.param_groups[0]
        taught = [(p, p.grad) for p in within["params"] if p.grad is not None]
        if taught:
            self._move(taught, within["lr"], within["weight_decay"])
        self._rest.step()

    def _move(self, taught: Sequence[tuple[Tensor, Tensor]], lr: float, decay: float) -> None:
        """Each weight with its gradient."""
        weights, gradients = [w for w, _ in taught], [g for _, g in taught]
        momenta = [self._momentum(weight) for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(momenta, gradients, 1 - MOMENTUM)  # Nesterov's
        torch._foreach_mul_(weights, 1 - lr * decay)
        # Gram matrices of a size take their steps together, whatever the layers' long sides are.
        alike: dict[int, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, direction in zip(weights, ahead, strict=True):
            wide = _wide(_matrix(direction))
            alike[len(wide)].append((_wide(_matrix(weight)), wide))
        for found in alike.values():
            grams = torch.stack([wide @ wide.mT for _, wide in found])
            squares = grams.diagonal(dim1=1, dim2=2).sum(1).clamp_min(SMALLEST)
            products = towards_orthogonal(grams / squares[:, None, None])
            products = products * squares.rsqrt()[:, None, None]
            for (weight, wide), product in zip(found, products, strict=True):
                step = RMS * math.sqrt(wide.shape[1]) * lr
                weight.addmm_(product, wide, alpha=-step)

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"]
        return momentum


def _matrix(weight: Tensor) -> Tensor:
    """(c_out, c_in, ...) -> (c_out, ...), as the values lie in memory: a view."""
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.permute(0, 2, 3, 1)
    return weight.view(len(weight), -1)


def _wide(matrix: Tensor) -> Tensor:
    """The same or turned, so that it has no more rows than columns: a view."""
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
