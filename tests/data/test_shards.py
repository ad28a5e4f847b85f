"""WebDataset's shards."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise
from tests.data.forms import add, tarred

Files = Sequence[tuple[str, bytes]]


def png(i: int) -> bytes:
    file = io.BytesIO()
    noise(i).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, files: Files) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as packed:
        for name, data in files:
            add(packed, name, data)
    return path


def with_beside(ending: str, texts: Sequence[str], first: int = 0) -> list[tuple[str, bytes]]:
    """Pictures with a text beside each; an empty one stands for none."""
    files = []
    for i, text in enumerate(texts, first):
        files += [(f"{i:04}.png", png(i))]
        files += [(f"{i:04}.{ending}", text.encode())] if text else []
    return files


def classes_of(cache: Cache) -> dict[int, str]:
    which = {np.asarray(noise(i)).tobytes(): i for i in range(200)}
    labels = cache.class_labels()
    assert labels is not None
    pixels = cache.read(np.arange(cache.count)).transpose(0, 2, 3, 1)
    pairs = zip(pixels, labels, strict=True)
    return {which[x.tobytes()]: cache.classes[label] for x, label in pairs}


NUMBERS = [str(i % 3 * 5) for i in range(18)]


@pytest.mark.parametrize(
    ("ending", "texts"),
    [
        ("cls", NUMBERS),
        ("txt", [f"{number}\n" for number in NUMBERS]),
        ("json", [json.dumps({"width": 16, "label": int(number)}) for number in NUMBERS]),
        ("json", [json.dumps({"class_name": number}) for number in NUMBERS]),
    ],
)
def test_classes_beside_the_pictures(ending: str, texts: list[str], tmp_path: Path) -> None:
    cache = prepare(shard(tmp_path / "a.tar", with_beside(ending, texts)), out=tmp_path / "out")
    assert cache.classes == ("0", "5", "10")
    assert classes_of(cache) == dict(enumerate(NUMBERS))


def test_captions_are_no_classes(tmp_path: Path) -> None:
    """Nearly every one differs; but they are, if they are asked for."""
    texts = [f"a picture, number {i // 2 * 2}" for i in range(6)] + [f"no. {i}" for i in range(9)]
    path = shard(tmp_path / "a.tar", with_beside("txt", texts))
    assert prepare(path, out=tmp_path / "out").classes == ()
    asked = prepare(path, label_by="txt", split="100/0/0", out=tmp_path / "asked")
    assert classes_of(asked) == dict(enumerate(texts))


def test_fields_of_ones_choice(tmp_path: Path) -> None:
    texts = [json.dumps({"hue": i % 2, "label": i % 3, "size": "big"}) for i in range(18)]
    path = shard(tmp_path / "a.tar", with_beside("json", texts))
    cache = prepare(path, label_by=["hue", "size"], out=tmp_path / "out")
    assert classes_of(cache) == {i: f"hue {i % 2} and size big" for i in range(18)}
    with pytest.raises(
        UserError, match="has no 'shape' beside its pictures; it has hue, label, siz"
    ):
        prepare(path, label_by="shape")


def test_pictures_without_a_class(tmp_path: Path) -> None:
    """Left out where most have one; where few have, what stands beside them means nothing."""
    path = shard(tmp_path / "a.tar", with_beside("cls", [*NUMBERS, "", ""]))
    cache = prepare(path, out=tmp_path / "out")
    assert [(r.file, r.reason) for r in cache.meta.rejected] == [
        ("0018.png", "no class stands beside it"),
        ("0019.png", "no class stands beside it"),
    ]
    few = shard(tmp_path / "b.tar", with_beside("cls", ["1", *[""] * 11]))
    assert prepare(few, out=tmp_path / "few").classes == ()
    path = shard(tmp_path / "c.tar", [("README.txt", b"read me"), *with_beside("", [""] * 12)])
    assert prepare(path, out=tmp_path / "readme").classes == ()


def test_splits_by_the_names_of_shards(tmp_path: Path) -> None:
    """In a folder of them, or named one by one."""
    paths = []
    for k, name in enumerate(["train-0000", "train-0001", "val-0000", "test-0000"]):
        files = with_beside("cls", NUMBERS, 18 * k)
        paths.append(shard(tmp_path / "set" / f"{name}.tar", files))
    cache = prepare(tmp_path / "set", out=tmp_path / "out")
    assert [cache.subset(split).count for split in ("train", "validation", "test")] == [36, 18, 18]
    assert classes_of(cache.subset("test")) == {54 + i: x for i, x in enumerate(NUMBERS)}
    named = prepare([str(path) for path in paths], out=tmp_path / "named")
    assert named.fingerprint == cache.fingerprint
    train = prepare(str(tmp_path / "set" / "train-{0000..0001}.tar"), out=tmp_path / "train")
    assert (train.read(np.arange(36)) == cache.subset("train").read(np.arange(36))).all()
    with pytest.raises(UserError, match=r"there is no .*train-0002\.tar; name shards that are"):
        prepare(str(tmp_path / "set" / "train-{0000..9999999}.tar"))


def test_shards_are_found_again_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(2):
        shard(tmp_path / f"{k}.tar", with_beside("cls", NUMBERS, 18 * k))
    monkeypatch.chdir(tmp_path)
    cache = prepare("{0..1}.tar", out=tmp_path / "out")
    assert cache.meta.source == str(tmp_path / "{0..1}.tar")
    monkeypatch.chdir("/")
    again = prepare(cache.meta.source, out=tmp_path / "again")
    assert again.fingerprint == cache.fingerprint


def test_the_same_name_in_two_shards(tmp_path: Path) -> None:
    """They are two pictures, of classes of their own."""
    for k in range(2):
        shard(tmp_path / "set" / f"{k}.tar", [("a.png", png(k)), ("a.cls", b"%d" % k)])
    cache = prepare(tmp_path / "set", split="100/0/0", out=tmp_path / "out")
    assert classes_of(cache) == {0: "0", 1: "1"}


def test_shards_of_class_folders(tmp_path: Path) -> None:
    for k, name in enumerate(["cat", "dog"]):
        files = [(f"{name}/{i}.png", png(10 * k + i)) for i in range(10)]
        shard(tmp_path / "set" / f"part{k}.tar", files)
    cache = prepare(tmp_path / "set", out=tmp_path / "out")
    assert classes_of(cache) == {i: ("cat", "dog")[i // 10] for i in range(20)}
    sources = prepare(
        [tmp_path / "set" / "part0.tar", "digits"], labels="sources", size=16, out=tmp_path / "two"
    )
    assert sources.classes == ("digits", "part0")


def test_a_folder_of_pictures_beside_an_archive_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "x").mkdir(parents=True)
    for i in range(12):
        noise(i).save(tmp_path / "a" / "x" / f"{i}.png")
    tarred(tmp_path / "a" / "x", tmp_path / "a" / "x.tar")
    cache = prepare(tmp_path / "a", out=tmp_path / "out")
    assert cache.count == 12
    assert cache.meta.rejected[0].file == "x.tar"


def test_numbered_archives_as_sources_of_their_own(tmp_path: Path) -> None:
    """Where each is to be a class, they are no shards of one set."""
    paths = [shard(tmp_path / f"{k}.tar", with_beside("", [""] * 6, 6 * k)) for k in range(2)]
    cache = prepare(paths, labels="sources", out=tmp_path / "out")
    assert classes_of(cache) == {i: str(i // 6) for i in range(12)}


def test_a_source_beside_a_folder_of_shards_is_kept(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Two sources and two shards are as many, and not the same."""
    for k in range(2):
        files = [(f"cat/{i}.png", png(10 * k + i)) for i in range(10)]
        shard(tmp_path / "shards" / f"part-{k}.tar", files)
    photos = make_folder("photos", cat=12)
    cache = prepare([tmp_path / "shards", photos], out=tmp_path / "out")
    assert cache.count == 32
    assert cache.meta.source == f"{tmp_path / 'shards'} + {photos}"


def test_links_beside_an_archive_are_followed(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Class folders that lie elsewhere are the pictures, and an old archive beside them is not."""
    real = make_folder("real", cat=6, dog=6)
    (tmp_path / "set").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).symlink_to(real / name)
    tarred(real / "cat", tmp_path / "set" / "old.tar")
    cache = prepare(tmp_path / "set", out=tmp_path / "out")
    assert cache.classes == ("cat", "dog")
    assert cache.count == 12


def test_what_a_mac_leaves_behind_does_not_hide_archives(tmp_path: Path) -> None:
    for k in range(2):
        files = [(f"cat/{i}.png", png(10 * k + i)) for i in range(10)]
        shard(tmp_path / "set" / f"part-{k}.tar", files)
    (tmp_path / "set" / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "set" / "__MACOSX").mkdir()
    (tmp_path / "set" / "__MACOSX" / "b.jpg").write_bytes(b"\0\5\x16\7")
    assert prepare(tmp_path / "set", out=tmp_path / "out").count == 20
