"""Published figures: what may be set beside them, and what not, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from safelight import commands
from safelight.errors import UserError
from safelight.evaluation.compare import compare
from safelight.evaluation.estimate import Estimate, Evaluation
from safelight.evaluation.pretrained import INCEPTION
from safelight.evaluation.protocol import Protocol
from safelight.evaluation.published import PUBLISHED, beside, documented, rows, table
from safelight.evaluation.resizes import RESIZES, USUAL
from tests.evaluation.test_likelihood import shown

NUMBERS = Path(__file__).parents[2] / "docs/metrics.md"
DDPM = next(row for row in PUBLISHED["cifar10"] if row.model == "DDPM")
ALIKE = Protocol(
    metric="fd",
    parameters="p",
    network="inception",
    dimension=2048,
    weights=f"{INCEPTION.begins}00",
    resize=RESIZES[USUAL].text,
    image="3x32x32",
    generated=50_000,
    reference=50_000,
    reference_fingerprint="f",
    seed=0,
    reference_name="CIFAR-10:train",
)
OTHERWISE = {
    "metric": ("kid", "KID instead of FID"),
    "network": ("efficientnet-lite0", "efficientnet-lite0 instead of inception"),
    "weights": ("1234", "other weights of inception"),
    "resize": ("antialiased", "resize antialiased instead of 299x299"),
    "image": ("3x64x64", "images of 3x64x64 instead of 3x32x32"),
    "generated": (2_000, "2,000 generated images instead of 50,000"),
    "reference": (47_500, "47,500 reference images instead of 50,000"),
    "reference_name": ("flowers:train", "flowers:train instead of cifar10:train"),
}


def own(how: Protocol = ALIKE, name: str = "FID") -> Estimate:
    return Estimate(name, 3.0, 2.9, 3.1, how.generated, "m", None, how)


def evaluation(*estimates: Estimate) -> Evaluation:
    return Evaluation("run", "real", "2026-01-01T00:00:00+00:00", estimates)


def test_what_was_measured_alike_may_be_compared() -> None:
    """C9: the whole of the published protocol, whatever the reference's folder is called."""
    assert DDPM.differences(own()) == []
    assert DDPM.differences(own(replace(ALIKE, reference_name="cifar10_train"))) == []


@pytest.mark.parametrize("field", OTHERWISE)
def test_every_difference_is_said(field: str) -> None:
    """C9, X1: one reason for each field that differs."""
    value, told = OTHERWISE[field]
    name = "KID" if field == "metric" else "FID"
    (said,) = DDPM.differences(own(replace(ALIKE, **{field: value}), name))  # type: ignore[arg-type]
    assert told in said


def test_the_split_and_the_class_count() -> None:
    """C9: FIDs against the test split are higher, and a class is no data set."""
    test = replace(ALIKE, reference_name="cifar10:test")
    assert DDPM.differences(own(test)) == ["cifar10:test instead of cifar10:train"]
    assert DDPM.differences(own(name="FID[cat]")) == ["the class cat alone"]


@pytest.mark.parametrize("name", ["cifar100:train", "cifar10", "cifar10-without-ships:train"])
def test_a_name_that_begins_alike_is_no_reference(name: str) -> None:
    """C9: CIFAR-100 has as many pictures, and without a split they may be of both."""
    (said,) = DDPM.differences(own(replace(ALIKE, reference_name=name)))
    assert said == f"{name} instead of cifar10:train"


def test_what_a_paper_does_not_say_is_not_taken_for_granted() -> None:
    """C9: BigGAN's counts are not known to us."""
    biggan = next(row for row in PUBLISHED["cifar10"] if row.model == "BigGAN")
    assert biggan.differences(own()) == [
        "how many generated images they took is not known",
        "how many reference images they took is not known",
    ]


def test_150_images_stand_beside_no_published_figure() -> None:
    """L4, C9: it is said why, of each; there is no interval in any row."""
    few = own(replace(ALIKE, generated=150, reference=150, reference_name="cifar10:test"))
    comparisons = compare({"run": [evaluation(few)]}, fewest=1)
    (found,) = beside(comparisons, rows("cifar10"))
    assert all(
        "150 generated images instead of 50,000" in why
        for figure, why in found.figures
        if figure.generated
    )
    assert all(why for _, why in found.figures)
    text = " ".join(shown(table(found)).split())
    assert text.count("none given") == text.count("not comparable [") == len(found.figures)
    assert "150 generated images instead of 50,000" in text
    kept = found.to_json()["figures"][0]
    assert (kept["comparable"], kept["interval"], kept["image"]) == (False, None, "3x32x32")


def test_a_comparable_one_is_marked() -> None:
    """C9."""
    (found,) = beside(compare({"run": [evaluation(own())]}, fewest=1), [DDPM])
    text = shown(table(found))
    assert "comparable" in text
    assert "not comparable" not in text


def test_figures_need_a_frechet_distance() -> None:
    kid = own(replace(ALIKE, metric="kid"), "KID")
    with pytest.raises(UserError, match="--metrics fd --features inception"):
        beside(compare({"run": [evaluation(kid)]}, fewest=1), [DDPM])
    with pytest.raises(UserError, match="choose one of: cifar10, lsun-bedroom"):
        rows("cifar100")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_documentation_has_the_table(name: str) -> None:
    """B9, C9: image size, counts and source of each."""
    text = NUMBERS.read_text("utf-8")
    for line in documented(name):
        assert line in text
    assert {row.image for row in PUBLISHED[name]} == {PUBLISHED[name][0].image}


def test_the_help_names_the_sets() -> None:
    assert set(PUBLISHED) <= set((commands.compare.__doc__ or "").replace(":", "").split())


def test_figures_are_of_sources() -> None:
    for figures in PUBLISHED.values():
        assert all(row.source.startswith("arXiv:") and row.value > 0 for row in figures)
        assert list(figures) == sorted(figures, key=lambda row: row.value)
