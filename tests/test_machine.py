"""What the machine is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from safelight.machine import KERNELS, full_precision, training_kernels

TOUCHED = """
import resource, sys
import torch
from safelight.machine import give_back_memory, keep_memory

if sys.argv[1] != "usual":
    keep_memory()
if sys.argv[1] == "back":
    give_back_memory()
for i in range(24):
    if i == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = torch.ones(2**22)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
# By itself glibc comes to keep blocks of a size that was freed often enough, up to 32 MB in all.
AS_AT_THE_START = {"MALLOC_MMAP_THRESHOLD_": str(2**17), "MALLOC_TRIM_THRESHOLD_": str(2**17)}


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_memory_that_is_kept_is_not_fetched_again() -> None:
    """Page faults of twenty steps that each allocate 16 MB."""
    faults = {
        how: int(
            subprocess.check_output(
                [sys.executable, "-c", TOUCHED, how], env=os.environ | AS_AT_THE_START
            )
        )
        for how in ("keep", "usual", "back")
    }
    assert faults["keep"] < faults["usual"] / 10
    assert faults["keep"] < faults["back"] / 10


def chosen() -> tuple[bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark


@pytest.mark.parametrize("kind", [*KERNELS, "mps"])
@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_what_is_float32_stays_so_but_beside_bf16_in_training_on_a_gpu(
    kind: str, precision: str
) -> None:
    """What is drawn on the way is drawn in full; and all is put back."""
    before, gpu = chosen(), kind == "cuda"
    tf32 = gpu and precision == "bf16"
    with training_kernels(torch.device(kind), precision):
        assert chosen() == (tf32, tf32, gpu)
        with full_precision():
            assert chosen() == (False, False, False)
            assert torch.backends.cudnn.deterministic
        assert chosen() == (tf32, tf32, gpu)
    assert chosen() == before
