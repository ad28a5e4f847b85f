"""Tables of paths and labels."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.data.splits import SPLITS
from safelight.data.tables import read_table, said
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise

NAMES = [f"img/{i}.png" for i in range(20)]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pictures img/0.png to img/19.png, of random pixels."""
    (tmp_path / "img").mkdir()
    for i in range(20):
        noise(i).save(tmp_path / "img" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(text: str, name: str = "t.csv", encoding: str = "utf-8") -> Path:
    Path(name).write_bytes(text.encode(encoding))
    return Path(name)


def rows(head: str, row: str, n: int = 20, end: str = "\n") -> str:
    return end.join([head, *(row.format(i=i, k=i % 2) for i in range(n))]) + end


def classes_of(cache: Cache) -> dict[int, str]:
    """Which picture has which class, found by its pixels."""
    labels = cache.class_labels()
    assert labels is not None
    which = {np.asarray(noise(i)).tobytes(): i for i in range(20)}
    pixels = cache.read(np.arange(cache.count)).transpose(0, 2, 3, 1)
    pairs = zip(pixels, labels, strict=True)
    return {which[pixel.tobytes()]: cache.classes[label] for pixel, label in pairs}


ODD = {i: ("even", "odd")[i % 2] for i in range(20)}
FORMS = {
    "usual": (rows("path,label", "img/{i}.png,{k}"), "t.csv", "utf-8"),
    "byte order mark": (rows("path,label", "img/{i}.png,{k}"), "t.csv", "utf-8-sig"),
    "CRLF": (rows("path,label", "img/{i}.png,{k}", end="\r\n"), "t.csv", "utf-8"),
    "old Macs": (rows("path,label", "img/{i}.png,{k}", end="\r"), "t.csv", "utf-8"),
    "semicolons": (rows("Dateiname;File Name;Class", "x,y;img/{i}.png;{k}"), "t.csv", "utf-8"),
    "tabs": (rows("image_path\tcategory", "img/{i}.png\t{k}"), "t.tsv", "utf-8"),
    "tabs in a .csv": (rows("image_path\tcategory", "img/{i}.png\t{k}"), "t.csv", "utf-8"),
    "utf-16": (rows("image_path\tcategory", "img/{i}.png\t{k}"), "t.tsv", "utf-16"),
    "quoted": (rows('"label","file_name"', '"{k}","img/{i}.png"'), "t.csv", "utf-8"),
    "spaces": (rows(" label , file_name ", " {k} , img/{i}.png "), "t.csv", "utf-8"),
    "more columns": (rows("id,x,filename,y,w", "{i},1,img/{i}.png,{k},2"), "t.csv", "utf-8"),
    "no head": (rows("img/0.png,0", "img/{i}.png,{k}")[12:], "t.csv", "utf-8"),
    "backslashes": (rows("path,label", "img\\{i}.png,{k}"), "t.csv", "utf-8"),
    "dots": (rows("path,label", "./img/../img/{i}.png,{k}"), "t.csv", "utf-8"),
    "empty rows": (rows("path,label", "img/{i}.png,{k}\n\n,"), "t.csv", "utf-8"),
    "JSON": (
        json.dumps([{"label": i % 2, "image": f"img/{i}.png"} for i in range(20)]),
        "t.json",
        "utf-8",
    ),
    "JSON by columns": (
        json.dumps(
            {"label": [i % 2 for i in range(20)], "file": [f"img/{i}.png" for i in range(20)]}
        ),
        "t.json",
        "utf-8",
    ),
    "JSON as pandas writes it": (
        json.dumps(
            {
                "label": {str(i): i % 2 for i in range(20)},
                "file": {str(i): f"img/{i}.png" for i in range(20)},
            }
        ),
        "t.json",
        "utf-8",
    ),
    "labels by path": (json.dumps({f"img/{i}.png": i % 2 for i in range(20)}), "t.json", "utf-8"),
    "JSON lines": (
        "\n".join(json.dumps({"file_name": f"img/{i}.png", "label": i % 2}) for i in range(20)),
        "t.jsonl",
        "utf-8",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_tables_of_all_kinds(form: str, desk: Path) -> None:
    """Each picture has the class of its row, by whatever name the columns go."""
    text, name, encoding = FORMS[form]
    cache = prepare(table(text, name, encoding), out=desk / "out")
    assert cache.classes == ("0", "1")
    assert classes_of(cache) == {i: str(i % 2) for i in range(20)}


def test_a_table_from_another_folder(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its paths are relative to its own, or absolute."""
    table(rows("path,label", f"{desk}/img/{{i}}.png,{{k}}"), "absolute.csv")
    table(rows("path,label", "img/{i}.png,{k}"))
    monkeypatch.chdir("/")
    first = prepare(desk / "t.csv", out=desk / "a")
    assert first.fingerprint == prepare(desk / "absolute.csv", out=desk / "b").fingerprint


def test_labels_that_are_numbers_are_in_their_order(desk: Path) -> None:
    cache = prepare(table(rows("path,label", "img/{i}.png,{i}")), split="100/0/0", out=desk / "out")
    assert cache.classes == tuple(str(i) for i in range(20))
    assert classes_of(cache) == {i: str(i) for i in range(20)}


def test_splits_of_a_table(desk: Path) -> None:
    """Kept, unless --split divides anew."""
    text = "path,label,split\n" + "".join(
        f"img/{i}.png,{i % 2},{('train', 'Train', 'val', 'TEST')[i % 4]}\n" for i in range(20)
    )
    cache = prepare(table(text), out=desk / "out")
    assert [cache.subset(split).count for split in SPLITS] == [10, 5, 5]
    which = classes_of(prepare(table(text), split="50/25/25", out=desk / "anew"))
    assert which == classes_of(cache)
    with pytest.raises(UserError, match=r"the column split of .* holds 'dev', which is no split"):
        prepare(table(text.replace("val", "dev")), out=desk / "more")


def test_a_column_of_ones_choice(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--label-by, one or two; with none that is called label, what there is to choose is told."""
    text = rows("path,colour,size", "img/{i}.png,{k},big")
    assert prepare(table(text), out=desk / "none").classes == ()
    told = " ".join(capsys.readouterr().err.split())
    assert "has no column called label or class" in told
    assert "choose a column by --label-by (colour, size)" in told
    assert prepare(table(text), label_by="colour", out=desk / "one").classes == ("0", "1")
    both = prepare(table(text), label_by=["colour", "size"], out=desk / "two")
    assert both.classes == ("colour 0 and size big", "colour 1 and size big")
    with pytest.raises(UserError, match=r"has no column 'shape'; its columns are path, colour, si"):
        prepare(table(text), label_by="shape")


def test_rows_that_give_no_picture(desk: Path) -> None:
    """Each is left out with its reason, and the rest goes on."""
    noise(0).save(desk / "img" / "twice.png")
    text = rows("path,label", "img/{i}.png,{k}") + "\n".join(
        [
            "img/lost.png,1",
            "http://example.org/1.png,1",
            "img/3.png,1",  # again
            "./img/3.png,1",  # by another path
            "img/twice.png,0",
            "img/twice.png,1",  # contradicts
            "img/twice.png,1",
            ",1",
            "img/4.png,",
            "img,1",
        ]
    )
    cache = prepare(table(text), out=desk / "out")
    assert classes_of(cache) == {i: str(i % 2) for i in range(20)}
    reasons = [(r.file, r.reason) for r in cache.meta.rejected]
    contradicted = ("img/twice.png", "its rows give it different classes or splits")
    assert reasons == [
        ("img/lost.png", "it cannot be found: No such file or directory"),
        ("http://example.org/1.png", "an address and no file; fetch it first"),
        ("img/3.png", "named again by a later row"),
        ("./img/3.png", "named again by a later row"),
        *([contradicted] * 2),
        ("", "its row names no file"),
        ("img/4.png", "its row has no class"),
        ("img", "not a file"),
        contradicted,
    ]


def test_none_of_the_files_is_there(desk: Path) -> None:
    with pytest.raises(UserError) as caught:
        prepare(table(rows("path,label", "pictures/{i}.png,{k}")))
    assert str(caught.value) == (
        f"none of the 20 files that {desk}/t.csv names can be had, such as pictures/0.png: it "
        f"cannot be found: No such file or directory; its paths are relative to {desk}"
    )


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (
            "breed,colour\ncat,red\n",
            "t.csv",
            r"no column of paths; call one .*\(breed, colour\) pa",
        ),
        ("", "t.csv", "t.csv has no rows"),
        ("path,label\n", "t.csv", "t.csv has no rows"),
        ("path,label\na.png,b,c\n", "t.csv", "row 2 has 3 cells and its head 2: put what holds ',"),
        ("path,path\na.png,b\n", "t.csv", "two of its columns are called 'path'"),
        ("a.png,1,2,3\n", "t.csv", "its first row has to name the columns"),
        ("path,label\n\0,1\n", "t.csv", "none of the 1 files|cannot be read as a table"),
        ("{", "t.json", "cannot be read as a table"),
        ("[1, 2]", "t.json", "give a list of objects, each with a path and a label"),
        ('"text"', "t.json", "give a list of objects"),
        ('{"path": ["a"], "label": [1, 2]}', "t.json", "its columns have different lengths"),
        ("[" * 100_000, "t.json", "cannot be read as a table"),
        ('{"path": "a.png"}\n{', "t.jsonl", "cannot be read as a table"),
    ],
)
def test_what_is_no_table(text: str, name: str, message: str, desk: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepare(table(text, name))


def test_another_encoding(desk: Path) -> None:
    with pytest.raises(UserError, match=r"t.csv is not UTF-8 text; save it as CSV with UTF-8"):
        prepare(table(rows("path,label", "img/{i}.png,käse"), encoding="latin-1"))


@given(
    st.lists(
        st.tuples(st.text("ab,;\t|\"'\n é", min_size=1), st.text("ab,\"\n'", min_size=1)),
        min_size=1,
        max_size=5,
    )
)
def test_what_a_spreadsheet_writes_is_read(cells: list[tuple[str, str]]) -> None:
    """Quotes, commas and lines within cells."""
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerows([("path", "label"), *cells])
    from safelight.data.tables import FORMATS

    kept = [cell for cell in cells if any(part.strip() for part in cell)]
    found = FORMATS[".csv"](file.getvalue().replace("\r\n", "\n")).columns
    assert list(zip(*(found[name] for name in found), strict=True)) == kept


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (3.5, "3.5"), (None, ""), (float("nan"), ""), (np.int8(4), "4"), (" a ", "a")],
)
def test_cells_as_text(value: object, text: str) -> None:
    assert said(value) == text


class Frame:
    """What data frames of all libraries have."""

    def __init__(self, **columns: list[object]) -> None:
        self._columns = columns
        self.columns = list(columns)
        self.shape = (len(next(iter(columns.values()))), len(columns))

    def __getitem__(self, name: str) -> list[object]:
        return self._columns[name]


@pytest.mark.parametrize("kind", [Frame, dict])
def test_a_data_frame(kind: type, desk: Path) -> None:
    """Also of columns in a mapping; paths are relative to where one works."""
    frame = kind(
        path=[f"img/{i}.png" for i in range(20)],
        label=[float(i % 2) for i in range(20)],
        split=["train", "test"] * 10,
    )
    cache = prepare(frame, out=desk / "out")
    assert classes_of(cache) == {i: str(i % 2) for i in range(20)}
    assert cache.subset("test").count == 10


def test_a_data_frame_of_pandas(desk: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"file": [f"img/{i}.png" for i in range(20)]})
    frame["label"] = pandas.Categorical([ODD[i] for i in range(20)])
    frame.loc[3, "label"] = None
    cache = prepare(frame[frame.file != "img/4.png"], out=desk / "out")
    assert classes_of(cache) == {i: name for i, name in ODD.items() if i not in (3, 4)}


