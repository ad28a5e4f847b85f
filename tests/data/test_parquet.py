"""Parquet with pictures inside, and sets of the Hugging Face Hub."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from safelight.data.choosing import pictures_of
from safelight.data.hub import configuration
from safelight.data.options import options_of
from safelight.data.origins import find
from safelight.data.prepare import prepare
from safelight.errors import DamagedFile, UserError
from tests.data.conftest import MakeFolder, counted, noise
from tests.data.forms import write_parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def rows(n: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"bytes": encoded(noise(i)), "path": None} for i in range(first, first + n)]


def pixels(first: int, last: int) -> np.ndarray:
    return np.stack([np.asarray(noise(i)).transpose(2, 0, 1) for i in range(first, last)])


def test_names_of_classes_keep_their_order(tmp_path: Path) -> None:
    """As the metadata of the schema have them; a picture without a class is left out."""
    labels = [0, 2, 1, None, -1, *[0, 1, 2] * 5]
    path = write_parquet(tmp_path / "a.parquet", rows(20), labels, ["zebra", "ant", "cow"])
    cache = prepare(path, split="100/0/0", out=tmp_path / "out")
    assert cache.classes == ("zebra", "ant", "cow")
    kept = [0, 1, 2, *range(5, 20)]
    found = cache.class_labels()
    assert found is not None
    assert found.tolist() == [labels[i] for i in kept]
    assert (cache.read(np.arange(18)) == pixels(0, 20)[kept]).all()
    assert [(r.file, r.reason) for r in cache.meta.rejected] == [
        ("a.parquet row 3", "it has no class"),
        ("a.parquet row 4", "it has no class"),
    ]


def test_files_that_name_other_classes(tmp_path: Path) -> None:
    """A class that the first file does not know is one all the same."""
    (tmp_path / "set").mkdir()
    write_parquet(tmp_path / "set" / "a.parquet", rows(10), [0, 1] * 5, ["dog", "cat"])
    write_parquet(tmp_path / "set" / "b.parquet", rows(10, 10), [0, 1] * 5, ["dog", "frog"])
    cache = prepare(tmp_path / "set", out=tmp_path / "out")
    assert counted(cache) == {"cat": 5, "dog": 10, "frog": 5}


def test_names_of_classes_with_spaces_and_accents(tmp_path: Path) -> None:
    """They are cleaned as those of any table are, and none becomes another."""
    names = ["dog ", " e\u0301t\u00e9", "cat"]
    path = write_parquet(tmp_path / "a.parquet", rows(12), [0, 1, 1, 2] * 3, names)
    cache = prepare(path, out=tmp_path / "out")
    assert cache.classes == ("dog", "\u00e9t\u00e9", "cat")
    assert counted(cache) == {"dog": 3, "\u00e9t\u00e9": 6, "cat": 3}


def test_a_file_without_the_column_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    first = write_parquet(tmp_path / "set" / "a.parquet", rows(10), [0, 1] * 5, ["cat", "dog"])
    pq.write_table(pq.read_table(first).drop_columns(["label"]), tmp_path / "set" / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet has no column 'label'; its columns are image"):
        prepare(tmp_path / "set", out=tmp_path / "out")


def test_rows_without_a_picture(tmp_path: Path) -> None:
    images = rows(15)
    images[2] = {"bytes": None, "path": "elsewhere.jpg"}
    images[3] = {"bytes": b"no picture", "path": None}
    images[4] = None  # type: ignore[call-overload]
    path = write_parquet(tmp_path / "a.parquet", images, [0] * 15, ["a"])
    cache = prepare(path, split="100/0/0", out=tmp_path / "out")
    assert cache.count == 12
    assert [r.reason for r in cache.meta.rejected] == [
        "there is no picture in this row, only its path elsewhere.jpg",
        "not a picture in a format that can be read",
        "there is no picture in this row",
    ]


def test_some_rows_of_some_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one class, in row groups of five that are read three rows at a time."""
    monkeypatch.setattr("safelight.data.parquet.ROWS", 3)
    labels = [int(i in (0, 4, 5, 6, 17, 18)) for i in range(23)]
    path = write_parquet(tmp_path / "a.parquet", rows(23), labels, ["no", "yes"])
    cache = prepare(path, classes="yes", split="100/0/0", out=tmp_path / "out")
    assert (cache.read(np.arange(6)) == pixels(0, 23)[[0, 4, 5, 6, 17, 18]]).all()


