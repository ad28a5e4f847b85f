"""The same pictures give the same cache, in whatever form they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safelight.data.options import Wanted
from safelight.data.prepare import prepare
from tests.data.conftest import MakeFolder
from tests.data.forms import FORMS, files_of, stacked


@pytest.fixture
def folder(make_folder: MakeFolder) -> Path:
    return make_folder(cat=9, dog=7)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [None, 8])
def test_the_same_pictures_give_the_same_cache(
    form: str, size: int | None, folder: Path, tmp_path: Path
) -> None:
    """L1, L2: pixels, classes, their order and the splits."""
    if form == "parquet":
        pytest.importorskip("pyarrow")
    wanted: Wanted = {"size": size, "labels": "sources" if form == "two sources" else "folders"}
    source = FORMS[form](folder, tmp_path)
    cache = prepare(source, out=tmp_path / "out", **wanted)
    truth = prepare(folder, out=tmp_path / "truth", size=size)
    assert cache.classes == ("cat", "dog")
    assert cache.fingerprint == truth.fingerprint


def test_an_array_and_a_folder_without_labels(folder: Path, tmp_path: Path) -> None:
    images, _ = stacked(folder)
    np.save(tmp_path / "a.npy", images)
    cache = prepare(tmp_path / "a.npy", out=tmp_path / "out")
    assert cache.fingerprint == prepare(folder, labels="none", out=tmp_path / "t").fingerprint


@pytest.mark.parametrize("form", ["tar", "tar.gz"])
def test_by_several_processes(
    form: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With packets of a few bytes, and pictures that are no pictures among the others."""
    monkeypatch.setattr("safelight.data.parts.FEW_FILES", 0)
    monkeypatch.setattr("safelight.data.workers.BATCH_FILES", 3)
    monkeypatch.setattr("safelight.data.workers.PACKET_BYTES", 1500)
    monkeypatch.setattr("safelight.data.streams.BATCH_FILES", 3)
    (folder / "cat" / "img5.png").write_bytes(b"no picture")
    (folder / "dog" / "img6.png").write_bytes(b"")
    source = FORMS[form](folder, tmp_path)
    cache = prepare(source, out=tmp_path / "out", workers=3)
    assert cache.fingerprint == prepare(folder, out=tmp_path / "truth", workers=1).fingerprint
    assert [r.reason for r in cache.meta.rejected] == [
        "not a picture in a format that can be read",
        "empty file",
    ]


def test_grey_and_colour_in_a_packed_archive(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Pictures that wait for their turn keep the channels that they have."""
    folder = make_folder(a=5, mode="L")
    make_folder(b=4)
    source = FORMS["tar.gz"](folder, tmp_path)
    cache = prepare(source, out=tmp_path / "out")
    truth = prepare(folder, out=tmp_path / "truth")
    assert cache.shape == (3, 16, 16)
    assert cache.fingerprint == truth.fingerprint


@pytest.mark.parametrize("form", ["tar", "tar.gz", "csv", "npz", "arrays", "parquet"])
def test_run_again_does_nothing(
    form: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    source = FORMS[form](folder, tmp_path)
    prepare(source, out=tmp_path / "out")
    prepare(source, out=tmp_path / "out")
    assert "is up to date" in capsys.readouterr().err
    if form == "csv":  # a picture that the table names has changed
        files_of(folder)[0].write_bytes(files_of(folder)[1].read_bytes())
        prepare(source, out=tmp_path / "out")
        assert "have changed; preparing them again" in capsys.readouterr().err