def test_missing_cells_of_pandas(desk: Path) -> None:
    """Its NA can be compared with nothing."""
    pandas = pytest.importorskip("pandas")
    paths = [str(desk / name) for name in NAMES]
    labels = pandas.array([1] * (len(paths) - 1) + [None], dtype="Int64")
    cache = prepare(pandas.DataFrame({"path": paths, "label": labels}), out=desk / "out")
    assert cache.classes == ("1",)
    assert [r.reason for r in cache.meta.rejected] == ["its row has no class"]
    assert said(pandas.NaT) == ""


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_columns_of_arrays_that_are_not_asked_for(make: Callable[[int], Any], desk: Path) -> None:
    columns = {"path": [str(desk / name) for name in NAMES], "box": [make(4) for _ in NAMES]}
    assert prepare(columns, out=desk / "out").count == len(NAMES)


def test_a_table_of_pyarrow(desk: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"path": [str(desk / name) for name in NAMES]})
    assert prepare(table, out=desk / "out").count == len(NAMES)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_a_pipe_in_a_table_is_not_waited_for(desk: Path) -> None:
    os.mkfifo(desk / "pipe.png")
    (desk / "a.csv").write_text("\n".join(["path", *NAMES, "pipe.png"]))
    cache = prepare(desk / "a.csv", out=desk / "out")
    assert [(r.file, r.reason) for r in cache.meta.rejected] == [("pipe.png", "not a file")]


