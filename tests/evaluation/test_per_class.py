"""Each class by itself: its own images on both sides, looked at once, and never too few."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from safelight.errors import TooFewImages, UserError
from safelight.evaluation import bench
from safelight.evaluation import classifier as classifier_part
from safelight.evaluation.compare import compare
from safelight.evaluation.estimate import Estimate, Evaluation, Interval, by_class
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import FEATURES
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.moments import FeatureFile, Rows
from safelight.evaluation.plan import Side, class_plans, plan
from safelight.evaluation.side_by_side import tables
from safelight.evaluation.store import looked_at
from safelight.evaluation.table import table
from safelight.images import ImageSource
from tests.evaluation.sources import Model, Stored, pixels, stored
from tests.evaluation.test_compare import PROTOCOL
from tests.evaluation.test_likelihood import Knowing

TRAIN, TEST = stored("real:train", 400, 1), stored("real:test", 300, 2)
TARGETS, OTHERS = TEST.targets, TRAIN.targets


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature network of four pixels, and a classifier that is trained in a second."""
    monkeypatch.setattr(bench, "announce", lambda parts: None)  # counts no images
    monkeypatch.setitem(FEATURES, "pixels", lambda material: pixels())
    monkeypatch.setattr(classifier_part, "FEWEST_VIEWS", 40 * classifier_part.BATCH)


def judged(
    source: ImageSource, store: Path, against: ImageSource = TEST, **options: object
) -> dict[str, Estimate]:
    options = {"pool": TRAIN, "features": "pixels", "per_class": True, **options}
    found = evaluate(source, against, store=store, **options)  # type: ignore[arg-type]
    return {estimate.name: estimate for estimate in found.estimates}


def seen(side: Side) -> np.ndarray:
    images = side.source.images(side.seeds, side.source.labels(side.seeds))
    return pixels().extract(images).numpy()


def test_a_class_is_judged_by_its_own_images(tmp_path: Path) -> None:
    """K10: seeds of that class against real images of it, as many; the floor at the same counts."""
    model = Model()
    found = judged(model, tmp_path, metrics=("fd", "kid"), n=120)
    assert TARGETS is not None
    assert OTHERS is not None
    for k, name in enumerate(model.classes):
        part = class_plans(plan(model, TEST, TRAIN, 120, 0), TRAIN)[k]
        assert part.stand_in is not None
        assert list(part.generated.seeds) == list(range(k, 120, 2))
        assert len(part.reference) == len(part.stand_in) == 60
        assert (TARGETS[list(part.reference.seeds)] == k).all()
        assert (OTHERS[list(part.stand_in.seeds)] == k).all()
        kid, reference = found[f"KID[{name}] (pixels)"], seen(part.reference)
        expected = kernel_distance(seen(part.generated), reference)
        assert Interval(kid.value, kid.low, kid.high) == expected
        assert kid.floor == kernel_distance(seen(part.stand_in), reference)
        assert (kid.n, kid.protocol.generated, kid.protocol.reference) == (60, 60, 60)
        assert kid.protocol.reference_name == f"real:test, class {name}"
        assert kid.protocol.floor_images == f"60 images of real:train, class {name}"
        assert kid.of_class == name
        assert f"FD[{name}] (pixels)" in found
    assert len({kid.protocol.hash for kid in found.values()}) == 6


def test_the_whole_is_as_it_is_alone(tmp_path: Path) -> None:
    both = judged(Model(), tmp_path / "a", metrics=("kid",), n=100)
    alone = judged(Model(), tmp_path / "b", metrics=("kid",), n=100, per_class=False)
    assert list(both) == ["KID (pixels)", "KID[dark] (pixels)", "KID[bright] (pixels)"]
    assert both["KID (pixels)"] == alone["KID (pixels)"]


def test_no_image_is_made_twice(tmp_path: Path) -> None:
    """Classes look at what the whole has looked at, and at few real images besides."""
    model, real, pool = Model(), stored("real:test", 300, 2), stored("real:train", 400, 1)
    judged(model, tmp_path, real, pool=pool, metrics=("kid",), n=100, per_class=False)
    before = real.asked + pool.asked
    assert (len(model.seen), before) == (100, 200 + 400)  # guards look at all further real ones
    judged(model, tmp_path, real, pool=pool, metrics=("kid",), n=100)
    assert len(model.seen) == 100
    further = real.asked + pool.asked - before
    assert 0 < further < 40  # of 200 that the classes stand on
    judged(model, tmp_path, real, pool=pool, metrics=("kid",), n=100)
    assert real.asked + pool.asked == before + further


