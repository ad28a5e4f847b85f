"""Networks whose every weight takes part, as after a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def stirred(make: Callable[[], Net]) -> Net:
    """The same weights for the same network: layers that start at zero would hide a dead option."""
    torch.manual_seed(0)
    net = make()
    torch.manual_seed(1)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net
