"""Names of classes as names of folders."""

from __future__ import annotations

import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.data.walk import OF_SYSTEMS, walk_folder
from safelight.naming import LONGEST, folder_names

ODD = (
    *("", ".", "..", "/", "a/b", "a\\b", "CON", "con.txt", "LPT1", "nul ", "a.", " a", ".a"),
    *OF_SYSTEMS,
)
TEXT = st.text(st.characters(max_codepoint=0x2FFF), max_size=12)


@pytest.mark.parametrize(
    ("name", "folder"),
    {
        "cat": "cat",
        "Glacier 2": "Glacier 2",
        "Käse": "Käse",
        "T-shirt/top": "T-shirt_top",
        "..": "_",
        "../../etc": "__.._etc",
        "": "_",
        "CON": "CON_",
        "aux.old": "aux_.old",
        "console": "console",
        ".hidden": "_hidden",
        "end. ": "end_",
        "a:b?c": "a_b_c",
        "__MACOSX": "__MACOSX_",
        "Thumbs.db": "Thumbs.db_",
        "thumbs": "thumbs",
        "desktop.ini": "desktop.ini_",
        "export.json": "export.json_",
        "Metrics.json": "Metrics.json_",
        "report.html.old": "report.html.old",
        "\udcff": "_",
    }.items(),
)
def test_a_name_stays_unless_a_disk_refuses_it(name: str, folder: str) -> None:
    assert folder_names([name]) == {name: folder}


def test_no_two_classes_share_a_folder() -> None:
    """Whatever the case, and however an accent is written; who can keep the name keeps it."""
    assert folder_names(["a/b", "a_b", "A_B"]) == {"a/b": "a_b-3", "a_b": "a_b", "A_B": "A_B-2"}
    composed, apart = "é", unicodedata.normalize("NFD", "é")
    assert folder_names([apart, composed]) == {apart: "é-2", composed: "é"}


def test_a_long_name_is_cut_and_told_from_others() -> None:
    names = ["ä" * 200, "ä" * 200 + "b"]
    folders = folder_names(names)
    assert len(set(folders.values())) == 2
    assert all(folder.startswith("ä" * (LONGEST // 2) + "-") for folder in folders.values())
    assert all(len(folder.encode()) <= LONGEST + 9 for folder in folders.values())


@given(st.lists(st.one_of(TEXT, st.sampled_from(ODD)), unique=True, max_size=8))
@settings(max_examples=60)
def test_any_names_are_folders_that_are_seen(names: list[str]) -> None:
    """Each makes a folder of its own, in which `prepare` finds what lies there."""
    folders = folder_names(names)
    with tempfile.TemporaryDirectory() as place:
        for folder in folders.values():
            (Path(place) / folder).mkdir()
            (Path(place) / folder / "0.png").touch()
        found = walk_folder(Path(place))
    assert {entry.parts[0] for entry in found.entries} == set(folders.values())
    assert len(set(folders.values())) == len(names)
    assert not any(set('<>:"/\\|?*') & set(folder) for folder in folders.values())
