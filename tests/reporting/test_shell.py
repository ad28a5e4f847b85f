"""Commands of a page can be given, and tell no place of its maker's."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import safelight
from safelight.cli import main
from safelight.data.cache import Cache
from safelight.data.options import Options
from safelight.reporting.collect import Pictures, describe
from safelight.reporting.shell import preparing, preparing_anew
from tests.data.conftest import noise


def of(source: str, *options: str) -> Pictures:
    return Pictures("c", Path("c"), (), (), (), source, options)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("/elsewhere/cats + /elsewhere/dogs", "cats dogs"),
        ("mnist + /elsewhere/more.zip", "mnist more.zip"),
        ("/elsewhere/cats and dogs", "'cats and dogs'"),
        ("/elsewhere/train-{0000..0002}.tar", "'train-{0000..0002}.tar'"),
        ("../elsewhere/train-{0..2}.tar", "'train-{0..2}.tar'"),
        ("hf:owner/name@one", "hf:owner/name@one"),
        ("/elsewhere/mnist", "./mnist"),
        ("/elsewhere/-dash", "./-dash"),
        ("~no-such-user/sets/train-{0..2}.tar", "'train-{0..2}.tar'"),
    ],
)
def test_sources_are_named_without_their_places(source: str, named: str) -> None:
    assert preparing(of(source)) == f"safelight prepare {named} --out c"


@pytest.mark.parametrize(
    "source",
    ["array 0123456789ab", "table 0123456789ab", "/a/cats + array 0123456789ab", "/a/x + /b/x"],
)
def test_what_no_command_makes_has_none(source: str) -> None:
    """What was in memory, and two places that would be one without their folders."""
    assert preparing(of(source)) == ""


def test_a_folder_may_be_called_like_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cats + dogs").mkdir()
    monkeypatch.chdir(tmp_path)
    named = preparing(of(str(tmp_path / "cats + dogs")))
    assert named == "safelight prepare 'cats + dogs' --out c"


def test_very_many_sources_are_named() -> None:
    """In one word, they are longer than any path."""
    names = [f"folder{i:040d}" for i in range(120)]
    made = preparing(of(" + ".join(f"/elsewhere/{name}" for name in names)))
    assert made == f"safelight prepare {' '.join(names)} --out c"


def test_a_cache_that_begins_with_a_hyphen_is_no_option() -> None:
    pictures = replace(of("/elsewhere/p"), path=Path("-c"))
    assert preparing(pictures) == "safelight prepare p --out ./-c"


def test_values_that_begin_with_a_hyphen_are_no_options() -> None:
    made = preparing(of("p", "--classes", "-a,b", "--no-enlarge", "--rename", "a=-b"))
    assert made == "safelight prepare p --classes=-a,b --no-enlarge --rename a=-b --out c"


@pytest.mark.parametrize(
    ("sources", "options"),
    [
        (["cats", "dogs"], {"labels": "sources"}),
        (["cats"], {"classes": ("-a", "b")}),
    ],
)
def test_the_command_makes_the_same_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: Sequence[str], options: dict[str, Any]
) -> None:
    """Word for word, from the folder that holds the pictures."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("cats", "dogs")):
        for k, label in enumerate(("-a", "b", "c")):
            (tmp_path / name / label).mkdir(parents=True)
            for j in range(6):
                noise(100 * i + 10 * k + j).save(tmp_path / name / label / f"{j}.png")
    first = safelight.prepare([str(tmp_path / name) for name in sources], out="c", **options)
    hashes, classes = first.meta.hashes, first.classes
    command = preparing(describe(first))
    shutil.rmtree(tmp_path / "c")
    main(shlex.split(command)[1:])
    again = Cache.open(tmp_path / "c")
    assert (again.meta.hashes, again.classes) == (hashes, classes)


def test_arrays_have_no_command(tmp_path: Path) -> None:
    cache = safelight.prepare(np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8), out=tmp_path)
    assert preparing(describe(cache)) == ""
    assert preparing_anew(cache, Options(seed=1)) == ""


def test_other_options_are_told_with_the_cache_and_not_with_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is said of places: from here, in the folder of caches, or the name alone."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SAFELIGHT_CACHE", str(home / ".cache" / "safelight"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for i in range(20):
        (tmp_path / "here" / "photos").mkdir(exist_ok=True)
        noise(i).save(tmp_path / "here" / "photos" / f"{i}.png")
    said = {}
    for where in ("a/b", "../elsewhere/c", None):
        cache = safelight.prepare("photos", size=12, out=where)
        changed = cache.meta.options.model_copy(update={"seed": 1, "per_class": 5})
        said[where] = preparing_anew(cache, changed)
        assert preparing_anew(cache, cache.meta.options) == said[where].partition(" --")[0]
    assert said["a/b"] == (
        "safelight prepare a/b --per-class 5 --seed 1 --out b-per-class-5-seed-1"
    )
    assert said["../elsewhere/c"].startswith("safelight prepare c --per-class 5")
    usual = said[None].split()[2]
    assert usual.startswith("'~/.cache/safelight/caches/photos-")
    for command in (said["a/b"], said[None]):
        main(shlex.split(command)[1:])
        assert Cache.open(Path(shlex.split(command)[-1])).count == 5
