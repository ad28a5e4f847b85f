from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from safelight.evaluation import cost
from safelight.evaluation.cost import announce, expected_seconds, told
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Side
from safelight.evaluation.store import Part, ahead, looked_at
from tests.evaluation.sources import Model, pixels, stored

DRAW, LOOK, SETUP = 0.5, 0.125, 7.0  # seconds for an image, and for a network's first batch


class Clock:
    """A clock that only moves when images are drawn or looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    held = Clock()
    monkeypatch.setattr(cost.time, "perf_counter", held)
    return held


def slow(clock: Clock, weights: str = "slow", seconds: float = LOOK) -> Network:
    setup = [SETUP]

    def extract(images: torch.Tensor) -> torch.Tensor:
        clock.now += (setup.pop() if setup else 0.0) + seconds * len(images)
        return pixels().extract(images)

    return dataclasses.replace(pixels(), weights=weights, extract=extract)


def painter(clock: Clock, seconds: float = DRAW) -> Model:
    class Slow(Model):
        def images(self, seeds, labels=None):  # type: ignore[no-untyped-def]
            clock.now += seconds * len(seeds)
            return super().images(seeds, labels)

    return Slow()


def test_the_cost_is_that_of_drawing_and_of_looking(clock: Clock) -> None:
    """Each network only at what it has not seen; what a first batch sets up is not counted."""
    one, two = slow(clock), slow(clock, "slow-2", seconds=0.25)
    parts = [
        Part(painter(clock), range(400), [one, two]),
        Part(painter(clock), range(400, 500), [two]),
        Part(stored("real", 300, 1), range(300), [one]),
    ]
    wanted = 500 * DRAW + 400 * (LOOK + 0.25) + 100 * 0.25 + 300 * LOOK
    assert expected_seconds(parts) == pytest.approx(wanted)
    assert expected_seconds([]) == 0


def test_what_is_quick_is_timed_again(clock: Clock) -> None:
    """Its first time may be for setting up: of 100,000 images that would be said to be hours."""
    setup = [0.1]

    class Quick(Model):
        def images(self, seeds, labels=None):  # type: ignore[no-untyped-def]
            clock.now += 0.001 * len(seeds) + (setup.pop() if setup else 0.0)
            return super().images(seeds, labels)

    part = Part(Quick(), range(100_000), [slow(clock, seconds=0.002)])
    assert expected_seconds([part]) == pytest.approx(300.0)


def test_few_images_are_drawn_to_be_timed(clock: Clock) -> None:
    for count, drawn in ((10, 1), (320, 10), (4000, 16)):
        model = painter(clock)
        expected_seconds([Part(model, range(count), [slow(clock)])])
        assert model.seen == list(range(drawn))


def test_it_is_said_in_one_line_where_it_is_over_a_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*parts: Part) -> str:
        announce(parts)
        return capsys.readouterr().err

    network, real = slow(clock), stored("real", 3000, 1)
    drawing = Part(painter(clock), range(2000), [network])
    looking = Part(real, range(2000), [network])
    assert said(drawing, looking) == "about 25 minutes: 2,000 images to draw, 4,000 to look at\n"
    assert said(looking) == "about 4 minutes: 2,000 images to look at\n"
    assert said(Part(real, range(400), [network])) == ""
    assert said() == ""


def test_time_is_told_roughly() -> None:
    spoken = [told(seconds) for seconds in (61, 89, 91, 420, 5400, 9000)]
    assert spoken == [
        "about 1 minute",
        "about 1 minute",
        "about 2 minutes",
        "about 7 minutes",
        "about 90 minutes",
        "about 2.5 hours",
    ]


def test_only_what_is_not_kept_is_ahead(tmp_path: Path) -> None:
    """X6: whole files, parts of a pass that was stopped, and another network's."""

    class Stopped(Model):
        def images(self, seeds, labels=None):  # type: ignore[no-untyped-def]
            if 32 in seeds:
                raise KeyboardInterrupt
            return super().images(seeds, labels)

    def left(*networks: Network) -> list[tuple[int, list[str]]]:
        parts = ahead(sides, networks, tmp_path, 16)
        return [(len(part.seeds), [each.weights for each in part.networks]) for part in parts]

    one, two = pixels(), pixels(6, weights="pixels-2")
    sides = [Side(Model(), range(40)), Side(Model(), range(30, 50))]
    assert left(one) == [(count, ["pixels-1"]) for count in (13, 13, 14, 10)]
    with pytest.raises(KeyboardInterrupt):
        looked_at([Side(Stopped(), range(40)), sides[1]], [one], tmp_path, 16)
    assert left(one) == [(14, ["pixels-1"]), (10, ["pixels-1"])]
    assert left(two, one)[0] == (13, ["pixels-2"])
    assert left(two, one)[2] == (14, ["pixels-2", "pixels-1"])
    looked_at(sides, [one], tmp_path, 16)
    assert left(one) == []
    assert ahead([], [one], tmp_path, 16) == []


def test_an_evaluation_says_its_cost_before_it_looks(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And the second time, when all is kept, nothing."""
    monkeypatch.setitem(FEATURES, "pixels", lambda material: slow(clock))
    said: list[str] = []
    for _ in range(2):
        evaluate(
            painter(clock),
            stored("real:test", 100, 2),
            pool=stored("real:train", 100, 1),
            features="pixels",
            metrics=("kid",),
            n=100,
            store=tmp_path,
        )
        said.append(capsys.readouterr().err)
    assert said[0].startswith("about 1 minute: 100 images to draw, 300 to look at\n")
    assert "about" not in said[1]
