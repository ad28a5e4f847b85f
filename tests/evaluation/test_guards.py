"""Guards: each says in a line what is wrong with the images of an evaluation."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from safelight.evaluation.cautions import cautions
from safelight.evaluation.compare import compare
from safelight.evaluation.estimate import Evaluation
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.evidence import FEWEST
from safelight.evaluation.features import FEATURES
from safelight.evaluation.finding import Finding
from safelight.evaluation.table import table
from tests.evaluation.scenes import jpeg, noisy, scenes
from tests.evaluation.sources import Stored, pixels

N = 60
CLASSES = ("sea", "sky", "wood")


def source(name: str, images: Tensor, labels: Tensor | None = None) -> Stored:
    targets = torch.arange(len(images)) % len(CLASSES) if labels is None else labels
    return Stored(name, images, targets, CLASSES)


TRAIN, REAL = source("set:train", scenes(200, 1)), source("set:test", scenes(N, 2))
CLEAN = scenes(N, 3)


def resized(images: Tensor, mode: str) -> Tensor:
    """Half as large and back again."""
    small = F.avg_pool2d(images.float(), 2)
    return F.interpolate(small, scale_factor=2, mode=mode).round().clamp(0, 255).byte()


def greyed(images: Tensor) -> Tensor:
    return images.float().mean(1, keepdim=True).round().byte().expand(-1, 3, -1, -1)


def first(k: int, images: Tensor, then: Tensor = CLEAN) -> Tensor:
    return torch.cat([images[:k], then[k:]])


Change = Callable[[], Tensor]

# What is done to the generated images, the guard that has to find it, and what it says.
FAULTS: dict[str, tuple[Change, str, str]] = {
    "overlap": (
        lambda: first(3, REAL.pixels),
        "overlap",
        "3 of 60 generated images are on the other side too",
    ),
    "one copy": (
        lambda: first(1, TRAIN.pixels),
        "copies",
        "1 of 60 generated images is copies of training pictures, or nearly (1 to the last value)",
    ),
    "noisy copies": (
        lambda: first(15, noisy(TRAIN.pixels, 3)),
        "copies",
        "15 of 60 .* (0 to the last value); of 60 real ones 0",
    ),
    "compressed copies": (lambda: first(15, jpeg(TRAIN.pixels, 95)), "copies", "15 of 60"),
    "twice": (
        lambda: torch.cat([CLEAN[:-1], CLEAN[:1]]),
        "duplicates",
        "2 of 60 generated images are the same as another of them, or nearly (2 to",
    ),
    "nearly one image": (
        lambda: first(15, noisy(CLEAN[-1:].expand(15, -1, -1, -1), 3)),
        "duplicates",
        "16 of 60 generated images are .* (0 to the last value)",
    ),
    "constant": (
        lambda: first(2, torch.full_like(CLEAN, 90)),
        "constant",
        "2 of 60 generated images are of one colour all over",
    ),
    "0..1 saved as 0..255": (
        lambda: (CLEAN / 255).round().byte(),
        "range",
        "all values of the generated images are 0 or 1 of 255",
    ),
    "too dark": (lambda: CLEAN // 2, "range", "generated images reach from 0 to 127 only"),
    "never dark": (lambda: CLEAN // 2 + 128, "range", "from 128 to 255 only"),
    "-1..1 saved as 0..1": (
        lambda: (CLEAN.float() * 2 - 255).clamp(0, 255).byte(),
        "clipped",
        "of the values of the generated images are 0 to 8, and",
    ),
    "jpeg": (lambda: jpeg(CLEAN), "jpeg", "the generated images were compressed as JPEG"),
    "enlarged": (lambda: resized(CLEAN, "bilinear"), "enlarged", "times less fine detail"),
    "enlarged by bicubic": (lambda: resized(CLEAN, "bicubic"), "enlarged", "less fine detail"),
    "enlarged by repeating": (
        lambda: resized(CLEAN, "nearest"),
        "enlarged",
        "the generated images have .* less fine detail than the others",
    ),
    "grey": (lambda: greyed(CLEAN), "grey", "60 of 60 generated images are grey, and 0% of"),
}
MIRRORED = ("jpeg", "enlarged", "grey", "too dark", "-1..1 saved as 0..1")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURES, "pixels", lambda material: pixels())


def judged(generated: Stored, against: Stored, store: Path, **given: object) -> Evaluation:
    asked: dict[str, object] = {"pool": None, "train": TRAIN, "features": "pixels"} | given
    return evaluate(generated, against, metrics=("kid",), store=store, **asked)  # type: ignore[arg-type]


def said(found: Evaluation) -> dict[str, str]:
    return {finding.guard: finding.text for finding in found.findings}


def test_images_without_a_fault_are_not_accused(tmp_path: Path) -> None:
    """X2: nor training pictures that stand in for generated ones."""
    assert judged(source("made", CLEAN), REAL, tmp_path).findings == ()
    assert judged(TRAIN, REAL, tmp_path).findings == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_evaluate_says_what_is_wrong(fault: str, tmp_path: Path) -> None:
    """X2: each fault by its own guard, in a line, and kept with the numbers."""
    change, guard, text = FAULTS[fault]
    found = judged(source("made", change()), REAL, tmp_path)
    heard = said(found)[guard]
    for part in text.split(" .* "):
        assert part in heard
    assert "\n" not in heard
    assert Evaluation.from_json(found.to_json()) == found
    assert len(found.estimates) == 1


@pytest.mark.parametrize("fault", MIRRORED)
def test_a_fault_of_the_real_images_is_said_of_them(fault: str, tmp_path: Path) -> None:
    change, guard, _ = FAULTS[fault]
    found = judged(source("made", REAL.pixels), source("real", change()), tmp_path, train=None)
    assert "the real images" in said(found)[guard] or "real images are grey" in said(found)[guard]


@pytest.mark.parametrize(
    ("guard", "change"),
    [
        ("constant", lambda images: torch.full_like(images, 90)),
        ("grey", greyed),
        ("copies", lambda images: TRAIN.pixels[: len(images)]),
    ],
)
def test_more_generated_than_real_images_hide_nothing(
    guard: str, change: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    """X2: 30 of 100 against 1 of 20 real ones; only repeats grow more frequent with the images."""
    generated, real = scenes(100, 4), scenes(20, 5)
    generated[:30] = change(generated[:30])
    real[:1] = TRAIN.pixels[60:61] if guard == "copies" else change(real[:1])
    if guard == "grey":
        generated = greyed(generated)
    assert guard in said(judged(source("more", generated), source("few", real), tmp_path))


def test_copies_are_looked_for_in_what_was_learnt_from(tmp_path: Path) -> None:
    """X4: not in the training split of the pictures that it is judged by."""
    own = source("own:train", scenes(100, 6))
    copying = source("copying", first(15, own.pixels))
    assert "copies" not in said(judged(copying, REAL, tmp_path))
    assert "copies" in said(judged(copying, REAL, tmp_path, learnt=own))


def test_a_set_against_itself_is_said_and_not_refused(tmp_path: Path) -> None:
    """The distance of KID from itself is even below zero: it must not stand there unmarked."""
    found = judged(REAL, REAL, tmp_path, train=None)
    assert list(said(found)) == ["same"]
    assert "set:test is on both sides" in said(found)["same"]
    assert found.estimates[0].value < 0


def test_another_balance_of_classes_is_said(tmp_path: Path) -> None:
    n = 300
    labels = torch.zeros(n, dtype=torch.int64)
    labels[: n // 2] = torch.arange(n // 2) % 3
    many = source("real", scenes(n, 5, 8))
    found = judged(source("made", scenes(n, 4, 8), labels), many, tmp_path, train=None)
    assert "sea is 67% of the generated and 33% of the real images" in said(found)["balance"]


@pytest.mark.parametrize("classes", [(), ("fire",)])
def test_sides_without_a_class_in_common_have_no_balance(
    classes: tuple[str, ...], tmp_path: Path
) -> None:
    """Cats against frogs were chosen so."""
    labels = torch.zeros(N, dtype=torch.int64) if classes else None
    other = Stored("made", CLEAN, labels, classes)
    assert judged(other, REAL, tmp_path).findings == ()


def test_what_real_images_have_too_is_no_fault(tmp_path: Path) -> None:
    """Duplicates and copies of training pictures are counted on both sides."""
    real = source("real", torch.cat([TRAIN.pixels[:2], REAL.pixels[2:-1], REAL.pixels[2:3]]))
    made = source("made", torch.cat([TRAIN.pixels[2:4], CLEAN[2:-1], CLEAN[2:3]]))
    assert judged(made, real, tmp_path).findings == ()


def test_an_empty_ground_drawn_a_little_above_black_is_no_fault(tmp_path: Path) -> None:
    """Digits have 0 around them; a model that learnt them draws it as 0 to 4."""
    rng = torch.Generator().manual_seed(0)

    def digits(seed: int, faint: int) -> Tensor:
        images = scenes(N, seed, channels=1)
        images[:, :, :, 12:] = torch.randint(
            0, 1 + faint, images[:, :, :, 12:].shape, generator=rng
        )
        return images

    found = judged(source("made", digits(3, 4)), source("real", digits(2, 0)), tmp_path, train=None)
    assert "clipped" not in said(found)


def test_of_a_few_images_nothing_is_said_as_a_whole(tmp_path: Path) -> None:
    few = FEWEST - 1
    dark = judged(source("made", CLEAN[:few] // 2), REAL, tmp_path)
    assert dark.findings == ()
    copies = judged(source("made", TRAIN.pixels[:few]), REAL, tmp_path)
    assert list(said(copies)) == ["copies"]


def test_a_second_evaluation_looks_at_nothing(tmp_path: Path) -> None:
    made = source("made", CLEAN)
    first_time = judged(made, REAL, tmp_path)
    asked = made.asked, REAL.asked, TRAIN.asked
    assert judged(made, REAL, tmp_path).findings == first_time.findings
    assert (made.asked, REAL.asked, TRAIN.asked) == asked


def test_findings_are_shown_and_kept(tmp_path: Path) -> None:
    """X2: in the terminal's table, within its width; a record without them can still be read."""
    found = judged(source("made", first(12, TRAIN.pixels)), REAL, tmp_path)
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table(found))
    text = " ".join(console.export_text().split())
    assert "Look out: 12 of 60 generated images are copies of training pictures, or nearly" in text
    assert "Intervals are 95 %" in text
    held = found.to_json()
    assert held["findings"][0]["guard"] == "copies"
    del held["findings"]
    assert Evaluation.from_json(held) == dataclasses.replace(found, findings=())


def test_a_comparison_says_what_is_wrong_with_whom(tmp_path: Path) -> None:
    """Of the evaluations whose numbers it shows, each finding once."""
    clean = judged(source("clean", CLEAN), REAL, tmp_path)
    copied = judged(source("copied", first(12, TRAIN.pixels)), REAL, tmp_path)
    old = dataclasses.replace(copied, findings=(Finding("jpeg", "long mended"),))
    runs = {"a": [clean], "b": [old, copied]}
    compared = compare(runs)
    said = copied.findings[0].text
    assert cautions(runs, [*compared, *compared], {}) == [f"b: {said}"]
    again = {**runs, "c": [copied]}
    assert cautions(again, compare(again), {"b": "ours"}) == [
        f"ours: {said}",
        f"c: {said}",
        "ours, c are the same images",
    ]


def test_nearly_black_images_are_said_to_be_that_and_nothing_else(tmp_path: Path) -> None:
    """Values of [0, 1] saved as bytes are of one colour, cut off and grey by the same fault."""
    dark = source("made", (CLEAN.float() / 255).round().byte())
    assert list(said(judged(dark, REAL, tmp_path))) == ["range"]
