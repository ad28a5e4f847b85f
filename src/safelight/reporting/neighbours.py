"""The training pictures that are nearest to given pictures, in bounded memory.

Distance is taken between the pixels themselves: the root of the mean squared difference over
channels and places, both images in [-1, 1]. So 0 is a copy, and 2 is black against white. It
sees copies; it does not see a copy that was moved by a pixel or mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from safelight.images import ImageSource, dequantise

MEMORY = 64 * 2**20  # bytes for one block of training images and their distances; see `nearest`
SPARE = 8  # candidates beyond k that are measured exactly, see `nearest`


@dataclass(frozen=True)
class Nearest:
    """The k nearest of n pictures: positions int64 (n, k), distances float32 (n, k), ascending."""

    positions: Tensor
    distances: Tensor


def nearest(queries: Tensor, training: ImageSource, k: int, memory: int = MEMORY) -> Nearest:
    """The k pictures of `training` nearest to each of `queries` (n, c, h, w) uint8.

    k must not exceed training.count. Takes about 3 * memory bytes (206 MB measured for 64 MiB: a
    block, its distances and the copies made of them), whatever the size of `training`.
    Found by |q - t|² = |q|² + |t|² - 2 q·t, which is fast but loses the small distances to
    rounding; so k + SPARE candidates are kept and then measured by their true difference.
    """
    size = queries[0].numel()
    blocks = torch.split(queries, max(1, memory // (4 * size)))
    # a training picture costs 4 bytes a number, and 16 a query for its distance and position
    rows = max(1, memory // (4 * size + 16 * len(blocks[0])))
    parts = [_candidates(dequantise(block), training, k, rows) for block in blocks]
    return _measured(queries, torch.cat(parts), training, k)


def _candidates(queries: Tensor, training: ImageSource, k: int, rows: int) -> Tensor:
    """Positions (n, k + SPARE) of the approximately nearest, found block by block."""
    q = queries.flatten(1)
    best = torch.empty(len(q), 0)
    positions = torch.empty(len(q), 0, dtype=torch.int64)
    for block in _blocks(training.count or 0, rows):
        t = dequantise(training.images(block)).flatten(1)
        squared = t.square().sum(1) - 2 * q @ t.T  # |q|² is the same for every t
        best = torch.cat([best, squared], 1)
        numbers = torch.tensor(block).expand(len(q), -1)
        positions = torch.cat([positions, numbers], 1)
        best, order = best.topk(min(k + SPARE, best.shape[1]), largest=False)
        positions = positions.gather(1, order)
    return positions


def _measured(queries: Tensor, candidates: Tensor, training: ImageSource, k: int) -> Nearest:
    """Order the candidates by their exact distance, equal ones by position, and keep k."""
    candidates = candidates.sort(1).values
    found = []
    for query, positions in zip(queries, candidates, strict=True):
        true = dequantise(training.images(positions.tolist()))
        found.append((true - dequantise(query)).square().flatten(1).mean(1).sqrt())
    distances, order = torch.stack(found).sort(dim=1, stable=True)
    return Nearest(candidates.gather(1, order)[:, :k], distances[:, :k])


def _blocks(count: int, rows: int) -> Iterator[range]:
    for start in range(0, count, rows):
        yield range(start, min(start + rows, count))


def share_nearer(distance: float, reference: Tensor) -> float:
    """The share of `reference` distances that are at most `distance`, in [0, 1]."""
    return float((reference <= distance).float().mean())
