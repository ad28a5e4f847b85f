from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from safelight.errors import UserError
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.finding import Finding
from safelight.evaluation.resizes import RESIZES
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


def test_numbers_say_what_is_wrong_with_their_images(stand_in: StandInRun) -> None:
    """X2: beside the numbers, and nothing where nothing is."""
    found = (Finding("copies", "12 of 450 generated images are copies <of training>"),)
    data = replace(collect(stand_in), evaluations=(replace(EVALUATION, findings=found),))  # type: ignore[arg-type]
    wrong = "<strong>Look out:</strong> 12 of 450 generated images are copies &lt;of training&gt;."
    assert wrong in page(data)
    assert "Look out:" not in page(collect(stand_in))  # type: ignore[arg-type]


def test_numbers_say_how_their_images_were_drawn(stand_in: StandInRun) -> None:
    """X1."""
    how = "ddim, 20 steps (leading grid), guidance 1.5"
    data = replace(collect(stand_in), evaluations=(replace(EVALUATION, drawn=how),))  # type: ignore[arg-type]
    assert f"digits-run ({how}) against digits:test, " in Page(page(data)).text


def test_numbers_can_be_found_again_with_their_resize(stand_in: StandInRun) -> None:
    """X1."""
    first, *others = EVALUATION.estimates
    clean = replace(first.protocol, network="inception", resize=RESIZES["clean"].text)
    judged = replace(EVALUATION, estimates=(replace(first, protocol=clean), *others))
    data = replace(collect(stand_in), evaluations=(judged,))  # type: ignore[arg-type]
    assert "--features inception --resize clean --metrics" in Page(page(data)).text
    usual = replace(clean, resize=RESIZES["tensorflow"].text)
    judged = replace(EVALUATION, estimates=(replace(first, protocol=usual), *others))
    data = replace(collect(stand_in), evaluations=(judged,))  # type: ignore[arg-type]
    assert "--features inception --metrics" in Page(page(data)).text


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
    """X4: sixteen samples between a training and a held-out picture, the likest copies first."""
    cards = [a for a in read.all("figure") if a[0].get("class") == "trio"]
    assert len(cards) == 16
    distances = [[float(d) for d in re.findall(r"0\.\d{3}", text)] for _, text in cards]
    assert all(len(d) == 2 for d in distances)
    ratios = [d[0] / d[1] for d in distances]
    assert ratios == pytest.approx(sorted(ratios), abs=0.02)  # of rounded distances
    data = collect(stand_in)  # type: ignore[arg-type]
    held_out = data.copying.held_out
    assert held_out is not None
    median = f"{float(np.median(held_out.distances)):.3f}"
    assert f"359 real test pictures, which the model never saw, is {median}." in read.text
    near = (data.copying.nearest.distances < held_out.nearest.distances / 3).sum()
    assert f"{near} of the 60 samples are less than a third as far" in read.text
    assert "safelight evaluate 'a run' --against cache:test --metrics memorisation" in read.text


def test_the_nearest_are_those_of_each_split(stand_in: StandInRun) -> None:
    """X4: each sample's nearest pictures, by brute force over the whole of both splits."""
    data = collect(stand_in)  # type: ignore[arg-type]
    held_out = data.copying.held_out
    assert held_out is not None
    samples = data.samples.images.double()
    for split, found in (("train", data.copying.nearest), ("test", held_out.nearest)):
        stored = stand_in.cache().subset(split)
        every = stored.images(range(stored.count)).double()
        apart = (samples[:, None] - every[None]).square().mean((2, 3, 4)).sqrt() / 127.5
        assert found.distances == pytest.approx(apart.min(1).values.numpy(), rel=1e-5)
        assert torch.equal(found.pictures, stored.images(found.positions.tolist()))


def test_what_was_measured_of_copying_is_said(
    stand_in: StandInRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X4: the newest test of it, in words, in the place of the command that makes one."""
    found = Estimate(
        "nearer to training (pixels)", 0.72, 0.66, 0.77, 450, "Wilson", None,
        replace(EVALUATION.estimates[0].protocol, metric="memorisation", network="pixels"),
    )  # fmt: skip
    record = replace(EVALUATION, estimates=(found,)).to_json()
    monkeypatch.setattr(StandInRun, "evaluations", lambda run: [record, EVALUATION.to_json()])
    text = Page(page(collect(stand_in))).text  # type: ignore[arg-type]
    assert "Of 450 images 72.0 % [66.0 %, 77.0 %] are nearer to a training picture" in text
    assert "(pixels): more than the half that a model which copies nothing comes to" in text
    assert "--against cache:test --metrics memorisation" not in text


def test_what_was_measured_alike_of_several_checkpoints_is_drawn(
    stand_in: StandInRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3, X4: value against step, the newest of each; another protocol is another curve."""
    kid = EVALUATION.estimates[0]

    def record(step: int, value: float, seed: int = 0) -> dict[str, Any]:
        held = replace(kid, value=value, low=0, high=1, protocol=replace(kid.protocol, seed=seed))
        trained = {"checkpoint": str(step), "weights": "ema"}
        return replace(EVALUATION, estimates=(held,), trained=trained).to_json()

    records = [record(900, 0.04), record(100, 0.5), record(900, 0.03), record(500, 0.7, seed=1)]
    monkeypatch.setattr(StandInRun, "evaluations", lambda run: records)
    titles = [text for _, text in Page(page(collect(stand_in))).all("title")]  # type: ignore[arg-type]
    told = "KID (efficientnet-lite0) from 0.5 at step 100 to 0.03 at step 900"
    drawn = [title for title in titles if title.startswith("KID") and "at step 900" in title]
    assert drawn == [told]


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
