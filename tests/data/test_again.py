"""A cache in the place of pictures: what it was made of is prepared again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import safelight
from safelight.cli import main
from safelight.data.cache import Cache
from safelight.data.lines import CHUNK, Lines
from safelight.errors import UserError
from tests.data.conftest import noise
from tests.refusals import refused

OPTIONS = ("--size", 12, "--split", "50/0/50", "--classes", "a,b", "--per-class", 8)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Of a folder of three classes, with options of most kinds."""
    for k, name in enumerate("abc"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            noise(10 * k + i).save(tmp_path / "photos" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    main(["prepare", "photos", *map(str, OPTIONS), "--out", "c"])
    return Cache.open(tmp_path / "c")


def test_options_that_are_not_given_stay(
    made: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same options make the same cache, from wherever it is asked for."""
    capsys.readouterr()
    monkeypatch.chdir(made.path)
    main(["prepare", str(made.path), "--seed", "7", "--out", "../seeded"])
    assert f"made of {made.meta.source}; preparing" in capsys.readouterr().err
    seeded = Cache.open(made.path.parent / "seeded")
    assert seeded.meta.options == made.meta.options.model_copy(update={"seed": 7})
    back = safelight.prepare(seeded, seed=0, out=made.path.parent / "back")
    assert back.fingerprint == made.fingerprint != seeded.fingerprint


def test_options_can_be_taken_back(made: Cache) -> None:
    """An option that is empty, or None, is as if it had never been given."""
    words = ("--classes", "", "--per-class", "None", "--split", "None", "--out", "whole")
    main(["prepare", "c", *words])
    whole = Cache.open(Path("whole"))
    assert whole.classes == ("a", "b", "c")
    assert (whole.count, whole.shape) == (30, (3, 12, 12))
    assert whole.meta.options.arguments() == ["--size", "12"]


def test_with_nothing_changed_it_is_made_anew_in_its_place(
    made: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["prepare", "c"])
    assert "nothing to prepare" in capsys.readouterr().err
    for file in (tmp_path / "photos" / "a").iterdir():
        noise(1000 + int(file.stem)).save(file)
    main(["prepare", "c"])
    assert "have changed; preparing them again" in capsys.readouterr().err
    anew = Cache.open(tmp_path / "c")
    assert anew.meta.options == made.meta.options
    assert anew.fingerprint != made.fingerprint


def test_the_remedy_of_a_damaged_cache_makes_it_again(
    made: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word."""
    (made.path / "images.npy").unlink()
    line = refused(capsys, "report", "c")
    assert line.endswith("; prepare it again: safelight prepare c")
    main(["prepare", "c"])
    assert Cache.open(made.path).fingerprint == made.fingerprint


def test_what_it_was_made_of_may_be_gone(made: Cache, tmp_path: Path) -> None:
    shutil.move(tmp_path / "photos", tmp_path / "photoz")
    with pytest.raises(UserError, match="c was made of .*photos, which can't be prepared again"):
        safelight.prepare(made)
    held = safelight.prepare(np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8), out="held")
    with pytest.raises(UserError, match=r"in memory \(array .*\); prepare that again in Python"):
        safelight.prepare(held.path, seed=1)


def test_a_cache_among_other_sources(made: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert made.meta.source in refused(capsys, "prepare", "c", "photos")


def test_lines_are_found_by_their_number(tmp_path: Path) -> None:
    """Also where they go over the edge of what is looked through at once."""
    texts = ["", "ä" * (CHUNK - 1), "x", "\r", *(str(i) for i in range(1000))]
    file = tmp_path / "lines"
    file.write_bytes("".join(f"{text}\n" for text in texts).encode())
    lines = Lines(file)
    assert [lines[i] for i in range(len(lines))] == texts
