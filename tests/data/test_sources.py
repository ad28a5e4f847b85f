"""Listing: order, classes, splits, odd folders and odd archives."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.data.cache import open_data
from safelight.data.choosing import refuse_twins
from safelight.data.classes import natural
from safelight.data.layout import listing
from safelight.data.listing import Listing
from safelight.data.origins import find
from safelight.data.prepare import prepare
from safelight.data.walk import Entry, Found, signature, walk_folder
from safelight.data.zips import CLIMBS, walk_zip
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise, zipped


def listed(*paths: str) -> Listing:
    entries = [Entry(path, tuple(path.split("/")), 10, 0) for path in paths]
    return listing(Found(entries), "folder", "somewhere", with_labels=True)


def test_natural_order() -> None:
    names = ["img10.jpg", "img2.jpg", "img1.jpg", "img002.jpg", "IMG3.jpg"]
    ordered = sorted(names, key=lambda name: natural((name,)))
    assert ordered == ["IMG3.jpg", "img1.jpg", "img2.jpg", "img002.jpg", "img10.jpg"]


@given(st.lists(st.integers(0, 10**30), unique=True, min_size=2))
def test_numbers_are_in_their_order(numbers: list[int]) -> None:
    names = [f"a{n}.png" for n in numbers if n < 10**20]
    ordered = sorted(names, key=lambda name: natural((name,)))
    assert ordered == [f"a{n}.png" for n in sorted(n for n in numbers if n < 10**20)]


@given(st.permutations(["b/2.png", "b/10.png", "a/x/1.png", "a/9.png", "c/1/2/3.png"]))
def test_the_order_does_not_depend_on_the_walk(paths: list[str]) -> None:
    found = listed(*paths)
    assert list(found.names) == ["a/9.png", "a/x/1.png", "b/2.png", "b/10.png", "c/1/2/3.png"]
    assert found.classes == ("a", "b", "c")
    assert found.labels.tolist() == [0, 0, 1, 1, 2]


def test_deeper_folders_belong_to_their_first() -> None:
    found = listed("a/x/y/1.png", "a/2.png", "b/z/1.png")
    assert found.classes == ("a", "b")


@pytest.mark.parametrize(
    ("paths", "classes", "splits"),
    [
        (["train/a/1.png", "test/a/1.png"], ("a",), [2, 0]),
        (["set/train/a/1.png", "set/val/b/1.png"], ("a", "b"), [0, 1]),
        (["Train/1.png", "VALID/1.png", "Test/1.png"], (), [2, 0, 1]),
        (["train/a/1.png", "train/b/1.png"], ("a", "b"), None),  # an enclosing folder
        (["train/1.png", "car/1.png"], ("car", "train"), None),  # the means of transport
        (["test/a/1.png", "val/b/1.png"], ("test", "val"), None),
        (["pack/a/1.png", "pack/b/1.png"], ("a", "b"), None),
        (["cats/1.png", "cats/2.png"], ("cats",), None),
        (["1.png", "2.png"], (), None),
        (["a/ab0.png", "b/b1.png"], ("a", "b"), None),  # called by its class, and no hash
        ([f"a/{'b' * 20}.png", f"b/{'b' * 20}.png"], ("a", "b"), None),  # a hash of another place
        ([f"bed/a/b/ab{'0' * 38}.jpg", f"hall/0/1/01{'f' * 38}.jpg"], ("bed", "hall"), None),
        ([f"train/0/0{'a' * 38}.jpg", f"val/1/1{'b' * 38}.jpg"], (), [0, 1]),
        ([f"bed/a/b/ab{'0' * 38}.jpg", f"bed/0/1/01{'f' * 38}.jpg"], (), None),
    ],
)
def test_what_folders_mean(
    paths: list[str], classes: tuple[str, ...], splits: list[int] | None
) -> None:
    found = listed(*paths)
    assert found.classes == classes
    assert (None if found.splits is None else found.splits.tolist()) == splits


@pytest.mark.parametrize(
    "paths",
    [
        ["Coast/1.png", "coast/2.png"],
        ["train/Coast/1.png", "test/coast/1.png"],
        ["STRASSE/1.png", "straße/1.png"],
    ],
)
def test_classes_that_differ_only_in_case_are_refused(paths: list[str]) -> None:
    with pytest.raises(UserError, match=r"in here differ only in case; unite them by --rename"):
        refuse_twins(listed(*paths), "here")


def test_two_spellings_of_one_letter_are_one_class() -> None:
    """macOS packs é as two code points."""
    assert listed("train/caf\u00e9/1.png", "test/cafe\u0301/1.png").classes == ("caf\u00e9",)


def test_loops_of_links_end(make_folder: MakeFolder) -> None:
    folder = make_folder(a=3, b=3)
    (folder / "a" / "up").symlink_to(folder)
    (folder / "b" / "self").symlink_to(folder / "b" / "self")
    (folder / "b" / "self.png").symlink_to(folder / "b" / "self.png")
    (folder / "b" / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "linked").symlink_to(folder / "a", target_is_directory=True)
    found = walk_folder(folder)
    assert len(found.entries) == 9
    assert {r.file for r in found.rejected} == {"b/self.png", "b/gone.png"}
    assert listing(found, "folder", "", True).classes == ("a", "b", "linked")


@contextlib.contextmanager
def ordinary_user(tmp_path: Path) -> Iterator[None]:
    """As root, who may read everything, the test becomes an ordinary user for a while."""
    root = os.geteuid() == 0
    if root:
        # Up to where pytest keeps what is of this user alone; deeper in a process of several.
        for place in (tmp_path, *(p for p in tmp_path.parents if "pytest" in str(p))):
            place.chmod(0o777)
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_what_is_given_may_not_be_read(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(a=12)
    (tmp_path / "pictures.dat").touch()
    for path in (folder, tmp_path / "pictures.dat"):
        path.chmod(0)
    with ordinary_user(tmp_path):
        for path in (folder, tmp_path / "pictures.dat"):
            with pytest.raises(UserError, match=rf"no permission to read {path}; ask"):
                find(path)
        with pytest.raises(UserError, match=rf"no permission to look into {folder}; ask"):
            find(folder / "a")
    folder.chmod(0o700)
    (tmp_path / "set" / "MNIST").mkdir(parents=True, mode=0)
    with (
        ordinary_user(tmp_path),
        pytest.raises(UserError, match=rf"no permission to read {tmp_path / 'set' / 'MNIST'}.*"),
    ):
        find(tmp_path / "set")


@pytest.fixture
def deep(make_folder: MakeFolder, tmp_path: Path) -> Iterator[Path]:
    """12 pictures, and one in 1,100 folders in one another; too deep for rmtree to remove."""
    folder = make_folder(a=12)
    halves = [tmp_path / "upper", tmp_path / "lower"]
    for half in halves:
        half.joinpath(*"d" * 550).mkdir(parents=True)
    noise(99).save(halves[1].joinpath(*"d" * 550, "deepest.png"))
    joint = halves[0].joinpath(*"d" * 550, "d")
    (halves[1] / "d").rename(joint)
    (halves[0] / "d").rename(folder / "d")
    yield folder
    folder.joinpath(*"d" * 551).rename(tmp_path / "lower" / "d")


def test_folders_in_one_another_without_end(deep: Path, tmp_path: Path) -> None:
    cache = prepare(deep, labels="none", out=tmp_path / "out")
    assert cache.count == 13
    names = cache.file_names()
    assert names is not None
    assert max(names) == "d/" * 1100 + "deepest.png"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_no_permission(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(a=12, b=2)
    (folder / "a" / "img3.png").chmod(0)
    (folder / "b").chmod(0)
    with ordinary_user(tmp_path):
        cache = prepare(folder, out=tmp_path / "out")
    (folder / "b").chmod(0o700)
    assert cache.count == 11
    assert {(r.file, r.reason) for r in cache.meta.rejected} == {
        ("a/img3.png", "no permission to read it"),
        ("b", "no permission to read this folder"),
    }
    assert "look out: nothing of what is in b is here" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_no_permission_to_look_into_a_cache(make_folder: MakeFolder, tmp_path: Path) -> None:
    cache = prepare(make_folder(a=12), out=tmp_path / "out")
    cache.path.chmod(0)
    try:
        with ordinary_user(tmp_path), pytest.raises(UserError, match="no permission to look into"):
            open_data(cache.path)
    finally:
        cache.path.chmod(0o755)


def test_caches_are_no_part_of_the_pictures_beside_them(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where one prepares the folder that one stands in."""
    folder = make_folder(a=12, b=12)
    first = prepare(folder, out=folder / "caches" / "one")
    again = prepare(folder, out=tmp_path / "out")
    assert again.meta.ignored == {}
    assert again.fingerprint == first.fingerprint
    capsys.readouterr()
    prepare(folder, out=folder / "caches" / "one")
    assert "is up to date" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX pipes")