def plain(path: Path, **columns: Any) -> Path:
    """As other programs write it: without metadata of ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_plain_bytes_and_columns(tmp_path: Path) -> None:
    data = [encoded(noise(i)) for i in range(12)]
    path = plain(
        tmp_path / "a.parquet",
        jpeg=data,
        breed=["cat", "dog"] * 6,
        part=["train"] * 9 + ["test"] * 3,
        split=["train"] * 9 + ["test"] * 3,
    )
    cache = prepare(path, label_by="Breed", out=tmp_path / "out")
    assert cache.classes == ("cat", "dog")
    assert (cache.read(np.arange(12)) == pixels(0, 12)).all()
    assert cache.subset("test").count == 3
    with pytest.raises(UserError, match="has no column 'race'; its columns are jpeg, breed, part"):
        prepare(path, label_by="race")


def test_splits_by_the_names_of_files(tmp_path: Path) -> None:
    """As the Hub has them, in either of its layouts."""
    for folder, names in (
        ("one", ["data/train-00000-of-00002", "data/train-00001-of-00002", "data/test-00000-of-1"]),
        ("two", ["default/train/0000", "default/train/0001", "default/test/0000"]),
    ):
        for k, name in enumerate(names):
            path = tmp_path / folder / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(path, rows(12, 12 * k), [0, 1] * 6, ["a", "b"])
        cache = prepare(tmp_path / folder, out=tmp_path / f"out-{folder}")
        assert cache.subset("test").count == 12
        assert (cache.subset("test").read(np.arange(12)) == pixels(24, 36)).all()
        assert (cache.read(np.arange(12, 36)) == pixels(0, 24)).all()


def test_a_table_of_paths(tmp_path: Path) -> None:
    for i in range(12):
        noise(i).save(tmp_path / f"{i:02}.png")
    columns = {"file_name": [f"{i:02}.png" for i in range(12)], "label": ["x", "y"] * 6}
    cache = prepare(plain(tmp_path / "t" / ".." / "a.parquet", **columns), out=tmp_path / "out")
    assert cache.classes == ("x", "y")
    assert (cache.read(np.arange(12)) == pixels(0, 12)).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1], "b": ["x"]}, "has no column of pictures, or several; its columns are a, b: ca"),
        ({"a": [b"x"], "b": [b"x"]}, "has no column of pictures, or several; its columns are a, b"),
        ({"jpeg": [b"x"]}, "none of the 1 files in .* gives a picture, such as a.parquet row 0: "),
        ({"jpeg": [b"x"], "split": ["dev"]}, "the column split of .* holds 'dev', which is no spl"),
        ({"jpeg": [b"x"], "split": [None]}, "names no split in row 0; add it"),
    ],
)
def test_tables_that_are_no_pictures(columns: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepare(plain(tmp_path / "a.parquet", **columns))


def test_a_change_to_a_listed_picture_is_seen(tmp_path: Path) -> None:
    names = [f"{i:02}.png" for i in range(12)]
    for i, name in enumerate(names):
        noise(i).save(tmp_path / name)
    path = plain(tmp_path / "a.parquet", file=names)
    prepare(path, out=tmp_path / "out")
    noise(99).save(tmp_path / names[0])
    cache = prepare(path, out=tmp_path / "out")
    assert (cache.read(np.arange(1)) == pixels(99, 100)).all()


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [], [], ["cat"])
    with pytest.raises(UserError, match=r"a\.parquet has no rows; give a file with a row for each"):
        prepare(path, out=tmp_path / "out")


def test_pictures_without_a_path(tmp_path: Path) -> None:
    """`bytes` alone are enough, and may be missing."""
    kind = pa.struct([("bytes", pa.binary())])
    images = [{"bytes": row["bytes"]} for row in rows(12)]
    images[5] = {"bytes": None}
    pq.write_table(pa.table({"image": pa.array(images, kind)}), tmp_path / "a.parquet")
    cache = prepare(tmp_path / "a.parquet", out=tmp_path / "out")
    assert [(r.file, r.reason) for r in cache.meta.rejected] == [
        ("a.parquet row 5", "there is no picture in this row")
    ]


def test_damage_within_a_file(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(60), [0] * 60, ["cat"])
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(byte ^ 0x5A for byte in data[third : 2 * third])
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=r"a\.parquet cannot be read as parquet \(.*; fetch"):
        prepare(path, out=tmp_path / "out")


def test_few_files_are_open_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for k in range(40):
        write_parquet(tmp_path / "set" / f"{k}.parquet", rows(1, k), [0], ["cat"])
    before = len(list(Path("/dev/fd").iterdir()))
    found = pictures_of(find(tmp_path / "set"), options_of())
    assert len(found.names) == 40
    assert len(list(Path("/dev/fd").iterdir())) < before + 10


@pytest.mark.parametrize("left", [0, 4, 0.5, 0.99])
def test_a_file_that_is_cut_short(left: float, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(12), [0] * 12, ["a"])
    length = int(left * path.stat().st_size if isinstance(left, float) else left)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"a\.parquet cannot be read as parquet .*; fetch it again"):
        prepare(path)


def test_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows(12), [0] * 12, ["a"])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        UserError, match=r"is read by pyarrow, which .* pip install 'safelight\[hub"
    ):
        prepare(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library's own folder of what was fetched; there is no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fetched(hub: Path, name: str, revision: str, *files: str) -> None:
    """What the library keeps of a set: a folder for each commit, and what revisions mean."""
    base = hub / f"datasets--{name.replace('/', '--')}"
    (base / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
    (base / "refs" / revision).write_text("0123abc")
    for file in files:
        path = base / "snapshots" / "0123abc" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(path, rows(12), [0, 1] * 6, ["a", "b"])


def test_a_set_of_the_hub_that_was_fetched_before(hub: Path, tmp_path: Path) -> None:
    fetched(hub, "someone/birds", "main", "data/train-0.parquet", "data/test-0.parquet")
    cache = prepare("hf:someone/birds", out=tmp_path / "out")
    assert cache.name == "birds"
    assert cache.classes == ("a", "b")
    assert (cache.count, cache.subset("test").count) == (24, 12)


def test_a_set_of_the_hub_beside_a_folder(
    hub: Path, make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Also by the words that the record has for both."""
    fetched(hub, "someone/animals", "main", "data/0.parquet")
    folder = make_folder("more", a=6, b=6)
    cache = prepare(["hf:someone/animals", folder], size=16, out=tmp_path / "out")
    again = prepare(cache.meta.source, size=16, out=tmp_path / "again")
    assert again.fingerprint == cache.fingerprint


