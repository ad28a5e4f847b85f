"""Batches are functions of (seed, step), in however many pieces and processes."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from safelight.config import Data
from safelight.data.cache import Cache
from safelight.images import pieces, quantise
from safelight.training.batches import Batches, Pictures

CPU = torch.device("cpu")
VARIED = Data(flip=True, shift=1)


def batches(cache: Cache, *, size: int = 12, rank: int = 0, processes: int = 1) -> Batches:
    train = cache.subset("train")
    pictures = Pictures(train, VARIED, CPU)
    return Batches(pictures, size=size, seed=3, rank=rank, processes=processes)


def drawn(source: Batches, step: int, micro: int) -> tuple[torch.Tensor, ...]:
    """Images, labels and noise of a step, its pieces put together."""
    parts = [(b.images, b.labels, n.normal(2)) for b, n in source.at(step, micro)]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def test_micro_batches_are_the_batch(digits: Cache) -> None:
    """X5: splitting a batch to fit into memory changes nothing that is learnt from."""
    whole = drawn(batches(digits), 5, 12)
    for micro in (1, 5, 6):
        for one, other in zip(whole, drawn(batches(digits), 5, micro), strict=True):
            assert torch.equal(one, other)


@given(count=st.integers(0, 200), size=st.integers(1, 70))
@example(count=64, size=7)  # nine of 7 would leave one by itself
def test_pieces_are_few_and_even(count: int, size: int) -> None:
    found = pieces(count, size)
    assert [i for piece in found for i in range(count)[piece]] == list(range(count))
    lengths = [piece.stop - piece.start for piece in found]
    assert len(lengths) == -(-count // size)
    assert max(lengths, default=0) <= size
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


def test_processes_share_the_batch(digits: Cache) -> None:
    """X16: two processes see together what one would see."""
    whole = drawn(batches(digits), 5, 12)
    for rank in (0, 1):
        part = drawn(batches(digits, rank=rank, processes=2), 5, 12)
        for one, other in zip(whole, part, strict=True):
            assert torch.equal(one[rank::2], other)


def test_batches_depend_on_seed_and_step_alone(digits: Cache) -> None:
    """B7, X6: also after a resume in another epoch."""
    run_on = batches(digits)
    for step in range(3):
        drawn(run_on, step, 12)
    far = drawn(run_on, 1_000, 12)
    for one, other in zip(far, drawn(batches(digits), 1_000, 12), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(far[0], drawn(run_on, 1_001, 12)[0])


def test_an_epoch_visits_every_image_once(digits: Cache) -> None:
    train = digits.subset("train")
    source = Batches(Pictures(train, Data(), CPU), size=100, seed=0)
    visits = np.concatenate([source._positions(step, np.arange(100)) for step in range(26)])
    for epoch in (0, 1):
        seen = visits[epoch * train.count : (epoch + 1) * train.count]
        assert sorted(seen) == list(range(train.count))


def test_labels_belong_to_their_images(digits: Cache) -> None:
    """L2: the label that comes with a picture is that picture's."""
    train = digits.subset("train")
    source = Batches(Pictures(train, Data(), CPU), size=50, seed=0)
    positions = source._positions(7, np.arange(50))
    ((batch, _),) = source.at(7, 50)
    assert torch.equal(batch.labels, train.labels(positions.tolist()))
    assert torch.equal(quantise(batch.images), train.images(positions.tolist()))


def test_unconditional_batches_have_no_labels(digits: Cache) -> None:
    """L1"""
    plain = Batches(Pictures(digits.subset("train"), Data(conditional=False), CPU), size=4, seed=0)
    ((batch, _),) = plain.at(0, 4)
    assert batch.labels is None
