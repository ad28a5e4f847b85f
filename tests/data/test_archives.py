"""Archives that are odd, damaged or malicious: nothing is written, memory stays small."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.data import tars, zips
from safelight.data.prepare import prepare
from safelight.data.tars import unpacked, walk_tar
from safelight.data.zips import CLIMBS, UNPACK, walk_zip
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise, zipped
from tests.data.forms import add, tarred


@pytest.fixture
def png() -> bytes:
    file = io.BytesIO()
    noise(0).save(file, "PNG")
    return file.getvalue()


CLIMBING = ["../x.png", "a/../../x.png", "/x.png", "/home/me/x.png", "..//x.png"]


@pytest.mark.parametrize(
    "name", [*CLIMBING, "..\\x.png", "C:\\x.png", "c:/x.png", "\\\\host\\x.png"]
)
def test_paths_that_climb_out_of_a_zip(name: str, png: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(name, png)
        packed.writestr("a/1.png", png)
    found = walk_zip(tmp_path / "a.zip")
    assert [entry.name for entry in found.entries] == ["a/1.png"]
    assert [(r.file, r.reason) for r in found.rejected] == [(name.replace("\\", "/"), CLIMBS)]


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_paths_that_climb_out_of_a_tar(name: str, ending: str, png: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / f"a.{ending}", "w:gz" if ending == "tar.gz" else "w") as packed:
        add(packed, name, png)
        add(packed, "./a/1.png", png)
    found = walk_tar(tmp_path / f"a.{ending}")
    assert [entry.name for entry in found.entries] == ["a/1.png"]
    assert [(r.file, r.reason) for r in found.rejected] == [(name, CLIMBS)]


def test_members_of_a_tar_that_are_no_plain_files(png: bytes, tmp_path: Path) -> None:
    kinds = {
        "link.png": (tarfile.SYMTYPE, "a link; pack the file"),
        "hard.png": (tarfile.LNKTYPE, "a link to another file"),
        "null.png": (tarfile.CHRTYPE, "a device"),
        "disk.png": (tarfile.BLKTYPE, "a device"),
        "pipe.png": (tarfile.FIFOTYPE, "a pipe"),
    }
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        add(packed, "a/1.png", png)
        for name, (kind, _) in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../../../etc/passwd"
            packed.addfile(member)
        member = tarfile.TarInfo("folder.png")
        member.type = tarfile.DIRTYPE
        packed.addfile(member)
    found = walk_tar(tmp_path / "a.tar")
    assert [entry.name for entry in found.entries] == ["a/1.png"]
    assert [r.file for r in found.rejected] == list(kinds)
    for rejection in found.rejected:
        assert rejection.reason.startswith(kinds[rejection.file][1])


def test_a_file_with_holes_in_a_tar(png: bytes, tmp_path: Path) -> None:
    """As GNU tar stores it with --sparse, by a header of PAX."""
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as packed:
        member = tarfile.TarInfo("a.png")
        data = b"1\n0\n4\n".ljust(512, b"\0") + b"data"
        told = {"major": "1", "minor": "0", "name": "a.png", "realsize": "4"}
        member.pax_headers = {f"GNU.sparse.{key}": value for key, value in told.items()}
        member.size = len(data)
        packed.addfile(member, io.BytesIO(data))
        add(packed, "b.png", png)
    found = walk_tar(tmp_path / "a.tar")
    assert [entry.name for entry in found.entries] == ["b.png"]
    assert found.rejected[0].reason.startswith("stored with holes")


def test_a_long_name_in_a_tar(png: bytes, tmp_path: Path) -> None:
    name = "/".join(["folder" * 10] * 5) + "/1.png"
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=kind) as packed:
            add(packed, name, png)
        assert [entry.name for entry in walk_tar(tmp_path / "a.tar").entries] == [name]


def test_the_last_of_one_name_counts(tmp_path: Path, png: bytes) -> None:
    """As it would be on a disk, where the archive is unpacked."""
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        add(packed, "1.png", b"an old one")
        add(packed, "1.png", png)
    (entry,) = walk_tar(tmp_path / "a.tar").entries
    assert entry.size == len(png)


@pytest.mark.parametrize("form", [zipped, tarred])
def test_an_archive_inside_is_told_by_name(
    form: object, make_folder: MakeFolder, tmp_path: Path
) -> None:
    """In an archive, and in a folder."""
    folder = make_folder(a=12)
    zipped(folder, folder / "more.zip")
    tarred(folder / "a", folder / "more.tar.gz", "w:gz")
    source = {zipped: "outer.zip", tarred: "outer.tar"}[form]  # type: ignore[index]
    form(folder, tmp_path / source)  # type: ignore[operator]
    for place in (tmp_path / source, folder):
        cache = prepare(place, out=tmp_path / f"out-{place.name}")
        assert cache.count == 12
        assert {(r.file, r.reason) for r in cache.meta.rejected} == {
            (name, "an archive inside; unpack it, or give it by itself")
            for name in ("more.zip", "more.tar.gz")
        }


def test_only_an_archive_inside(make_folder: MakeFolder, tmp_path: Path) -> None:
    zipped(make_folder(a=3), tmp_path / "inner.zip")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as packed:
        packed.write(tmp_path / "inner.zip", "inner.zip")
    with pytest.raises(UserError, match=r"no pictures in .*inner\.zip: an archive inside; unpack"):
        prepare(tmp_path / "outer.zip")


def test_a_password(make_folder: MakeFolder, tmp_path: Path) -> None:
    archive = zipped(make_folder(a=3), tmp_path / "a.zip")
    data = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        at = data.find(signature)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(signature, at + 4)
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"no pictures in .*: it needs a password; unpack the arch"):
        prepare(archive)


def test_a_zip_of_more_than_four_gigabytes_announces_so(tmp_path: Path, png: bytes) -> None:
    """zip64: sizes and places in a field of their own."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for i in range(12):
            with packed.open(f"{i}.png", "w", force_zip64=True) as member:
                member.write(png)
    cache = prepare(tmp_path / "a.zip", out=tmp_path / "out")
    assert (cache.read(np.arange(12)) == np.asarray(noise(0)).transpose(2, 0, 1)).all()


