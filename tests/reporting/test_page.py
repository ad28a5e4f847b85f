from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from safelight.errors import UserError
from safelight.reporting import page as page_module
from safelight.reporting.collect import GRID, collect
from safelight.reporting.page import SECTIONS, page, report
from tests.reporting.reading import Page, pixels
from tests.reporting.stand_in import EVALUATION, StandInRun

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def html(stand_in: StandInRun) -> str:
    return page(collect(stand_in))  # type: ignore[arg-type]


@pytest.fixture
def read(html: str) -> Page:
    return Page(html)


def bare(stand_in: StandInRun) -> StandInRun:
    """Unconditional, just begun: nothing is logged, drawn or measured."""
    return replace(stand_in, classed=None, classes=(), empty=True, finished=False)


def test_nothing_comes_from_outside(html: str, stand_in: StandInRun) -> None:
    """X14: the page refers to itself and to data URIs only, full or bare."""
    empty = page(collect(bare(stand_in)))  # type: ignore[arg-type]
    for text in (html, empty):
        for tag, attributes, _ in Page(text).elements:
            for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                value = attributes.get(name)
                assert value is None or re.match(r"#|data:", value), (tag, name, value)
        css = re.findall(r"url\(([^)]*)\)", text)
        assert all(target.startswith("#") for target in css), css
        assert "@import" not in text
        assert not re.search(r"https?://|//cdn", text)


def test_every_picture_is_told_in_words(read: Page) -> None:
    """X14: an alt text on every image, its size beside it, and a title in every plot."""
    images = read.all("img")
    assert len(images) > 200
    for attributes, _ in images:
        assert attributes["alt"]
        assert pixels(attributes["src"] or "").shape[1:] == (
            int(attributes["height"] or 0),
            int(attributes["width"] or 0),
        )
    assert len(read.all("svg", role="img")) == 6


