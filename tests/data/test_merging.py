"""Several sources as one, classes renamed and united, and parts of a whole."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.cli import main
from safelight.data.cache import Cache, open_data
from safelight.data.options import Options, options_of, parse_every, parse_fraction
from safelight.data.prepare import prepare
from safelight.data.splits import Draw, in_blocks, parse_split, part_of
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, counted, zipped


def test_classes_of_one_name_are_one(make_folder: MakeFolder, tmp_path: Path) -> None:
    a = make_folder("a", cat=6, dog=5)
    b = zipped(make_folder("b", dog=4, ant=3), tmp_path / "b.zip")
    cache = prepare([a, b], out=tmp_path / "out", split="100/0/0")
    assert counted(cache) == {"ant": 3, "cat": 6, "dog": 9}
    first = prepare(a, out=tmp_path / "a-alone", split="100/0/0")
    assert (cache.read(np.arange(11)) == first.read(np.arange(11))).all()
    assert cache.meta.source == f"{a} + {b}"
    again = prepare(f"{a} + {b}", out=tmp_path / "again", split="100/0/0")  # as it is written down
    assert again.fingerprint == cache.fingerprint


def test_flat_sources_are_classes_if_they_are_to_be(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cats, dogs = make_folder("all", cats=6, dogs=5) / "cats", tmp_path / "all" / "dogs"
    assert prepare([cats, dogs], out=tmp_path / "flat").classes == ()
    assert "--labels sources makes each of them one" in capsys.readouterr().err
    cache = prepare([cats, dogs], labels="sources", out=tmp_path / "out")
    assert counted(cache) == {"cats": 6, "dogs": 5}
    with pytest.raises(UserError, match=r"makes each of several sources a class, .* is one; give"):
        prepare(cats, labels="sources")


def test_sources_with_and_without_classes(make_folder: MakeFolder, tmp_path: Path) -> None:
    flat = make_folder("all", more=6) / "more"
    classed = make_folder("b", cat=6, dog=6)
    with pytest.raises(UserError, match=r"more has no classes and others have; .*--labels sources"):
        prepare([classed, flat])
    assert prepare([classed, flat], labels="none", out=tmp_path / "none").count == 18
    cache = prepare([classed, flat], labels="sources", out=tmp_path / "out")
    assert counted(cache) == {"b": 12, "more": 6}


def test_splits_stay_where_all_have_them(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [make_folder(f"{name}/{split}", a=n, b=n) for name in "xy" for split, n in SIZES]
    x, y = parts[0].parent, parts[2].parent
    cache = prepare([x, y], out=tmp_path / "out", split=None)
    assert [cache.subset(split).count for split in ("train", "test")] == [38, 8]
    assert "given up" not in capsys.readouterr().err
    plain = make_folder("plain", a=10, b=10)
    mixed = prepare([x, plain], out=tmp_path / "mixed")
    assert f"{plain} has no splits, so those of the others are given up" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert abs(mixed.subset("test").count - 4.4) < 2  # 10 % of 44, within 1 of each class


SIZES = (("train", 10), ("test", 2))


def test_one_source_twice(make_folder: MakeFolder) -> None:
    folder = make_folder(a=3)
    with pytest.raises(UserError, match="is given twice; give each source once"):
        prepare([folder, f"{folder}/../pictures"])
    with pytest.raises(UserError, match="no source is given"):
        prepare([])


def test_two_sources_of_one_name(make_folder: MakeFolder, tmp_path: Path) -> None:
    a, b = make_folder("a/set", x=6, y=6), make_folder("b/set", x=6, z=6)
    assert counted(prepare([a, b], out=tmp_path / "out")) == {"x": 12, "y": 6, "z": 6}
    with pytest.raises(UserError, match="two sources are called set, which can't be two classes"):
        prepare([a, b], labels="sources")


def test_rejected_files_are_told_with_their_source(make_folder: MakeFolder, tmp_path: Path) -> None:
    a, b = make_folder("a", x=6), make_folder("b", x=6)
    (b / "x" / "bad.png").write_text("no picture")
    cache = prepare([a, b], out=tmp_path / "out")
    assert [r.file for r in cache.meta.rejected] == ["b/x/bad.png"]


def test_renaming_unites(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Coast and coast, which are one on most disks; and the remedy that the error names."""
    folder = make_folder(Coast=5, coast=6, forest=7)
    with pytest.raises(UserError) as caught:
        prepare(folder)
    assert str(caught.value) == (
        f"the classes 'Coast' and 'coast' in {folder} differ only in case; unite them by "
        "--rename coast=Coast, or give one another name"
    )
    cache = prepare(folder, rename={"coast": "Coast"}, out=tmp_path / "out")
    assert counted(cache) == {"Coast": 11, "forest": 7}
    apart = prepare(
        folder, rename={"coast": "creek"}, classes="creek,forest", out=tmp_path / "apart"
    )
    assert counted(apart) == {"creek": 6, "forest": 7}
    with pytest.raises(UserError, match="class 'coast' is called 'creek' by --rename; choose that"):
        prepare(folder, rename={"coast": "creek"}, classes="coast,forest")
    (folder / "coast").rename(folder / "creek")
    truth = prepare(folder, out=tmp_path / "truth", classes=["creek", "forest"])
    assert truth.fingerprint == apart.fingerprint