def test_classes_are_met_by_their_names(tmp_path: Path) -> None:
    """Numbered otherwise, and among others that nothing was generated of."""
    assert TARGETS is not None
    renumbered = Stored("real:test", TEST.pixels, 2 - TARGETS, ("none", "bright", "dark"))
    expected = judged(Model(), tmp_path / "a", metrics=("kid",), n=80, pool=None)
    found = judged(Model(), tmp_path / "b", renumbered, metrics=("kid",), n=80, pool=None)
    assert {n: e.value for n, e in found.items()} == {n: e.value for n, e in expected.items()}
    assert all(e.floor and "divided at random" in e.protocol.floor_images for e in found.values())


def test_accuracy_and_bits_have_classes_too(tmp_path: Path) -> None:
    """K10, X11: every metric; the whole is the mean over the images of all classes."""
    metrics = ("accuracy", "bpd")
    found = judged(Knowing(), tmp_path, metrics=metrics, n=50, train=TRAIN)
    assert {"accuracy", "accuracy[dark]", "accuracy[bright]"} < set(found)
    for how in ("bound", "ODE"):
        whole = found[f"bits per dimension ({how})"]
        parts = [found[f"bits per dimension[{name}] ({how})"] for name in ("dark", "bright")]
        assert sum(part.n for part in parts) == whole.n == 50
        assert sum(part.n * part.value for part in parts) == pytest.approx(50 * whole.value)
        assert len({e.protocol.hash for e in (whole, *parts)}) == 3
        assert parts[1].value - parts[0].value > 10  # bright images cost so much more here


