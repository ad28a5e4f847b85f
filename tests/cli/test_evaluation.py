"""What `evaluate` answers to folders that can't be compared, or should not be."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight.cli import main
from safelight.evaluation.features import FEATURES
from safelight.evaluation.network import Network
from tests.evaluation.sources import pixels
from tests.refusals import refused

QUICK = ("--features", "pixels", "--metrics", "kid")


def folder(place: Path, n: int, seed: int, size: int = 8, mode: str = "RGB") -> Path:
    """n pictures of noise."""
    place.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    shape = (size, size, 3) if mode == "RGB" else (size, size)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(place / f"{i}.png")
    return place


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("many") / "many", 30, 0)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path / "cache"))


def test_folders_that_cannot_be_compared(
    many: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """X2: each mistake has one line, and exit status 2."""
    (tmp_path / "empty").mkdir()
    rank = ("--features", "pixels", "--metrics", "fd")
    cases = {
        (folder(tmp_path / "grey", 20, 1, mode="L"), *QUICK): "1x8x8 and many of 3x8x8.*prepare",
        (tmp_path / "empty", *QUICK): "no pictures in",
        (tmp_path / "nowhere", *QUICK): "there is no folder or file",
        (folder(tmp_path / "one", 1, 2), *QUICK): "one has 1 images and 2 are needed",
        (many, "--json", tmp_path, *QUICK): "is a folder; name a file to write",
        (many, "--features", "colour", "--metrics", "kid"): (
            "KID has a kernel for the features of networks, and colour gives levels .*; use "
            "--metrics colour"
        ),
        (folder(tmp_path / "few", 3, 3), *QUICK): "the kernel distance needs at least",
        (tmp_path / "few", *rank): "full-rank covariance, got 3.*--metrics kid",
        (many, "--metrics", "accuracy"): "accuracy .*(classes|labelled)",
        (many, "-n", 31, *QUICK): "many has 30 images and 31 are needed",
        (many, "--features", "pixel"): "did you mean 'pixels'",
        (many, "--metrics", "kidd"): "did you mean 'kid'",
    }
    for (source, *words), message in cases.items():
        line = refused(capsys, "evaluate", source, "--against", many, *words)
        assert re.search(message, line), (source, words, line)
    line = refused(capsys, "evaluate", many, "--against", tmp_path / "one", *QUICK)
    assert "one has 1 images and an evaluation compares with at least 2" in line


def test_pictures_are_judged_at_the_size_they_have(
    many: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """X1: neither side is made as large as the other, which would change what is measured."""
    large = folder(tmp_path / "large", 30, 4, size=16)
    for sides in ((large, many), (many, large)):
        line = refused(capsys, "evaluate", sides[0], "--against", sides[1], *QUICK)
        assert "prepare the pictures of one again" in line
    mixed = folder(tmp_path / "mixed", 30, 5)
    Image.new("RGB", (16, 16)).save(mixed / "odd.png")
    line = refused(capsys, "evaluate", many, "--against", mixed, *QUICK)
    assert re.search(
        r"mixed have different sizes \(.*\), such as odd.png; .* safelight prepare", line
    )


def test_what_gives_no_picture_is_said_every_time(
    many: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In a line, out of the way of the results."""
    broken = folder(tmp_path / "broken", 30, 7)
    (broken / "half.png").write_bytes((broken / "0.png").read_bytes()[:60])
    for _ in range(2):
        main(["evaluate", str(broken), "--against", str(many), *QUICK])
        shown = capsys.readouterr()
        assert "30 pictures of 8x8, colour; 1 file gave none, such as half.png" in shown.err
        assert "1 file of broken gave no picture, and only the others are judged" in shown.out


def test_features_that_are_no_numbers_are_refused(
    many: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = pixels()

    def broken(material: object) -> Network:
        return Network("pixels", 4, "none", "w", False, lambda x: sound.extract(x) / 0)

    monkeypatch.setitem(FEATURES, "pixels", broken)
    other = folder(tmp_path / "other", 20, 4)
    line = refused(capsys, "evaluate", other, "--against", many, *QUICK)
    assert "pixels gave features that are not finite (NaN or infinity) for images of other" in line


def test_the_same_folder_on_both_sides_is_said(
    many: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """X2: not refused, but no number stands there unmarked."""
    file = tmp_path / "found.json"
    main(["evaluate", str(many), "--against", str(many), *QUICK, "--json", str(file)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Look out: many is on both sides" in shown
    (finding,) = json.loads(file.read_text())["findings"]
    assert finding["guard"] == "same"