def test_headings_and_sections_are_in_order(read: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [attributes["id"] for attributes, _ in read.all("section")]
    assert ids == list(SECTIONS)
    links = [attributes["href"] for attributes, _ in read.all("a")]
    assert links == [f"#{key}" for key in SECTIONS]
    every = [attributes["id"] for _, attributes, _ in read.elements if "id" in attributes]
    assert len(every) == len(set(every))


def test_numbers_are_those_of_the_evaluation(read: Page) -> None:
    """X14, X2: value, interval, floor, n and protocol of every estimate, digit for digit."""
    shown = [float(attributes["value"] or "") for attributes, _ in read.all("data")]
    expected: list[float] = []
    for estimate in EVALUATION.estimates:
        floor = estimate.floor
        around = [floor.value, floor.low, floor.high] if floor else []
        expected += [estimate.value, estimate.low, estimate.high, *around, estimate.n]
    assert shown == expected
    texts = [text for _, text in read.all("data")]
    kid, accuracy, *_ = EVALUATION.estimates
    assert texts[:3] == [kid.show(kid.value), kid.show(kid.low), kid.show(kid.high)]
    assert texts[7:9] == [accuracy.show(accuracy.value), accuracy.show(accuracy.low)]
    assert texts[7] == "97.1 %"
    for estimate in EVALUATION.estimates:
        assert estimate.protocol.hash in read.text
        for value in estimate.protocol.to_json().values():
            assert str(value) in read.text or f"{value:,}" in read.text
    assert "cover the sampling of images only" in read.text


def test_numbers_say_how_their_images_were_drawn(stand_in: StandInRun) -> None:
    """X1."""
    how = "ddim, 20 steps (leading grid), guidance 1.5"
    data = replace(collect(stand_in), evaluations=(replace(EVALUATION, drawn=how),))  # type: ignore[arg-type]
    assert f"digits-run ({how}) against digits:test, " in Page(page(data)).text


def test_the_psnr_of_the_guess_is_told(html: str) -> None:
    """F6: of the last validation, at the least, the middle and the largest noise level."""
    assert "picture: 46.0 dB at 0.010, 9.01 dB at 0.71, −28.0 dB at 50." in html


def test_the_headline_says_what_was_trained(read: Page) -> None:
    """X14: parameters, images, classes, time, speed and machine in one sentence."""
    assert (
        "A class-conditional diffusion model of 1.12 M parameters, trained on 1,258 images of "
        "digits (8×8, grey, 10 classes) for 2 min 31 s at 2,119 images a second on AMD EPYC, "
        "2 threads, bf16."
    ) in read.text
    assert "is not finished" not in read.text


def test_samples_are_the_source_s(read: Page, stand_in: StandInRun) -> None:
    """The pictures of the grid are those of seeds 0 to GRID - 1, pixel for pixel."""
    source = stand_in.source()
    expected = source.images(range(GRID), source.labels(range(GRID)))
    for seed in range(GRID):
        title = f"seed {seed}, class {seed % 10}"
        (attributes, _), *_ = read.all("img", title=title)
        assert (pixels(attributes["src"] or "") == expected[seed].numpy()).all()


def test_the_way_from_noise_has_its_levels_and_both_rows(read: Page) -> None:
    """C4: states and guesses of several seeds at successive noise levels."""
    alts = [attributes["alt"] or "" for attributes, _ in read.all("img")]
    for kind in ("at noise level 80", "guessed at noise level 80", "at noise level 0.002"):
        assert sum(alt.endswith(f"class 0, {kind}") for alt in alts) == 1, kind
    assert len([alt for alt in alts if "noise level" in alt]) == 4 * 9 * 2


def test_the_animation_has_every_moment_and_ends_with_the_last(
    html: str, read: Page, stand_in: StandInRun
) -> None:
    """K11: frames as JSON for the script; without it the last moment stands there."""
    ((_, frames),) = read.all("script", type="application/json")
    steps = re.findall(r'"label": "step ([\d,]+)"', frames)
    assert [int(step.replace(",", "")) for step in steps] == [s for s, _ in stand_in.previews()]
    last = read.all("img", alt="samples at step 5,000")[0][0]["src"]
    assert frames.count(last or "nothing") == 1
    assert "<noscript>" in html


def test_neighbours_are_the_nearest_and_held_out_pictures_the_measure(
    read: Page, stand_in: StandInRun
) -> None:
    """X4: sixteen samples with three neighbours each, nearest first, and the reference."""
    cards = [a for a in read.all("figure") if a[0].get("class") == "trio"]
    assert len(cards) == 16
    distances = [[float(d) for d in re.findall(r"0\.\d{3}", text)] for _, text in cards]
    assert all(len(d) == 3 and d == sorted(d) for d in distances)
    firsts = [d[0] for d in distances]
    assert firsts == sorted(firsts)
    data = collect(stand_in)  # type: ignore[arg-type]
    held_out = data.copying.held_out
    assert held_out is not None
    median = f"{float(held_out.median()):.3f}"
    assert f"359 real test pictures, which the model never saw, is {median}." in read.text


def test_what_is_missing_says_which_command_makes_it(stand_in: StandInRun) -> None:
    """X14: no classes, no samples over training, no records, no evaluation."""
    text = Page(page(collect(bare(stand_in)))).text  # type: ignore[arg-type]
    assert "An unconditional diffusion model" in text
    assert "is not finished: 1,200 of 5,000 steps" in text
    assert "trained without classes" in text
    assert "safelight train cache --resume --out 'a run'" in text
    assert "safelight evaluate 'a run' --against cache:test" in text
    assert "No file was left out." in text


def test_without_held_out_pictures_the_reference_is_asked_for(
    stand_in: StandInRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.reporting.stand_in.SPLITS", {"train": 1.0})
    text = Page(page(collect(stand_in))).text  # type: ignore[arg-type]
    assert "prepare the data with --split 80/10/10" in text


def test_names_cannot_break_the_page(stand_in: StandInRun, tmp_path: Path) -> None:
    """Class and run names with markup, quotes and other letters are shown as they are."""
    names = ("<script>alert(1)</script>", "a \"b\" 'c'", "кошка", "猫", "</dl>&amp;", *"56789")
    odd = replace(stand_in, classes=names, path=tmp_path / "<b>run & 'co'")
    read = Page(page(collect(odd)))  # type: ignore[arg-type]
    terms = [text for _, text in read.all("dt")]
    assert all(name in terms for name in names)
    assert read.all("h1") == [({}, "<b>run & 'co'")]
    assert len(read.all("script")) == 2


def test_a_page_does_not_tell_where_it_was_made(html: str, tmp_path: Path) -> None:
    assert str(tmp_path) not in html
    assert str(Path.home()) not in html


def test_colour_at_32_pixels_stays_below_five_megabytes(stand_in: StandInRun) -> None:
    """X14: even pictures of pure noise, which nothing compresses."""
    noise = torch.randint(0, 256, (400, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(400) % 10
    html = page(collect(replace(stand_in, images=noise, classed=labels)))  # type: ignore[arg-type]
    assert len(html) < 5e6


def test_report_is_written_whole_or_not_at_all(
    stand_in: StandInRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = report(stand_in)  # type: ignore[arg-type]
    assert out == stand_in.path / "report.html"
    before = out.read_bytes()

    def fail(*_: object) -> str:
        raise UserError("drawn and failed")

    monkeypatch.setattr(page_module, "page", fail)
    with pytest.raises(UserError):
        report(stand_in)  # type: ignore[arg-type]
    assert out.read_bytes() == before
    assert not list(out.parent.glob(".tmp-*"))


def test_report_goes_where_it_is_told(stand_in: StandInRun, tmp_path: Path) -> None:
    out = report(stand_in, tmp_path / "deep" / "er.html")  # type: ignore[arg-type]
    assert Page(out.read_text("utf-8")).all("title")[0][1] == "a run · Safelight report"


def test_the_same_run_gives_the_same_page(stand_in: StandInRun) -> None:
    """B7: nothing but the moment of drawing differs."""
    pages = [page(replace(collect(stand_in), created=EPOCH)) for _ in range(2)]  # type: ignore[arg-type]
    assert pages[0] == pages[1]
