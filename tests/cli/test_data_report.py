"""`report` of pictures, from the words that are typed to the page."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import safelight
from safelight.cli import main
from tests.profiling.conftest import no_network  # noqa: F401 - a fixture
from tests.refusals import refused
from tests.reporting.reading import Page


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of pictures as people have them: of several sizes, with a text among them."""
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    folders = [tmp_path / "photos" / name for name in ("Coast", "co ast")]
    for folder in folders:
        folder.mkdir(parents=True)
    for i in range(24):
        size = (24, 40) if i < 20 else (12, 12)
        levels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folders[i % 2] / f"{i}.png")
    (folders[1] / "twin.png").write_bytes((folders[1] / "1.png").read_bytes())
    (folders[1] / "broken.jpg").write_bytes(b"no picture")
    (folders[1] / "notes.txt").write_text("about them")
    return tmp_path / "photos"


@pytest.mark.usefixtures("no_network")
def test_a_folder_of_pictures(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F11: prepared, looked at and advised in one command; the page is where one stands."""
    assert "--size" in refused(capsys, "report", "photos")
    main(["report", "photos", "--size", "16"])
    assert "report: photos.html (open it" in capsys.readouterr().out
    read = Page((tmp_path / "photos.html").read_text("utf-8"))
    [cache] = (tmp_path / "user" / "caches").iterdir()
    named = f"user/caches/{cache.name}"
    for said in (
        "25 pictures in 2 classes, 16×16, colour",
        "Class names that are nearly the same",
        "“Coast” and “co ast”",
        f"safelight prepare {named} --rename 'Coast=co ast' --out {cache.name}-rename-Coast-co-ast",
        "1 file gave no picture: not a picture",
        "1 picture is there before: 1 to the last value.",
        "4 of 25 originals (16 %) are smaller",
        f"safelight prepare {named} --size 12 --out {cache.name}-size-12",
        "21 of 25 originals (84 %) lost more than a fifth of their area",
        "Originals are 12 to 40 pixels wide and 12 to 24 high, in the middle 40×24",
        "1 text (.txt)",
        "1 file was left out",
    ):
        assert said in read.text, said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["photos", "photos.html", "user"]


@pytest.mark.usefixtures("no_network", "photos")
def test_the_commands_of_the_page_can_be_given(tmp_path: Path) -> None:
    """F11: word for word, where the page was made; what is mended is found no more."""
    main(["report", "photos", "--size", "16"])
    read = Page((tmp_path / "photos.html").read_text("utf-8"))
    commands = [said for _, said in read.all("code") if said.startswith("safelight prepare user/")]
    assert len(commands) == len(set(commands)) > 4
    for command in commands:
        main(shlex.split(command)[1:])
    renamed = next(shlex.split(each) for each in commands if "--rename" in each)
    again = Page(safelight.report(renamed[-1]).read_text("utf-8"))
    assert "These classes are probably one each" in read.text
    assert "These classes are probably one each" not in again.text


@pytest.mark.usefixtures("no_network")
def test_a_cache_and_its_split_from_python(photos: Path, tmp_path: Path) -> None:
    """F11: beside the cache, which stays as it was; the same page for the cache itself."""
    cache = safelight.prepare(photos, size=16, out=tmp_path / "caches" / "p", split="50/0/50")
    kept = {each.name: each.stat().st_mtime_ns for each in cache.path.iterdir()}
    page = safelight.report(cache)
    assert page == tmp_path / "caches" / "p.html"
    of_test = safelight.report(f"{cache.path}:test")
    assert of_test == tmp_path / "caches" / "p-test.html"
    count = cache.subset("test").count
    assert f"{count} pictures in 2 classes" in Page(of_test.read_text("utf-8")).text
    assert {each.name: each.stat().st_mtime_ns for each in cache.path.iterdir()} == kept
    named = safelight.report(cache.path, out=tmp_path / "named.html")
    assert named.read_text("utf-8").count("<section") == page.read_text("utf-8").count("<section")
