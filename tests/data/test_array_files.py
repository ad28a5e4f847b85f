"""Files of arrays: .npy, .npz, .pt, .safetensors and .mat."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file as save_torch

from safelight.data.arrayfiles import arrays_in
from safelight.data.prepare import prepare
from safelight.errors import DamagedFile, UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 3, 9, 7), np.uint8)  # (n, c, h, w)
LABELS = np.arange(20) % 3
FILES = Path("/proc/self/fd")  # those that this process has open


def saved(path: Path, **arrays: NDArray[Any]) -> Path:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    forms: dict[str, Callable[[], object]] = {
        ".npz": lambda: np.savez(path, **arrays),
        ".packed.npz": lambda: np.savez_compressed(path, **arrays),
        ".safetensors": lambda: save_numpy(arrays, path),
        ".pt": lambda: torch.save(tensors, path),
        ".old.pt": lambda: torch.save(tensors, path, _use_new_zipfile_serialization=False),
        ".pair.pth": lambda: torch.save(tuple(tensors.values()), path),
    }
    forms[path.name.removeprefix("a")]()
    return path


@pytest.mark.parametrize(
    "ending", [".npz", ".packed.npz", ".safetensors", ".pt", ".old.pt", ".pair.pth"]
)
def test_files_of_arrays(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read some rows at a time, and only those that are asked for."""
    monkeypatch.setattr("safelight.data.parts.CHUNK", 6)
    monkeypatch.setattr("safelight.data.pixels.CHUNK_BYTES", 1000)
    values = (PIXELS / 255).astype(np.float32)
    source = saved(tmp_path / f"a{ending}", images=values, labels=LABELS)
    cache = prepare(source, split="100/0/0", out=tmp_path / "out")
    assert (cache.read(np.arange(20)) == PIXELS).all()
    some = prepare(source, split="100/0/0", classes=["1"], out=tmp_path / "some")
    assert (some.read(np.arange(7)) == PIXELS[LABELS == 1]).all()


def test_bfloat16_in_files(tmp_path: Path) -> None:
    values = (torch.from_numpy(PIXELS) / 127.5 - 1).bfloat16()
    expected = (values.double() * 127.5 + 127.5).round().clip(0, 255).numpy()
    save_torch({"images": values}, tmp_path / "a.safetensors")
    torch.save(values, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        cache = prepare(tmp_path / name, split="100/0/0", out=tmp_path / f"out {name}")
        assert (cache.read(np.arange(20)) == expected).all()


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("ending", ["npy", "npz", "pt", "pth"])
def test_no_code_of_a_file_is_run(ending: str, tmp_path: Path) -> None:
    harm, path = Harm(tmp_path / "harmed"), tmp_path / f"a.{ending}"
    if ending.startswith("pt"):
        torch.save({"images": torch.from_numpy(PIXELS), "harm": harm}, path)
    elif ending == "npy":
        np.save(path, np.array([harm], object), allow_pickle=True)
    else:
        np.savez(path, images=np.array([harm], object))
    with pytest.raises(UserError, match="could run code; save"):
        prepare(path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("ending", [".npy", ".npz", ".packed.npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 0.99])
def test_files_that_are_cut_short(ending: str, left: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, PIXELS)
    else:
        saved(path, images=PIXELS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    with pytest.raises(UserError, match="cannot be read|could run code"):
        prepare(path)


def test_a_pickle_that_is_called_pt(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Harm(tmp_path / "harmed")))
    with pytest.raises(UserError, match="could run code|cannot be read"):
        prepare(tmp_path / "a.pt")
    assert not (tmp_path / "harmed").exists()


MEMORY = """
import resource, sys
from safelight.data.prepare import prepare
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare(sys.argv[1], out=sys.argv[2], size=8, fraction="10%")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is of kilobytes there")
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_a_large_array_takes_little_memory(ending: str, tmp_path: Path) -> None:
    """60 MB are read in less than 40, with the imports on the way."""
    values = np.zeros((300, 256, 256, 3), np.uint8)
    values[:, ::2] = 200
    if ending == "npy":
        np.save(tmp_path / "a.npy", values)
    else:
        np.savez_compressed(tmp_path / "a.npz", images=values)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / f"a.{ending}"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 40


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_single_numbers_are_passed_over(ending: str, tmp_path: Path) -> None:
    values = {"images": torch.from_numpy(PIXELS), "epoch": torch.tensor(3)}
    save = torch.save if ending == "pt" else save_torch
    save(values, tmp_path / f"a.{ending}")
    assert prepare(tmp_path / f"a.{ending}", out=tmp_path / "out").count == len(PIXELS)


def test_more_than_two_arrays_without_names(tmp_path: Path) -> None:
    x, y = torch.from_numpy(PIXELS), torch.arange(len(PIXELS))
    torch.save((x, y, x, y), tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt holds 4 arrays without names; give them names"):
        prepare(tmp_path / "a.pt")


def test_a_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.tile(PIXELS, (40, 1, 1, 1)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=r"a\.npz cannot be read \(Bad CRC-32 .*; make or fetch"):
        prepare(path, out=tmp_path / "out")


def test_an_array_by_the_start_of_its_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    (tmp_path / "a.npy").rename(tmp_path / "a.dat")
    assert prepare(tmp_path / "a.dat", out=tmp_path / "out").count == len(PIXELS)


def test_names_in_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", arr_0=PIXELS, note=np.array("a text"))
    assert set(arrays_in(tmp_path / "a.npz", ".npz")) == {"arr_0", "note"}
    assert prepare(tmp_path / "a.npz", out=tmp_path / "out").count == 20


def test_an_array_without_its_last_rows(tmp_path: Path) -> None:
    """What tells of more than is there, in an archive that is whole."""
    np.save(tmp_path / "a.npy", PIXELS)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", (tmp_path / "a.npy").read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"a\.npz cannot be read \(it ends before its last row"):
        prepare(tmp_path / "a.npz", out=tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="open files are not told elsewhere")
def test_a_file_of_very_many_arrays(tmp_path: Path) -> None:
    """Such as one for each picture: no more of it is open than is read, and few are named."""
    np.savez(tmp_path / "a.npz", **{f"face{i}": PIXELS[0] for i in range(180)})
    before = len(list(FILES.iterdir()))
    found = arrays_in(tmp_path / "a.npz", ".npz")
    assert len(found) == 180
    assert len(list(FILES.iterdir())) < before + 20
    with pytest.raises(UserError, match=r"face11 \(3, 9, 7\) and 168 more; call the pictures im"):
        prepare(tmp_path / "a.npz")


def test_pictures_of_many_shapes_in_a_file(tmp_path: Path) -> None:
    torch.save({"images": [torch.zeros(3, 9, 7), torch.zeros(3, 9, 8)]}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt cannot be stacked .*; give pictures of one shape"):
        prepare(tmp_path / "a.pt")
