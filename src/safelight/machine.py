"""What the machine at hand can do, for every part that computes."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16")


def device() -> torch.device:
    """Where one process computes."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether there are instructions for bfloat16: elsewhere it is emulated, slower than float32.

    False for devices other than cuda and cpu.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu":
        capable = torch.cpu.get_capabilities()
        return any(bool(capable.get(name)) for name in BF16_INSTRUCTIONS)
    return False


def full_precision() -> AbstractContextManager[None]:
    """Convolutions without TF32, whose ten bits of mantissa make numbers depend on the device."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, deterministic=True, allow_tf32=False
    )
    return flags
