"""What the machine is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

TOUCHED = """
import resource, sys
import torch
from safelight.machine import keep_memory

if sys.argv[1] == "keep":
    keep_memory()
for i in range(21):
    if i == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    parts = [torch.ones(2**20) for _ in range(8)]
    del parts
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_memory_that_is_kept_is_not_fetched_again() -> None:
    """Page faults of twenty steps that each allocate 32 MB."""
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", TOUCHED, how]))
        for how in ("keep", "usual")
    }
    assert faults["keep"] < faults["usual"] / 10