def test_a_zip_behind_a_program(make_folder: MakeFolder, tmp_path: Path) -> None:
    """One that unpacks itself."""
    archive = zipped(make_folder(a=12), tmp_path / "a.zip")
    archive.write_bytes(b"#!/bin/sh\nexit\n" + archive.read_bytes())
    assert prepare(archive, out=tmp_path / "out").count == 12


def packed_bytes(archive: io.BytesIO, first: zipfile.ZipInfo) -> bytes:
    """Of the first member, behind its local header."""
    name, extra = struct.unpack_from("<HH", archive.getvalue(), 26)
    return archive.getvalue()[30 + name + extra :][: first.compress_size]


@given(data=st.binary(max_size=4000), method=st.sampled_from(sorted(UNPACK)))
def test_every_method_unpacks_what_was_packed(data: bytes, method: int) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        packed.writestr("a", data)
        member = packed.getinfo("a")
    assert UNPACK[method](packed_bytes(file, member), len(data)) == data


@pytest.mark.parametrize("method", sorted(set(UNPACK) - {zipfile.ZIP_STORED}))
@pytest.mark.parametrize("announced", [0, 10])
def test_more_than_is_announced_is_not_unpacked(method: int, announced: int) -> None:
    """A zip bomb that lies about its size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        packed.writestr("a", bytes(2 * 10**6))
        member = packed.getinfo("a")
    assert len(UNPACK[method](packed_bytes(file, member), announced)) <= max(announced, 1)


def test_a_zip_bomb_of_shared_bytes(png: bytes, tmp_path: Path) -> None:
    """Many members that are the same bytes of the file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("0000.png", png)
        packed.start_dir = file.tell()
        first = packed.getinfo("0000.png")
        for i in range(1, 200):
            member = zipfile.ZipInfo(f"{i:04}.png")
            for name in ("CRC", "compress_size", "file_size", "header_offset", "compress_type"):
                setattr(member, name, getattr(first, name))
            packed.filelist.append(member)
            packed.NameToInfo[member.filename] = member
        packed._didModify = True  # type: ignore[attr-defined]
    (tmp_path / "a.zip").write_bytes(file.getvalue())
    with pytest.raises(UserError, match="take more room than it has, as in a zip bomb"):
        walk_zip(tmp_path / "a.zip")


def test_a_zip_bomb_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "BOMB_BYTES", 10**7)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as packed:
        for i in range(6):
            packed.writestr(f"{i}.png", bytes(3 * 10**6))
    with pytest.raises(UserError, match=r"unpacks to more than 1,000 times its size \(0\.0 GB\)"):
        walk_zip(tmp_path / "a.zip")


def test_a_tar_bomb(tmp_path: Path) -> None:
    """It is left alone as soon as a header says how large it becomes."""
    member = tarfile.TarInfo("a.png")
    member.size = 10**13
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(10**5)))
    with pytest.raises(UserError, match=r"unpacks to more than 1,000 times its size \(10,000\.0 G"):
        walk_tar(tmp_path / "a.tar.gz")


def test_a_long_header_in_a_tar_is_not_read(tmp_path: Path) -> None:
    """A name of gigabytes."""
    member = tarfile.TarInfo("a.png")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**32
    (tmp_path / "a.tar").write_bytes(member.tobuf() + bytes(2048))
    with pytest.raises(UserError, match="a header is longer than any is"):
        walk_tar(tmp_path / "a.tar")


@pytest.mark.parametrize("size", [-1, -512, -2048])
def test_a_tar_whose_header_leads_back(size: int, tmp_path: Path) -> None:
    """It would be walked through for ever (CVE-2025-8194)."""
    member = tarfile.TarInfo("a.png")
    member.pax_headers = {"size": str(size)}
    before = 2 * tarfile.TarInfo("before.png").tobuf()
    data = before + member.tobuf(tarfile.PAX_FORMAT) + bytes(10240)
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(UserError, match=r"leads back .*make or fetch it again"):
        walk_tar(tmp_path / "a.tar")


