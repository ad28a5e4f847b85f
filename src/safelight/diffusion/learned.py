"""A schedule that is trained with the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from safelight.diffusion.schedules import bisect
from safelight.errors import UserError


class LearnedSchedule(nn.Module):
    """A log-SNR of trainable shape, as in appendix H of arXiv:2107.00630.

        log_snr(t) = clean - (clean - noisy) (h(t) - h(0)) / (h(1) - h(0)),
        h(t) = w t + sum_k w_k sigmoid(s_k (t - c_k)).

    All w and s are exponentials of parameters, so h rises whatever the parameters are. It begins
    nearly as a straight line. Infinitely many steps' bound depends on the ends alone, and the shape
    decides how much the bound varies from draw to draw of t: that is what shapes are trained for.

    Args:
        clean, noisy: log-SNR just after t = 0 and at t = 1; that paper's values unless given.
        learn_ends: train them too (they begin as given, and stay in order).
        units: how many sigmoids.
    """

    ends: Tensor
    levels = None

    def __init__(
        self,
        clean: float = 13.3,
        noisy: float = -5.0,
        learn_ends: bool = False,
        units: int = 32,
    ) -> None:
        super().__init__()
        if not clean > noisy:
            raise UserError(
                f"a schedule's log-SNR has to fall, and {clean:g} to {noisy:g} rises; swap the ends"
            )
        ends = torch.tensor([clean, math.log(clean - noisy)])
        if learn_ends:
            self.ends = nn.Parameter(ends)
        else:
            self.register_buffer("ends", ends, persistent=False)
        self.line = nn.Parameter(torch.zeros(()))  # ln w
        self.weights = nn.Parameter(torch.full((units,), -math.log(units)))  # ln w_k
        self.slopes = nn.Parameter(torch.full((units,), math.log(10)))  # ln s_k
        self.centres = nn.Parameter((torch.arange(units) + 0.5) / units)

    def log_snr(self, t: Tensor) -> Tensor:
        clean, log_fall = self.ends.to(t).unbind()
        begin, end = self._rise(t.new_tensor([0.0, 1.0])).unbind()
        return clean - log_fall.exp() * (self._rise(t) - begin) / (end - begin)

    def time(self, log_snr: Tensor) -> Tensor:
        return bisect(self.log_snr, log_snr)

    def _rise(self, t: Tensor) -> Tensor:
        """h(t), of t's shape."""
        line, weights, slopes, centres = (
            p.to(t) for p in (self.line, self.weights, self.slopes, self.centres)
        )
        steps = (slopes.exp() * (t[..., None] - centres)).sigmoid()
        return line.exp() * t + (weights.exp() * steps).sum(-1)