def test_one_file_by_several_paths(desk: Path) -> None:
    (desk / "other").symlink_to(desk / "img")
    again = [str(desk / NAMES[3]), "other/4.png", "./img/../img/5.png"]
    (desk / "a.csv").write_text("\n".join(["path", *NAMES, *again]))
    cache = prepare(desk / "a.csv", out=desk / "out")
    assert cache.count == len(NAMES)
    assert [r.file for r in cache.meta.rejected] == again
    assert {r.reason for r in cache.meta.rejected} == {"named again by a later row"}


def test_two_columns_of_one_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["a.png", "x", "y"]], columns=["path", "label", "label"])
    with pytest.raises(UserError, match="two columns of the table are called 'label'; rename one"):
        prepare(frame)


def test_a_quote_that_is_not_closed(desk: Path) -> None:
    """It would swallow the rows below it."""
    lines = ["path,label", *(f"{name},a" for name in NAMES)]
    lines[4] = lines[4].replace(",a", ',"a')
    (desk / "a.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(
        UserError, match=r"a\.csv cannot be read as a table \(line 5, in the quotes"
    ):
        prepare(desk / "a.csv")


@pytest.mark.parametrize("head", ["path,label,,", "path,label"])
def test_empty_cells_at_the_end_of_rows(head: str, desk: Path) -> None:
    lines = [head, *(f"{name},a,," for name in NAMES)]
    (desk / "a.csv").write_text("\n".join(lines))
    assert read_table(desk / "a.csv").columns == {"path": NAMES, "label": ["a"] * len(NAMES)}