def test_a_class_without_enough_images_is_refused_or_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X2: by the guards of the metrics; before any image is made if it was asked for by name."""
    model = Model()
    refusal = "the class dark: a Fr.chet distance on 4 features needs at least 5 images"
    with pytest.raises(TooFewImages, match=f"{refusal}.*got 4 generated"):
        judged(model, tmp_path, metrics=("fd",), n=8)
    with pytest.raises(TooFewImages, match="the class dark: the kernel distance needs at least 4"):
        judged(model, tmp_path, metrics=("kid",), n=6)
    with pytest.raises(TooFewImages, match="the class .*: bits .* at least 2 images, got [01]"):
        judged(Knowing(), tmp_path, metrics=("bpd",), n=3)
    assert model.seen == []
    found = judged(model, tmp_path, n=8)
    assert list(found) == [
        "FD (pixels)",
        "KID (pixels)",
        *(f"KID[{k}] (pixels)" for k in model.classes),
    ]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("left out of dark, bright: a Fréchet distance on 4 features needs") == 1


@pytest.mark.parametrize(
    ("source", "against", "message"),
    [
        (
            Stored("bare", stored("b", 90, 8).pixels),
            TEST,
            "^bare has no classes, .* --per-class out",
        ),
        (Model(), Stored("bare", TEST.pixels), "^bare has no classes, so nothing can be said"),
        (Model(classes=("dark", "red")), TEST, "real:test does not have the class red of model"),
    ],
)
def test_without_classes_it_is_refused(
    source: ImageSource, against: ImageSource, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        judged(source, tmp_path, against, n=50)
    assert "\n" not in str(refusal.value)


def test_a_class_that_the_further_images_lack_has_no_floor() -> None:
    """X2: and says so."""
    assert OTHERS is not None
    only = Stored("real:train", TRAIN.pixels, 0 * OTHERS, ("dark",))
    dark, bright = class_plans(plan(Model(), TEST, only, 60, 0), only)
    assert dark.stand_in is not None
    assert bright.stand_in is None
    assert bright.stand_in_note == (
        "none: it takes 30 further real images, real:train, class bright has 0"
    )


@given(data=st.data())
def test_rows_are_those_of_the_files(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    every = np.arange(3 * sum(sizes), dtype=np.float32).reshape(-1, 3)
    parts = np.split(every, np.cumsum(sizes)[:-1])
    for i, part in enumerate(parts):
        np.save(folder / f"{i}.npy", part)
    files = [FeatureFile(folder / f"{i}.npy") for i in range(len(parts))]
    positions = np.array(data.draw(st.lists(st.integers(0, len(every) - 1))), np.int64)
    start, stop = data.draw(st.integers(0, 9)), data.draw(st.none() | st.integers(0, 30))
    found = Rows(files, positions)
    assert (len(found), found.shape) == (len(positions), (len(positions), 3))
    np.testing.assert_array_equal(found[start:stop], every[positions][start:stop])


def test_each_side_finds_its_images(tmp_path: Path) -> None:
    """In its own order, whatever was looked at first."""
    source = stored("a", 40, 1)
    sides = [Side(source, [30, 4, 7]), Side(source, [7, 39, 30]), Side(source, [0])]
    (found,) = looked_at(sides, [pixels()], tmp_path, 2)
    assert source.asked == 5
    for side in sides:
        np.testing.assert_array_equal(found.of(side)[:9], seen(side))


@given(st.text("a [](", max_size=6), st.sampled_from(["KID", "FD", "accuracy"]), st.booleans())
def test_the_class_is_told_by_the_name(of_class: str, metric: str, network: bool) -> None:
    suffix = " (pixels)" if network else ""
    name = f"{by_class(metric, of_class)}{suffix}"
    estimate = Estimate(name, 0, 0, 0, 1, "", None, PROTOCOL)
    assert (estimate.of_class, estimate.overall) == (of_class, f"{metric}{suffix}")


def evaluation(value: float, classes: dict[str, float]) -> Evaluation:
    """KID of all and of each class."""
    estimates = [
        Estimate(
            by_class("KID", name),
            x,
            x - 0.01,
            x + 0.01,
            500,
            "normal",
            None,
            replace(PROTOCOL, reference_fingerprint=name),
        )
        for name, x in {"": value, **classes}.items()
    ]
    return Evaluation("run", "real", "2026-01-01T00:00:00+00:00", tuple(estimates))


def shown(*judged: Evaluation, per_class: bool = True) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    named = {f"run {i}": [each] for i, each in enumerate(judged)}
    console.print(*tables(compare(named, per_class)))
    return console.export_text()


def test_classes_stand_beside_one_another() -> None:
    """K10: one table of all runs with a column for each class, and a verdict of each."""
    diffusion = evaluation(0.1, {"cat": 0.2, "frog": 0.3})
    gan = evaluation(0.15, {"cat": 0.195, "frog": 0.4})
    text = shown(diffusion, gan)
    lines = [line.split() for line in text.splitlines()]
    assert ["all", "cat", "frog"] in lines
    assert ["run", "0", "0.1", "0.2", "0.3"] in lines
    assert ["run", "1", "0.15", "0.195", "0.4"] in lines
    said = " ".join(text.split())
    assert re.search(r"run 0 is better than run 1 by 0.05 \[\S+, \S+\] in KID \(", said)
    assert "cannot tell run 1 from run 0 in KID[cat] (" in said
    assert re.search(r"run 0 is better than run 1 by 0.1 \[\S+, \S+\] in KID\[frog\] \(", said)
    whole = shown(diffusion, gan, per_class=False)
    assert "cat" not in whole


def test_many_classes_take_several_tables() -> None:
    """Each as wide as a terminal, and all runs in one order."""
    names = [f"class{i}" for i in range(10)]
    text = shown(
        evaluation(0.1, {n: 0.3 + i for i, n in enumerate(names)}),
        evaluation(0.2, dict.fromkeys(names, 0.25)),
    )
    assert all(name in text for name in names)
    starts = [line.split()[1] for line in text.splitlines() if line.startswith("  run ")]
    assert starts == ["0", "1"] * 4
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_runs_without_numbers_of_classes_are_refused() -> None:
    with pytest.raises(UserError, match="of each class in common; evaluate .* --per-class"):
        shown(evaluation(0.1, {"cat": 1}), evaluation(0.1, {}))


def test_the_table_of_one_evaluation_names_the_class() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table(evaluation(0.1, {"cat": 0.2})))
    assert "KID[cat]" in console.export_text()


def test_a_part_of_a_side_is_of_one_class() -> None:
    side = Side(Model(), range(10)).part("bright")
    assert list(side.seeds) == [1, 3, 5, 7, 9]
    assert torch.equal(Model().labels(side.seeds), torch.ones(5, dtype=torch.int64))