def test_a_pipe_is_not_waited_for(make_folder: MakeFolder) -> None:
    folder = make_folder(a=3)
    os.mkfifo(folder / "a" / "pipe.png")
    found = walk_folder(folder)
    assert [(r.file, r.reason) for r in found.rejected] == [("a/pipe.png", "not a file")]


def test_the_signature_sees_every_change(make_folder: MakeFolder) -> None:
    folder = make_folder(a=3)
    seen = {signature(walk_folder(folder))}
    assert signature(walk_folder(folder)) in seen
    (folder / "notes.txt").write_text("not a picture")
    assert signature(walk_folder(folder)) in seen
    os.utime(folder / "a" / "img0.png", ns=(1, 1))
    seen.add(signature(walk_folder(folder)))
    (folder / "a" / "img1.png").rename(folder / "a" / "img9.png")
    seen.add(signature(walk_folder(folder)))
    (folder / "a" / "img2.png").unlink()
    seen.add(signature(walk_folder(folder)))
    assert len(seen) == 4


def test_archives_of_other_programs(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Backslashes, `./`, resource forks of macOS, hidden files, no compression, other methods."""
    image = (make_folder(a=1) / "a" / "img0.png").read_bytes()
    archive = tmp_path / "odd.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("top/a\\1.png", image)
        packed.writestr("./top/a/2.png", image, zipfile.ZIP_DEFLATED)
        packed.writestr("top/b/", b"")
        packed.writestr("top/b/3.PNG", image)
        packed.writestr("__MACOSX/top/a/._1.png", b"fork")
        packed.writestr("top/.DS_Store", b"")
        packed.writestr("top/b/readme.txt", b"")
        packed.writestr("top/b/4.png", image, zipfile.ZIP_LZMA)
        packed.writestr("top/b/5.png", image, zipfile.ZIP_BZIP2)
        packed.writestr("../../escape/5.png", image)
    found = walk_zip(archive)
    assert [(r.file, r.reason) for r in found.rejected] == [("../../escape/5.png", CLIMBS)]
    found_list = listing(found, "folder", "", True)
    assert list(found_list.names) == [
        *("top/a/1.png", "top/a/2.png", "top/b/3.PNG", "top/b/4.png"),
        *("top/b/5.png",),
    ]
    assert found_list.classes == ("a", "b")
    cache = prepare(archive, split="100/0/0", out=tmp_path / "out")
    expected = np.asarray(noise(0)).transpose(2, 0, 1)
    assert (cache.read(np.arange(5)) == expected).all()


def test_a_damaged_member_is_rejected(make_folder: MakeFolder, tmp_path: Path) -> None:
    archive = zipped(make_folder(a=12), tmp_path / "a.zip")
    with zipfile.ZipFile(archive) as packed:
        member = packed.infolist()[4]
    data = bytearray(archive.read_bytes())
    data[member.header_offset + 60 : member.header_offset + 64] = b"\0\1\2\3"
    archive.write_bytes(data)
    cache = prepare(archive, out=tmp_path / "out")
    assert cache.count == 11
    assert cache.meta.rejected[0].file == member.filename
    assert cache.meta.rejected[0].reason.startswith("cannot be read: ")


def test_a_cut_archive_is_refused(make_folder: MakeFolder, tmp_path: Path) -> None:
    archive = zipped(make_folder(a=12), tmp_path / "a.zip")
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(
        UserError, match=r"as a zip archive \(it is cut short\); make or fetch it ag"
    ):
        prepare(archive)
    archive.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"as a zip archive \(it is empty\); make or fetch it again"
    ):
        prepare(archive)


def test_an_enormous_file_is_not_read(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(a=12)
    with (folder / "a" / "huge.png").open("wb") as file:
        file.truncate(2**40)
    cache = prepare(folder, out=tmp_path / "out")
    assert [(r.file, r.reason) for r in cache.meta.rejected] == [
        ("a/huge.png", "longer than 256 MB")
    ]
