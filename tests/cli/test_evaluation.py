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
        (tmp_path / "nowhere", *QUICK): "there is no folder or zip",
        (folder(tmp_path / "one", 1, 2), *QUICK): "1 picture is too few .* add pictures",
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
    assert "1 picture is too few" in line


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
