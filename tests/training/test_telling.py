"""X5: a bar moves with each guess, so that the time left is known long before a batch is drawn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from safelight.config import Sampling
from safelight.images import Gradual, gradually
from safelight.training.source import DiffusionSource
from tests.evaluation.sources import stored
from tests.training.test_source import made


class Told(list[float]):
    """What was told, and how much of it had been by each call of the network."""

    def __init__(self) -> None:
        self.at_calls: list[float] = []

    def watch(self, source: DiffusionSource) -> None:
        source._denoiser.net.register_forward_hook(lambda *_: self.at_calls.append(sum(self)))


@pytest.mark.parametrize(
    "how",
    [
        {"sampler": "dpm++", "guidance": 1.0},
        {"sampler": "heun", "guidance": 2.0},
        {"sampler": "euler", "guidance": 2.0, "guidance_interval": (0.3, 5.0)},
        {"sampler": "langevin", "inner": 3},
        {"sampler": "predictor-corrector", "guidance": 1.0},
    ],
    ids=lambda how: how["sampler"],
)
def test_each_call_of_the_network_counts_alike(how: dict[str, Any]) -> None:
    """Of 5 images in batches of 3 and 2: before call k of K they are k / K of the way."""
    source, told = made(Sampling(steps=6, **how), micro_batch=3), Told()
    told.watch(source)
    assert isinstance(source, Gradual)
    source.gradually([0, 1, 2, 3, 4], None, told.append)
    calls = source.evaluations
    assert calls is not None
    assert len(told.at_calls) == 2 * calls
    assert sum(told) == pytest.approx(5)
    assert min(told) > 0
    for begun, images, found in (
        (0, 2, told.at_calls[:calls]),
        (2, 3, told.at_calls[calls:]),
    ):
        for k, done in enumerate(found):
            behind = begun + images * k / calls - done  # within a guess of two calls
            assert -1e-9 < behind < images / calls + 1e-9


def test_a_sampler_that_asks_as_often_as_it_needs_tells_how_far_the_noise_has_fallen() -> None:
    """Never back, though a step that was too long is tried again; and all in the end."""
    sampling = Sampling(sampler="adaptive", guidance=1.0, tolerance=1e-5)
    source, told = made(sampling), Told()
    told.watch(source)
    source.gradually(range(4), None, told.append)
    assert sum(told) == pytest.approx(4)
    assert min(told) > 0
    asked = len(told.at_calls)
    assert asked > 12
    assert 0.5 < told.at_calls[asked // 2] < 3.9


def test_the_images_are_the_same_whether_told_or_not() -> None:
    source, told = made(Sampling(steps=3)), Told()
    seeds = [3, 1, 2]
    assert torch.equal(source.gradually(seeds, None, told.append), source.images(seeds))


def test_pictures_that_are_stored_are_told_at_once() -> None:
    told = Told()
    gradually(stored("a", 8, 1), [0, 1, 2], None, told.append)
    assert told == [3]
