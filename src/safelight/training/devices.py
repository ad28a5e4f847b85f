"""The machine at hand: which precision it gains by, how much memory is free, what to call it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import psutil
import torch

from safelight.machine import has_bf16

Precision = Literal["float32", "bf16"]
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CGROUP_USE = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def best_precision(device: torch.device) -> Precision:
    """bf16 where there are instructions for it: elsewhere it is emulated and slower."""
    return "bf16" if has_bf16(device) else "float32"


def precision_told(precision: Precision, asked: str, device: torch.device) -> str:
    """The precision of the steps, and why, where the processor has no instructions for bf16."""
    if has_bf16(device) or asked == "float32":
        return precision
    if precision == "bf16":
        return "bf16 (emulated: this processor has no instructions for it)"
    return f"{precision} (this processor has no instructions for bf16)"


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on the device, a container's limit included."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    for limit, use in zip(CGROUP_LIMITS, CGROUP_USE, strict=True):
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(use).read_text()))
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
    return free


def describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def versions() -> dict[str, str]:
    """What decides the last bit of a result, beside the hardware."""
    names = ("safelight", "torch", "accelerate", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
