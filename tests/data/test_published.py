"""torchvision's sets by name: small copies in its own layout, read by its own classes.

Where torchvision compares sums with those of the published files, the comparison is replaced.
"""

from __future__ import annotations

import bz2
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat

from safelight.data.cache import Cache, open_data
from safelight.data.prepare import prepare
from safelight.errors import DamagedFile, UserError
from tests.data.conftest import noise, pixels_of, splits_of

RNG = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SAFELIGHT_DATA; every file there is held for the published one."""
    for module in ("celeba", "cifar", "fer2013", "flowers102", "stl10", "svhn"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", is_there)
    monkeypatch.setenv("SAFELIGHT_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def is_there(path: str, md5: object = None) -> bool:
    return Path(path).is_file()


def labels_of(cache: Cache) -> list[int]:
    labels = cache.class_labels()
    assert labels is not None
    return labels.tolist()


def write_cifar100(root: Path) -> NDArray[np.uint8]:
    base = root / "cifar-100-python"
    base.mkdir(parents=True)
    images = RNG.integers(0, 256, (200, 3, 32, 32), np.uint8)
    fine = np.arange(200) % 100
    for name, part in (("train", slice(150)), ("test", slice(150, None))):
        held = {
            "data": images[part].reshape(-1, 3072),
            "fine_labels": fine[part].tolist(),
            "coarse_labels": (fine[part] // 5).tolist(),
        }
        (base / name).write_bytes(pickle.dumps(held))
    names = {
        "fine_label_names": [f"fine {99 - i}" for i in range(100)],
        "coarse_label_names": [f"coarse {19 - i}" for i in range(20)],
    }
    (base / "meta").write_bytes(pickle.dumps(names))
    return images


def test_cifar100(root: Path, tmp_path: Path) -> None:
    """C1: fine classes, coarse ones by --label-by; the order of both is the authors'."""
    images = write_cifar100(root)
    fine = prepare("cifar100", out=tmp_path / "fine")
    assert (pixels_of(fine) == images).all()
    assert fine.classes == tuple(f"fine {99 - i}" for i in range(100))
    assert labels_of(fine) == [i % 100 for i in range(200)]
    assert splits_of(fine)[2] == 50
    coarse = prepare("CIFAR-100", label_by="coarse", out=tmp_path / "coarse")
    assert coarse.classes == tuple(f"coarse {19 - i}" for i in range(20))
    assert labels_of(coarse) == [i % 100 // 5 for i in range(200)]
    with pytest.raises(UserError, match="unknown labels 'hue'; choose one of: fine, coarse"):
        prepare("cifar100", label_by="hue")
    assert prepare(root / "cifar-100-python", out=tmp_path / "itself").fingerprint == (
        fine.fingerprint
    )


def write_celeba(root: Path, n: int = 12) -> None:
    base = root / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    names = [f"{i + 1:06}.jpg" for i in range(n)]
    for i, name in enumerate(names):
        noise(i, (18, 22)).save(base / "img_align_celeba" / name, quality=95)
    (base / "list_eval_partition.txt").write_text(
        "".join(f"{name} {min(2, i // 5)}\n" for i, name in enumerate(names))
    )
    (base / "identity_CelebA.txt").write_text("".join(f"{name} 7\n" for name in names))
    for file, head, row in (
        ("list_attr_celeba.txt", "Bald Smiling Male ", lambda i: (-1, i % 2 * 2 - 1, i % 3 - 1)),
        ("list_bbox_celeba.txt", "image_id x_1 y_1 width height", lambda i: (1, 2, 3, 4)),
        ("list_landmarks_align_celeba.txt", "lefteye_x lefteye_y", lambda i: (1, 2)),
    ):
        lines = [f"{name}  {' '.join(map(str, row(i)))}\n" for i, name in enumerate(names)]
        (base / file).write_text(f"{n}\n{head}\n{''.join(lines)}".replace(" 0\n", " 1\n"))


def test_celeba(root: Path, tmp_path: Path) -> None:
    """F1: attributes as classes; with none it has no classes."""
    write_celeba(root)
    plain = prepare("celeba", size=16, out=tmp_path / "plain")
    assert plain.classes == ()
    assert splits_of(plain) == [5, 5, 2]
    smiling = prepare("celeba", size=16, label_by="Smiling", out=tmp_path / "smiling")
    assert smiling.classes == ("not Smiling", "Smiling")
    assert labels_of(smiling) == [i % 2 for i in range(12)]
    assert (pixels_of(smiling) == pixels_of(plain)).all()
    both = prepare("CelebA", size=16, label_by="Smiling,Male", out=tmp_path / "both")
    names = [
        f"{'' if i % 2 else 'not '}Smiling and {'' if i % 3 else 'not '}Male" for i in range(12)
    ]
    assert [both.classes[label] for label in labels_of(both)] == names
    few = prepare("celeba", size=16, label_by="Smiling", classes="Smiling", out=tmp_path / "few")
    assert few.count == 6
    with pytest.raises(UserError, match="unknown attribute 'Smilin'; did you mean 'Smiling'. choo"):
        prepare("celeba", size=16, label_by="Smilin")
    (root / "celeba" / "img_align_celeba" / "000003.jpg").unlink()
    lost = prepare("celeba", size=16, out=tmp_path / "lost")
    assert [(r.file, r.reason) for r in lost.meta.rejected] == [
        ("000003.jpg", "not there any more, or a broken link")
    ]
    (root / "celeba" / "list_attr_celeba.txt").unlink()
    with pytest.raises(
        DamagedFile, match="celeba does not hold all of CelebA as published; put th"
    ):
        prepare("celeba", size=16, out=tmp_path / "more")


def test_flowers102(root: Path, tmp_path: Path) -> None:
    """F1: its own splits, and redistributed."""
    base = root / "flowers-102"
    (base / "jpg").mkdir(parents=True)
    for i in range(1, 41):
        noise(i, (20, 24)).save(base / "jpg" / f"image_{i:05}.jpg")
    savemat(base / "imagelabels.mat", {"labels": np.arange(40) % 4 + 1})
    ids = {"trnid": np.arange(1, 9), "valid": np.arange(9, 17), "tstid": np.arange(17, 41)}
    savemat(base / "setid.mat", ids)
    cache = prepare("flowers-102", size=16, out=tmp_path / "out")
    assert splits_of(cache) == [8, 8, 24]
    assert labels_of(cache) == [i % 4 for i in range(40)]
    assert cache.classes[:2] == ("pink primrose", "hard-leaved pocket orchid")
    folder = prepare(base / "jpg", size=16, out=tmp_path / "folder", split="100/0/0")
    assert (pixels_of(cache) == pixels_of(folder)).all()
    again = prepare("Flowers102", size=16, split="80/10/10", out=tmp_path / "again")
    assert splits_of(again) == [32, 4, 4]


def test_stl10(root: Path, tmp_path: Path) -> None:
    """Its pictures are stored column by column; those of no class come with --labels none."""
    base = root / "stl10_binary"
    base.mkdir()
    images = RNG.integers(0, 256, (14, 3, 96, 96), np.uint8)
    parts = {"train": slice(5), "test": slice(5, 9), "unlabeled": slice(9, None)}
    for name, part in parts.items():
        images[part].swapaxes(2, 3).tofile(base / f"{name}_X.bin")
    (np.arange(5, dtype=np.uint8) % 3 + 1).tofile(base / "train_y.bin")
    (np.arange(4, dtype=np.uint8) % 3 + 1).tofile(base / "test_y.bin")
    (base / "class_names.txt").write_text("plane\nbird\ncar\n")
    (base / "fold_indices.txt").write_text("0 1\n")
    cache = prepare("stl-10", out=tmp_path / "out")
    assert cache.classes == ("plane", "bird", "car")
    assert labels_of(cache) == [0, 1, 2, 0, 1, 0, 1, 2, 0]
    assert (pixels_of(cache) == images[:9]).all()
    assert splits_of(cache)[2] == 4
    whole = prepare("stl10", labels="none", out=tmp_path / "whole")
    assert (pixels_of(whole) == images).all()
    assert splits_of(whole)[2] == 4


def test_svhn(root: Path, tmp_path: Path) -> None:
    """Files beside each other in the root, and classes that have no names."""
    images = RNG.integers(0, 256, (25, 3, 32, 32), np.uint8)
    for name, part in (("train", slice(20)), ("test", slice(20, None))):
        held = {"X": images[part].transpose(2, 3, 1, 0), "y": np.arange(25)[part, None] % 10 + 1}
        savemat(root / f"{name}_32x32.mat", held)
    for source in ("svhn", root):
        cache = prepare(source, out=tmp_path / f"out-{Path(source).name}")
        assert (pixels_of(cache) == images).all()
        assert cache.classes == tuple("0123456789")
        assert labels_of(cache) == [(i % 10 + 1) % 10 for i in range(25)]
        assert splits_of(cache)[2] == 5


def write_food(root: Path) -> None:
    for kind in ("pie", "apple"):
        (root / "food-101" / "images" / kind).mkdir(parents=True)
        for i in range(6):
            noise(i).save(root / "food-101" / "images" / kind / f"{i}.jpg")
    (root / "food-101" / "meta").mkdir()
    for split, numbers in (("train", range(4)), ("test", range(4, 6))):
        listed = {kind: [f"{kind}/{i}" for i in numbers] for kind in ("pie", "apple")}
        (root / "food-101" / "meta" / f"{split}.json").write_text(str(listed).replace("'", '"'))


def write_eurosat(root: Path) -> None:
    for kind in ("Forest", "River"):
        (root / "eurosat" / "2750" / kind).mkdir(parents=True)
        for i in range(10):
            noise(i).save(root / "eurosat" / "2750" / kind / f"{i}.jpg")


def write_usps(root: Path) -> None:
    for name, n in (("usps.bz2", 20), ("usps.t.bz2", 4)):
        rows = [f"{i % 10 + 1} " + " ".join(f"{k}:0.5" for k in range(1, 257)) for i in range(n)]
        (root / name).write_bytes(bz2.compress(("\n".join(rows) + "\n").encode()))


def write_fer(root: Path) -> None:
    (root / "fer2013").mkdir()
    for name, n in (("train", 10), ("test", 4)):
        rows = [f'{i % 7},"{" ".join([str(i)] * 2304)}"' for i in range(n)]
        head = "emotion,pixels"
        (root / "fer2013" / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n")


@pytest.mark.parametrize(
    ("name", "write", "shape", "splits", "classes"),
    [
        ("Food-101", write_food, (3, 16, 16), [8, 0, 4], ("apple", "pie")),
        ("eurosat", write_eurosat, (3, 16, 16), [16, 2, 2], ("Forest", "River")),
        ("USPS", write_usps, (1, 16, 16), [20, 0, 4], tuple("0123456789")),
        ("fer 2013", write_fer, (1, 48, 48), [10, 0, 4], ()),
    ],
)
def test_sets_of_every_build(
    name: str,
    write: Callable[[Path], None],
    shape: tuple[int, ...],
    splits: list[int],
    classes: tuple[str, ...],
    root: Path,
    tmp_path: Path,
) -> None:
    """Of files, of folders, of an array, and of items that only torchvision's class can make.

    fer2013 is in no table of ours: it is found among torchvision's by its name. (Its test pictures
    have no labels that torchvision gives, so that the whole has none.)
    """
    write(root)
    cache = prepare(name, out=tmp_path / "out")
    assert cache.shape == shape
    assert [splits_of(cache)[0] + splits_of(cache)[1], splits_of(cache)[2]] == (
        [splits[0] + splits[1], splits[2]]
    )
    assert cache.classes == classes or name == "fer 2013"


def test_pictures_of_a_set_of_items(root: Path, tmp_path: Path) -> None:
    write_fer(root)
    cache = prepare("FER2013", out=tmp_path / "out")
    assert (pixels_of(cache)[:, 0, 0, 0] == [*range(10), *range(4)]).all()


def test_a_set_of_torchvision_without_pictures_of_one_class(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its class gives is looked at."""

    class Odd(torch.utils.data.Dataset[Any]):
        def __init__(self, root: Path) -> None:
            self.root = root

        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> tuple[str, int]:
            return "no picture", i

    monkeypatch.setattr("torchvision.datasets.KittiFlow", Odd)
    with pytest.raises(
        UserError, match="torchvision's Odd holds str and no pictures; give another"
    ):
        prepare("kitti-flow")


def test_a_split_of_a_named_set(root: Path) -> None:
    write_cifar100(root)
    assert open_data("CIFAR-100:test").count == 50


def test_a_folder_that_is_no_download_is_not_to_be_removed(root: Path, tmp_path: Path) -> None:
    write_celeba(root)
    (root / "celeba" / "identity_CelebA.txt").unlink()
    with pytest.raises(DamagedFile) as caught:
        prepare(root / "celeba", out=tmp_path / "out")
    assert "remove" not in str(caught.value)


@pytest.mark.parametrize("write", [write_food, write_eurosat])
def test_a_change_to_ones_own_copy_is_seen(
    write: Callable[[Path], None], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root)
    name = {write_food: "food101", write_eurosat: "eurosat"}[write]
    before = prepare(name, out=tmp_path / "out")
    prepare(name, out=tmp_path / "out")
    assert "up to date" in capsys.readouterr().err
    changed = next(root.rglob("*.jpg"))
    noise(99).save(changed)
    after = prepare(name, out=tmp_path / "out")
    assert (pixels_of(after) != pixels_of(before)).any()


def write_empty_usps(root: Path) -> None:
    (root / "usps.bz2").write_bytes(bz2.compress(b"\n\n"))
    (root / "usps.t.bz2").write_bytes(bz2.compress(b"\n"))


def write_odd_food(root: Path) -> None:
    write_food(root)
    (root / "food-101" / "meta" / "train.json").write_text('["apple"]')


@pytest.mark.parametrize(
    ("name", "write"), [("USPS", write_empty_usps), ("food101", write_odd_food)]
)
def test_damage_of_every_kind_is_told_in_a_line(
    name: str,
    write: Callable[[Path], None],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torchvision.datasets.utils.check_integrity", is_there)
    write(root)
    with pytest.raises(DamagedFile, match="does not hold all of .* as published; put"):
        prepare(name, out=tmp_path / "out")