def test_renaming_keeps_an_order_that_is_not_that_of_names(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    source = {"images": pixels, "labels": np.arange(12) % 3, "classes": ["zebra", "ant", "cow"]}
    cache = prepare(source, rename={"ant": "zebu", "cow": "zebra"}, out=tmp_path / "out")
    assert counted(cache) == {"zebra": 8, "zebu": 4}
    digits = prepare("digits", rename={"0": "round", "6": "round"}, out=tmp_path / "digits")
    assert digits.classes == (*"12345789", "round")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rename": {"cow": "ox"}}, "unknown class 'cow'; choose one of: cat, dog"),
        (
            {"rename": {"cat": "x"}, "labels": "none"},
            "--rename: changes nothing with --labels none",
        ),
        ({"label_by": "x", "labels": "none"}, "--label-by: changes nothing with --labels none"),
        ({"every": 10}, "--every is of the frames of a video, and .* is none; leave it out"),
        ({"every": 0}, "'?0'? is no distance between frames: give 10 for each tenth"),
        ({"every": "0.0s"}, "is no distance between frames"),
        ({"fraction": 0}, "0 is no part of the pictures: give one such as 3% or 0.03"),
        ({"fraction": 1.5}, "1.5 is no part of the pictures"),
        ({"fraction": "a lot"}, "'a lot' is no part of the pictures"),
        ({"fraction": "1/0"}, "'1/0' is no part of the pictures"),
        ({"fraction": "3%", "per_class": 4}, "--per-class says how many already; leave one"),
        ({"split": "80/10/5"}, "cannot split by '80/10/5': .* which sum to 100"),
    ],
)
def test_options_that_make_no_sense(
    options: dict[str, object], message: str, make_folder: MakeFolder
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(make_folder(cat=6, dog=6), **options)  # type: ignore[arg-type]


def test_renaming_where_there_are_no_classes(make_folder: MakeFolder) -> None:
    with pytest.raises(UserError, match="no classes here to rename"):
        prepare(make_folder(a=3) / "a", rename={"a": "b"})


def test_a_class_without_pictures(tmp_path: Path) -> None:
    """It is known by name, as in a table of classes, and none is left to be taken."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    source = {"images": pixels, "labels": np.zeros(12, int), "classes": ["cat", "cow"]}
    with pytest.raises(UserError, match=r"the class 'cow' has no pictures in array \w+; leave it"):
        prepare(source, classes="cow,cat")
    assert prepare(source, out=tmp_path / "out").classes == ("cat",)


@given(st.integers(1, 5000), st.fractions(Fraction(1, 1000), 1), st.integers(0, 9))
def test_a_share_is_within_one_and_never_nothing(n: int, share: Fraction, seed: int) -> None:
    """B4: of each class, and the same each time."""
    part = part_of(n, share, seed, "a class")
    assert part == part_of(n, share, seed, "a class")
    assert 1 <= part <= n
    assert abs(part - n * share) < 1 or part == 1


def test_small_classes_add_up_to_their_share() -> None:
    """B4: 3 % of 2,000 classes of 50, which is 1.5 of each: within four deviations."""
    total = sum(part_of(50, Fraction(3, 100), 0, f"class {i}") for i in range(2000))
    assert abs(total - 3000) < 4 * 0.5 * 2000**0.5


def test_three_percent(make_folder: MakeFolder, tmp_path: Path) -> None:
    """B4: stratified, repeatable, and of the splits that there are."""
    labels = np.repeat([0, 1], [400, 200])
    draws = [
        Draw(labels, None, ("a", "b"), None, seed, parse_share("3%")).next() for seed in (0, 0, 1)
    ]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()
    assert np.bincount(labels[draws[0]]).tolist() == [12, 6]
    given_splits = np.tile(np.repeat([0, 2], [75, 25]), 6).astype(np.uint8)
    kept = Draw(labels, given_splits, ("a", "b"), None, 0, parse_share("50%")).next()
    assert np.bincount(given_splits[kept]).tolist() == [225, 0, 75]
    cache = prepare(make_folder(a=20, b=10), fraction=0.5, out=tmp_path / "out")
    assert counted(cache) == {"a": 10, "b": 5}
    assert cache.meta.options.arguments() == ["--fraction", "50%"]


def parse_share(text: str) -> Fraction | None:
    return options_of(fraction=text).share


@pytest.mark.parametrize(
    ("value", "text"), [("3%", "3%"), (0.03, "3%"), ("0.5", "50%"), (1, "100%"), ("12.5%", "12.5%")]
)
def test_fractions_are_written_in_one_way(value: object, text: str) -> None:
    assert parse_fraction(value) == parse_fraction(text) == text


@pytest.mark.parametrize(
    ("value", "text"), [(10, "10"), ("010", "10"), ("0.50s", "0.5s"), (".5s", "0.5s"), ("2s", "2s")]
)
def test_distances_are_written_in_one_way(value: object, text: str) -> None:
    assert parse_every(value) == parse_every(text) == text


@given(st.integers(3, 500), st.sampled_from(["80/10/10", "70/15/15", "100/0/0", "98/1/1"]))
def test_blocks_are_in_one_piece(n: int, split: str) -> None:
    """Each split that is asked for has something, and neighbours are torn apart only between."""
    codes = in_blocks(n, parse_split(split))
    shares = parse_split(split)
    assert set(codes.tolist()) == {code for code in range(3) if shares[code]}
    assert (np.diff(codes.astype(int)) != 0).sum() == sum(map(bool, shares)) - 1
    counts = np.bincount(codes, minlength=3)
    assert all(abs(counts[code] - n * shares[code]) <= 2 for code in range(3))


def test_on_the_command_line(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several sources, and every option, as they are typed and as they are written down."""
    make_folder("a", cat=12, dog=12)
    make_folder("b", Dog=12, cow=12)
    monkeypatch.chdir(tmp_path)
    words = ["--rename", "Dog=dog,cow=ox", "--fraction", "50%", "--out", "out"]
    main(["prepare", "a", "b", *words])
    cache = Cache.open(Path("out"))
    assert counted(cache) == {"cat": 6, "dog": 12, "ox": 6}
    assert cache.meta.options.arguments() == words[:4]
    assert open_data("out:test").count == 3
    for wrong, said in (
        (["prepare"], "SOURCES"),
        (["prepare", "a", "--rename", "cat"], "'cat' names no classes anew: give OLD=NEW"),
        (["prepare", "a", "--fraction", "7"], "'7' is no part of the pictures"),
        (["prepare", "a", "b"], "the classes 'Dog' and 'dog' in"),
    ):
        with pytest.raises((SystemExit, UserError)) as caught:
            main(wrong)
        assert caught.value.code == 2  # type: ignore[union-attr]
        assert said


def test_every_option_can_be_written_down() -> None:
    asked = Options(
        label_by=("a", "b"), rename={"x": "y", "z": "y"}, fraction="3%", every="0.5s", size="8x9"
    )
    assert asked.arguments() == [
        *("--size", "8x9", "--label-by", "a,b", "--rename", "x=y,z=y"),
        *("--fraction", "3%", "--every", "0.5s"),
    ]
    assert Options.model_validate(asked.model_dump(mode="json")) == asked
