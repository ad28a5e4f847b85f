"""How many pictures are in memory at once, where all are gone through.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations


def at_once(most: int, each: int, together: int) -> int:
    """So many things of `each` bytes, but of no more than `together` bytes; at least one."""
    return max(1, min(most, together // max(1, each)))
