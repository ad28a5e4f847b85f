"""Paths as people write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import safelight
from safelight import paths
from safelight.errors import UserError

NOBODY, LONG = "~nobody-of-that-name/x", "a" * 300


def test_a_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert paths.place("~/x") == paths.expanded("~/x") == tmp_path / "x"
    assert paths.place(Path("there~")) == Path("there~")


def test_what_no_disk_takes_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in (LONG, "zero\0byte", "absent", "loop"):
        assert not paths.is_there(tmp_path / name)
    assert paths.is_there(tmp_path)
    with pytest.raises(UserError, match=r"has a zero byte, which no name has"):
        paths.place("zero\0byte")


@pytest.mark.parametrize(("place", "said"), [(NOBODY, "no such user"), (LONG, "a{60}|there is no")])
@pytest.mark.parametrize(
    "call",
    [
        lambda place: safelight.prepare(place),
        lambda place: safelight.prepare("digits", out=place),
        lambda place: safelight.train(place),
        lambda place: safelight.sample(place),
        lambda place: safelight.export_images("digits", out=place),
        lambda place: safelight.export_images(place, out="x"),
        lambda place: safelight.evaluate(place, against="digits"),
        lambda place: safelight.evaluate("digits", against=place),
        lambda place: safelight.evaluate("digits", against="digits", json=place),
        lambda place: safelight.compare(place, "a.json"),
        lambda place: safelight.report(place),
        lambda place: safelight.report("digits", out=place),
        lambda place: safelight.presets(json=place),
        lambda place: safelight.demo(out=place),
    ],
)
def test_each_command_answers_in_a_line(
    call: Callable[[str], Any], place: str, said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path / "caches"))
    with pytest.raises(UserError, match=said) as error:
        call(place)
    assert "\n" not in str(error.value)