def test_configurations_of_a_set_of_the_hub(hub: Path, tmp_path: Path) -> None:
    fetched(hub, "someone/birds", "main", "fine/train-0.parquet", "coarse/train-0.parquet")
    with pytest.raises(UserError, match=r"the configurations coarse, fine; name one.*birds@coarse"):
        prepare("hf:someone/birds")
    with pytest.raises(UserError, match=r"birds@rough has the configurations coarse, fine; name"):
        prepare("hf:someone/birds@rough")
    assert prepare("hf:someone/birds@fine", out=tmp_path / "out").count == 12


def test_a_set_of_the_hub_without_a_network(hub: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare("hf:someone/birds")
    said = str(caught.value)
    assert said.startswith("hf:someone/birds could not be fetched (")
    assert "\n" not in said
    assert said.endswith(
        "; fetch it where there is a network (hf download someone/birds --repo-type dataset "
        "--local-dir birds) and prepare that folder"
    )


def test_a_set_of_the_hub_without_parquet(hub: Path) -> None:
    for revision in ("main", "refs/convert/parquet"):
        fetched(hub, "someone/birds", revision)
    (hub / "datasets--someone--birds" / "snapshots" / "0123abc").mkdir(parents=True)
    with pytest.raises(UserError, match="hf:someone/birds holds no parquet files; fetch it"):
        prepare("hf:someone/birds")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/train-0.parquet", "default"),
        ("train.parquet", "default"),
        ("default/train/0.parquet", "default"),
        ("train/0.parquet", "default"),
        ("fine/train-0.parquet", "fine"),
        ("fine/test/0.parquet", "fine"),
    ],
)
def test_configurations(path: str, name: str) -> None:
    assert configuration(Path(path)) == name


def test_metadata_that_are_no_metadata(tmp_path: Path) -> None:
    schema = pa.schema([("image", pa.binary())], {"huggingface": json.dumps({"info": 3})})
    table = pa.table({"image": [encoded(noise(i)) for i in range(12)]}, schema)
    pq.write_table(table, tmp_path / "a.parquet")
    assert prepare(tmp_path / "a.parquet", out=tmp_path / "out").count == 12
