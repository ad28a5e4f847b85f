"""The named sets, from what is on the disk."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from safelight.data.cache import open_data
from safelight.data.prepare import prepare
from safelight.errors import DamagedFile, UserError


def test_digits_use_the_whole_range(tmp_path: Path) -> None:
    """16, the blackest level of the scanner, becomes 255."""
    cache = prepare("digits", out=tmp_path / "out")
    truth = load_digits()
    pixels = cache.read(np.arange(1797))
    assert (pixels[:, 0] == np.rint(truth.images / 16 * 255)).all()
    assert pixels.max() == 255
    labels = cache.class_labels()
    assert labels is not None
    assert (labels == truth.target).all()
    assert cache.classes == tuple("0123456789")


def test_the_next_command_is_about_the_folder_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One called `mnist` is beside the set of that name."""
    monkeypatch.chdir(tmp_path)
    prepare("digits", out="mnist")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "next:  safelight report ./mnist   or   safelight train ./mnist"
    word = last.split()[-1]
    assert open_data(word).path.resolve() == tmp_path / "mnist"


def test_digits_in_another_size_and_with_three_channels(tmp_path: Path) -> None:
    cache = prepare("digits", size=16, channels="rgb", classes=["3"], out=tmp_path / "out")
    assert cache.shape == (3, 16, 16)
    assert cache.meta.enlarged == cache.count == 183


def idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.tobytes())


def write_mnist(raw: Path, train: int = 400, test: int = 100) -> np.ndarray:
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (train + test, 28, 28), np.uint8)
    labels = (np.arange(train + test) % 10).astype(np.uint8)
    for name, part in (("train", slice(train)), ("t10k", slice(train, None))):
        idx(raw / f"{name}-images-idx3-ubyte", images[part])
        idx(raw / f"{name}-labels-idx1-ubyte", labels[part])
    return images


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("inside", ["", "{name}/"])
def test_local_copies_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, inside: str
) -> None:
    """C1: torchvision's layout below SAFELIGHT_DATA, or below a folder named like the set."""
    layout = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name]
    images = write_mnist(tmp_path / "data" / inside.format(name=name) / layout / "raw")
    monkeypatch.setenv("SAFELIGHT_DATA", str(tmp_path / "data"))
    cache = open_data(name)
    assert (cache.read(np.arange(500))[:, 0] == images).all()
    assert [cache.subset(split).count for split in ("train", "validation", "test")] == [
        380,
        20,
        100,
    ]
    assert open_data(f"{name}:test").count == 100


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("spoil", [b"", b"\0\0", b"<html>not found</html>", None])
def test_a_damaged_copy_is_named_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spoil: bytes | None
) -> None:
    """C1: empty, cut in the header, another file, and cut in the values."""
    fetched: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: fetched.append(a))
    raw = tmp_path / "data" / "MNIST" / "raw"
    write_mnist(raw, 20, 10)
    whole = (raw / name).read_bytes()
    (raw / name).write_bytes(whole[:-1] if spoil is None else spoil)
    with pytest.raises(DamagedFile, match=rf"{name} is cut short or is no such file; put a whole"):
        prepare(tmp_path / "data")
    (raw / name).unlink()
    with pytest.raises(DamagedFile, match="does not hold all of MNIST as published; put the unp"):
        prepare(tmp_path / "data")
    assert not fetched


def test_a_folder_in_torchvisions_layout_is_recognised(tmp_path: Path) -> None:
    """C1: `safelight prepare FOLDER` where torchvision has put MNIST."""
    images = write_mnist(tmp_path / "data" / "MNIST" / "raw")
    cache = prepare(tmp_path / "data", out=tmp_path / "out")
    assert (cache.read(np.arange(500))[:, 0] == images).all()
    assert cache.name == "mnist"


def test_another_set_in_the_same_files_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    """In one's own copy; what was fetched stays what it is, also when it is removed again."""
    monkeypatch.setenv("SAFELIGHT_DATA", str(tmp_path / "data"))
    raw = tmp_path / "data" / "MNIST" / "raw"
    write_mnist(raw)
    before = prepare("mnist", out=tmp_path / "out")
    idx(raw / "t10k-images-idx3-ubyte", np.full((100, 28, 28), 255, np.uint8))
    assert prepare("mnist", out=tmp_path / "out").fingerprint != before.fingerprint
    (own_cache / "datasets" / "MNIST").mkdir(parents=True)
    raw.rename(own_cache / "datasets" / "MNIST" / "raw")
    raw.parent.rmdir()
    prepare("mnist", out=tmp_path / "fetched")
    shutil.rmtree(own_cache / "datasets")
    assert prepare("mnist", out=tmp_path / "fetched").count == 500


def test_real_mnist(shared: Path, tmp_path: Path) -> None:
    """C1: shape, counts and splits of the original."""
    cache = prepare(shared / "mnist", out=tmp_path / "out")
    assert cache.shape == (1, 28, 28)
    assert (cache.subset("test").count, cache.count) == (10_000, 70_000)
    assert abs(cache.subset("validation").count - 3_000) < 10  # 5 % of train, class by class


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mnist", "train-images-idx3-ubyte.*MNIST/raw"),
        ("fashion-mnist", "t10k-labels-idx1-ubyte.*FashionMNIST/raw"),
        ("cifar10", "data_batch_1.*cifar-10-batches-py"),
    ],
)
def test_a_set_that_cannot_be_fetched_says_what_to_put_where(
    name: str, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(UserError, match=rf"could not be fetched .*put .*{files}.*SAFELIGHT_DATA"):
        prepare(name)


@pytest.mark.parametrize(("name", "divided"), [("digits", False), ("mnist", True)])
def test_a_set_is_judged_in_the_splits_that_it_has(
    name: str, divided: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None are made up for one that has none."""
    write_mnist(tmp_path / "data" / "MNIST" / "raw")
    monkeypatch.setenv("SAFELIGHT_DATA", str(tmp_path / "data"))
    cache = open_data(name, judged=True)
    assert (cache.subset("train").count < cache.count) == divided


def test_a_name_beats_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert open_data("digits").count == 1797
    assert "./digits" in capsys.readouterr().err
    with pytest.raises(UserError, match="no pictures in"):
        open_data("./digits")


def test_cifar10_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C1: the layout, with torchvision's check of its sums replaced."""
    import pickle

    base = tmp_path / "data" / "cifar-10-batches-py"
    base.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 32, 32), np.uint8)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for k, name in enumerate(names):
        part = images[10 * k : 10 * k + 10].reshape(10, -1)
        (base / name).write_bytes(pickle.dumps({"data": part, "labels": list(range(10))}))
    classes = [f"class {i}" for i in range(10)]
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": classes}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    cache = prepare(tmp_path / "data", out=tmp_path / "out")
    assert cache.classes == tuple(classes)
    assert (cache.read(np.arange(60)) == images).all()
    assert cache.subset("test").count == 10
