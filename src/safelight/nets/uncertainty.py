"""How large the loss is at each noise level, learnt beside the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from safelight.nets.blocks import zeroed
from safelight.nets.embedding import FourierEmbedding


class Uncertainty(nn.Module):
    """u(c_noise), the logarithm of the loss that is to be expected; 0 before it has learnt.

    Minimising loss / exp(u) + u makes exp(u) the mean loss of a level, so that every level comes
    to count alike, eq. (21) of arXiv:2312.02696.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(FourierEmbedding(width), zeroed(nn.Linear(width, 1)))

    def forward(self, c_noise: Tensor) -> Tensor:
        """(b,) -> (b,), in float32 whatever precision the network runs in."""
        with torch.autocast(c_noise.device.type, enabled=False):
            return self.layers(c_noise)[:, 0]  # type: ignore[no-any-return]
