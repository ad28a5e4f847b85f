"""What the machine is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TOUCHED = """
import resource, sys
import torch
from safelight.machine import keep_memory

if sys.argv[1] == "keep":
    keep_memory()
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
        for how in ("keep", "usual")
    }
    assert faults["keep"] < faults["usual"] / 10
