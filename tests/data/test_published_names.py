"""Names of torchvision's sets: how they may be written, and what only looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.data.named import NAMED, TORCHVISION, nearest, spelled
from safelight.data.prepare import prepare
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, noise

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_set_says_what_to_put_where(name: str, own_cache: Path) -> None:
    """C1, F1: no network, or none that torchvision fetches from."""
    row, _ = TORCHVISION[name]
    with pytest.raises(UserError) as caught:
        prepare(name)
    said = str(caught.value)
    home = own_cache / "datasets" / (row.layout or name)
    assert "\n" not in said
    assert said.startswith(f"{row.kind} could not be fetched (")
    assert f"; put {row.files} into {home}, or set SAFELIGHT_DATA to a folder that h" in said


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar1000", "did you mean 'cifar100' or 'cifar10'"),
        ("flower102", "did you mean 'flowers102'"),
        ("celebahq", "did you mean 'celeba'"),
        ("VisionDataset", "there is no folder, file or named set 'VisionDataset'; "),
        ("fake data", "there is no folder, file or named set 'fake data'; "),
        (
            "hf/nothing",
            "there is no folder or file 'hf/nothing'; give a folder of pictures, or a z",
        ),
        ("ImageFolder", "there is no folder, file or named set 'ImageFolder'"),
    ],
)
def test_a_name_that_torchvision_does_not_have(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        prepare(name)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "CIFAR-10", "cifar_10", "Cifar 10"])
def test_names_are_compared_without_case_and_dashes(name: str) -> None:
    assert spelled(name) == "cifar10"
    assert all(spelled(known) == known for known in NAMED)


def test_names_that_are_near() -> None:
    assert nearest("cifar1000") == ["cifar100", "cifar10"]
    assert nearest("my photographs") == []


def test_a_folder_is_meant_where_the_name_is_spelled_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that exists, unless it is called just as the set is in the guide."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Digits").mkdir()
    for i in range(12):
        noise(i).save(tmp_path / "Digits" / f"{i}.png")
    assert prepare("Digits", out=tmp_path / "out").count == 12


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_folder_of_ones_own_is_taken_for_no_published_set(
    name: str, make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Its name alone says nothing, be it the folder's or that of a class in it."""
    row, _ = TORCHVISION[name]
    layout = row.layout or row.kind
    folder = make_folder(f"mine/{layout}", cat=6, dog=6)
    assert not row.there(tmp_path / "mine")
    assert prepare(folder, out=tmp_path / "folder").classes == ("cat", "dog")
    top = tmp_path / "mine" / layout.partition("/")[0]
    assert prepare(top, out=tmp_path / "top").classes == ("cat", "dog")
    beside = make_folder("mine", other=6)
    assert prepare(beside, out=tmp_path / "all").count == 18
