"""Float64 on every device."""

from __future__ import annotations

from torch import Tensor


def precise(x: Tensor) -> Tensor:
    """x in float64, where it is; on the CPU if that device has no float64, as Apple's GPUs."""
    return (x.cpu() if x.device.type == "mps" else x).double()
