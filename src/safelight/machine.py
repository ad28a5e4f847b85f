"""What the machine at hand can do, for every part that computes."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST_BLOCK = -1, -3, 2**30  # of glibc's malloc.h
OLDER_LARGEST = 2**25  # that older versions take
SMALL_BLOCK = 2**20
SPARE, SPARES = 2**24, 8  # bytes, and pieces
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


def keep_memory() -> None:
    """Have this process keep the memory that it frees, where the C library is glibc.

    By itself it gives every large block back, and the next step touches fresh pages again: 32,000
    of them in a step of a small U-Net, a sixth of its time, and 10,000 for each picture that a
    network of photographs looks at. For commands to call: a library must not change its process.
    """
    _blocks_from(LARGEST_BLOCK, OLDER_LARGEST)


def give_back_memory() -> None:
    """Have it give back each block from 1 MB on as it is freed: the other way, slower and smaller.

    What is kept has holes, of which a step whose blocks come and go makes many: by itself glibc
    keeps blocks of up to 32 MB, of a size that was freed before.
    """
    _blocks_from(SMALL_BLOCK)


def _blocks_from(*sizes: int) -> None:
    """What blocks are given back: those of the first of these sizes that glibc takes, and more."""
    with contextlib.suppress(OSError, AttributeError):  # another library, which has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, sizes[0])
        _ = any(mallopt(M_MMAP_THRESHOLD, size) for size in sizes)


class Spare:
    """Addresses that are set aside for when memory runs out, a piece for each time.

    The C library keeps what it has once got for its heap, so that under a limit of addresses
    nothing is left beside it for the code that oneDNN compiles for a batch of another size. Pages
    that nobody touches take no memory.
    """

    def __init__(self) -> None:
        flags = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
        self._pieces: list[mmap.mmap] = []
        with contextlib.suppress(OSError):  # there is no more
            for _ in range(SPARES):
                self._pieces.append(mmap.mmap(-1, SPARE, **flags))

    def release(self) -> None:
        """Give back a piece, and of a GPU's memory what is kept in pieces that may be too small."""
        if self._pieces:
            self._pieces.pop().close()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class Kernels:
    """How training computes on a kind of device, beside what is in docs/speed.md."""

    tf32: bool
    """In a step of bf16: what is left in float32 has ten bits of mantissa, which is still more."""
    tried: bool
    """Kernels of convolutions are tried for each new shape, and the fastest is kept."""


KERNELS = {"cpu": Kernels(tf32=False, tried=False), "cuda": Kernels(tf32=True, tried=True)}


def training_kernels(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Those of this kind of device, for steps in "bf16" or "float32"."""
    kernels = KERNELS.get(device.type, KERNELS["cpu"])
    return _float32(tf32=kernels.tf32 and precision == "bf16", benchmark=kernels.tried)


def full_precision() -> AbstractContextManager[None]:
    """Float32 without TF32, whose ten bits of mantissa make numbers depend on the device."""
    return _float32(tf32=False, deterministic=True)


@contextlib.contextmanager
def _float32(*, tf32: bool, **of_cudnn: bool) -> Iterator[None]:
    """Products and convolutions on a GPU; afterwards as before. Elsewhere this changes nothing."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32, **of_cudnn):
        matmul.allow_tf32 = tf32
        try:
            yield
        finally:
            matmul.allow_tf32 = before