def test_a_tar_of_nothing_but_long_names(tmp_path: Path) -> None:
    """Each is the name of the next."""
    member = tarfile.TarInfo("a.png")
    member.type = tarfile.GNUTYPE_LONGNAME
    (tmp_path / "a.tar").write_bytes(2000 * member.tobuf() + bytes(1024))
    with pytest.raises(UserError, match=r"cannot be read .*recursion.*make or fetch it again"):
        walk_tar(tmp_path / "a.tar")


def test_an_xz_that_wants_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "XZ_MEMORY", 2**20)  # in place of the 512 MB that an honest one needs
    wants = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**24}]
    data = lzma.compress(tarfile.TarInfo("a.png").tobuf(), filters=wants)
    (tmp_path / "a.tar.xz").write_bytes(data)
    with pytest.raises(UserError, match=r"(?i)memory usage limit"):
        walk_tar(tmp_path / "a.tar.xz")


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("left", [0, 0.01, 0.3, 0.7, 0.97])
def test_a_cut_tar_is_refused(
    ending: str, left: float, make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Within a header, within a picture, and between two."""
    mode = "w" if ending == "tar" else f"w:{ending.rpartition('.')[2]}"
    archive = tarred(make_folder(a=8), tmp_path / f"a.{ending}", mode)
    if ending == "tar":  # without its end, which is of zeros
        end = max(entry_end(archive))
        archive.write_bytes(archive.read_bytes()[: int(end * min(1, left / 0.97))])
    else:
        archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * left)])
    with pytest.raises(
        UserError, match=r"cannot be read as a tar archive .*make or fetch it again"
    ):
        prepare(archive)


def entry_end(archive: Path) -> list[int]:
    ends = []
    for entry in walk_tar(archive).entries:
        offset, size = map(int, entry.key.split())
        ends.append(-(-(offset + size) // 512) * 512)
    return ends


def test_a_damaged_header_is_not_the_end(make_folder: MakeFolder, tmp_path: Path) -> None:
    archive = tarred(make_folder(a=8), tmp_path / "a.tar")
    data = bytearray(archive.read_bytes())
    data[data.index(b"a/img3.png") + 1] ^= 1
    archive.write_bytes(data)
    with pytest.raises(UserError, match="it is damaged, or no tar archive"):
        prepare(archive)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip", "a.xz", "a.parquet", "a.npy"])
def test_what_is_called_an_archive_and_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no archive" * 1000)
    with pytest.raises(UserError, match=rf"{name} (cannot be read|is no source of pictures)"):
        prepare(tmp_path / name)


def test_an_archive_without_an_ending(make_folder: MakeFolder, tmp_path: Path) -> None:
    """As a download is called."""
    tarred(make_folder(a=12), tmp_path / "a.tar.gz", "w:gz").rename(tmp_path / "download")
    assert prepare(tmp_path / "download", out=tmp_path / "out").count == 12


@pytest.mark.parametrize("name", ["a.7z", "a.rar", "a.tar.zst"])
def test_archives_of_other_kinds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"7z")
    with pytest.raises(UserError, match="is packed in a way that is not read here; unpack it"):
        prepare(tmp_path / name)


@settings(max_examples=30)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4), seed=st.integers(0, 99))
@pytest.mark.parametrize("packer", [bz2.compress, lzma.compress, gzip.compress])
def test_several_streams_in_one_file(
    packer: object, parts: list[bytes], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As parallel packers write: read in pieces of any length, it is what was packed."""
    path = tmp_path_factory.mktemp("streams") / "a"
    path.write_bytes(b"".join(packer(part) for part in parts))  # type: ignore[operator]
    draw, found = random.Random(seed), b""
    with unpacked(path) as file:
        while piece := file.read(draw.randint(1, 5000)):
            found += piece
    assert found == b"".join(parts)


MEMORY = """
import resource, sys
from pathlib import Path
from safelight.data.tars import stream_tar, walk_tar
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
entries = walk_tar(path).entries
count = sum(len(data) for data in stream_tar(str(path), [e.key for e in entries]))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is of kilobytes there")
def test_a_packed_archive_takes_little_memory(tmp_path: Path) -> None:
    """60 MB of it are read in less than 20."""
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1) as packed:
        for i in range(30):
            add(packed, f"{i}.png", bytes(2 * 10**6))
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "a.tar.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, megabytes = map(int, done.stdout.split())
    assert count == 6 * 10**7
    assert megabytes < 20


def test_nothing_is_written(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Beside the cache."""
    place = tmp_path / "here"
    place.mkdir()
    archive = tarred(make_folder(a=12), place / "a.tar.gz", "w:gz")
    prepare(archive, out=place / "out")
    assert {file.name for file in place.iterdir()} - {"out", "a.tar.gz"} <= {".safelight.lock"}