@pytest.mark.parametrize("text", ["one\u2028two", "one\x85two"])
def test_line_ends_within_json(text: str, desk: Path) -> None:
    lines = [json.dumps({"path": name, "text": text}, ensure_ascii=False) for name in NAMES]
    (desk / "a.jsonl").write_text("\n".join(lines))
    assert read_table(desk / "a.jsonl").columns["text"] == [text] * len(NAMES)


def test_halves_of_characters(desk: Path) -> None:
    labels = dict.fromkeys(NAMES, "\ud800") | {"\ud800.png": "a"}
    (desk / "a.json").write_text(json.dumps(labels))
    cache = prepare(desk / "a.json", out=desk / "out")
    assert cache.classes == ("\\ud800",)
    assert [r.file for r in cache.meta.rejected] == ["\\ud800.png"]


def test_a_file_whose_name_is_its_ending(desk: Path) -> None:
    (desk / ".csv").write_text("\n".join(["path", *NAMES]))
    assert prepare(desk / ".csv", out=desk / "out").count == len(NAMES)


def test_the_name_of_a_column_is_taken_as_it_is_written(desk: Path) -> None:
    lines = [f"{name},X,{i % 2}" for i, name in enumerate(NAMES)]
    (desk / "a.csv").write_text("\n".join(["path,Label,label", *lines]))
    assert prepare(desk / "a.csv", label_by="label", out=desk / "out").classes == ("0", "1")
    assert prepare(desk / "a.csv", label_by="Label", out=desk / "other").classes == ("X",)


def test_a_frame_of_unequal_columns() -> None:
    with pytest.raises(UserError, match="the table cannot be read .*; give lists of equal length"):
        prepare({"path": ["a.png", "b.png"], "label": [1]})


def test_options_that_a_table_gives_no_sense(make_folder: MakeFolder) -> None:
    with pytest.raises(UserError, match="--label-by names a column.*has none; leave it out"):
        prepare(make_folder(a=3), label_by="breed")


def test_read_table_keeps_the_order_of_columns(desk: Path) -> None:
    assert list(read_table(table("b,path,a\n1,2,3\n")).columns) == ["b", "path", "a"]
