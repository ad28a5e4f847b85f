"""Files of arrays: .npy, .npz, .safetensors and .pt, of which only some rows are read at a time.

Nothing is read by a method that could run code from the file.
"""

from __future__ import annotations

import itertools
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from safelight.data.pixels import Held, Raw
from safelight.errors import DamagedFile, UserError

Positions = NDArray[np.int64]


class Mapped:
    """An array in a file. `get` maps it anew each time: pages once read stay in memory."""

    def __init__(self, get: Callable[[], NDArray[Any]]) -> None:
        self._get = get
        self.shape, self.dtype = get().shape, get().dtype

    def read(self, positions: Positions) -> NDArray[Any]:
        return np.array(self._get()[positions])


class Packed:
    """An array in a .npz, which is unpacked on from where it was read last."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, member: str) -> None:
        self._path, self._member = path, member
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read_header = HEADERS.get(version, np.lib.format.read_array_header_2_0)
            self.shape, by_column, self.dtype = read_header(file)
            self._start = file.tell()
        if self.dtype.hasobject:
            raise ValueError(f"{member} holds Python objects")
        if by_column and len(self.shape) > 1:
            raise ValueError(f"{member} is stored by columns; save np.ascontiguousarray(array)")

    @cached_property
    def _file(self) -> IO[bytes]:
        return zipfile.ZipFile(self._path).open(self._member)

    def read(self, positions: Positions) -> NDArray[Any]:
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        parts = [b""]
        try:
            for first, last in runs(positions):
                self._file.seek(self._start + first * size)
                part = self._file.read((last - first) * size)
                if len(part) < (last - first) * size:
                    raise EOFError("it ends before its last row")
                parts.append(part)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DamagedFile(
                f"{self._path} cannot be read ({error}); make or fetch it again"
            ) from error
        rows = np.frombuffer(b"".join(parts), self.dtype)
        return rows.reshape(len(positions), *self.shape[1:])


HEADERS = {(1, 0): np.lib.format.read_array_header_1_0}


class OfTorch:
    """The tensor that `get` gives: one in memory, or in a file that is mapped anew each time."""

    def __init__(self, get: Callable[[], Any]) -> None:
        self._get = get
        self.shape = tuple(get().shape)
        self.dtype = numbers_of(get()[:0] if self.shape else get()).dtype

    def read(self, positions: Positions) -> NDArray[Any]:
        return numbers_of(self._get()[positions.tolist()])


class Slices:
    """A tensor in a .safetensors file."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        part = self._opened().get_slice(name)
        self.shape = tuple(part.get_shape())
        whole = partial(self._opened().get_tensor, name)
        self.dtype = numbers_of(part[:0] if self.shape else whole()).dtype

    def _opened(self) -> Any:
        from safetensors import safe_open

        return safe_open(self._path, framework="pt")  # numpy has no bfloat16

    def read(self, positions: Positions) -> NDArray[Any]:
        part = self._opened().get_slice(self._name)
        found = [numbers_of(part[first:last]) for first, last in runs(positions)]
        return np.concatenate([np.empty((0, *self.shape[1:]), self.dtype), *found])


def numbers_of(tensor: Any) -> NDArray[Any]:
    """bfloat16, which numpy has not got, as float32."""
    tensor = tensor.detach().cpu()
    return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)


def runs(positions: Positions) -> Iterator[tuple[int, int]]:
    """Neighbours among rising positions: from the first to before the last."""
    breaks = np.flatnonzero(np.diff(positions) != 1) + 1
    for first, last in itertools.pairwise([0, *breaks.tolist(), len(positions)]):
        if last > first:
            yield int(positions[first]), int(positions[last - 1]) + 1


def _npy(path: Path) -> dict[str, Raw]:
    return {"images": Mapped(partial(np.lib.format.open_memmap, path, mode="r"))}


def _npz(path: Path) -> dict[str, Raw]:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        return {name.removesuffix(".npy"): Packed(path, archive, name) for name in members}


def _safetensors(path: Path) -> dict[str, Raw]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: Slices(path, name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def _torch(path: Path) -> dict[str, Raw]:
    import torch

    def load(mapped: bool = True) -> Any:
        with warnings.catch_warnings():  # what can't be read, the error says
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return named(found, str(path))

    try:
        load()
    except RuntimeError:  # saved by a torch before 1.6, whose files can't be mapped
        return held(load(mapped=False), str(path))

    def again(name: str) -> Any:
        return load()[name]

    return {
        name: OfTorch(partial(again, name)) if is_tensor(value) else one(value, str(path))
        for name, value in load().items()
    }


def named(value: Any, where: str) -> dict[str, Any]:
    """Arrays by their names: a mapping as it is, one alone or two as images and labels.

    Raises UserError for more, which could be anything.
    """
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    parts = value if isinstance(value, tuple | list) else [value]
    if len(parts) > 2:
        raise UserError(
            f"{where} holds {len(parts)} arrays without names; give them names, such as "
            '{"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}'
        )
    return dict(zip(("images", "labels"), parts, strict=False))


def held(values: Mapping[str, Any], where: str) -> dict[str, Raw]:
    """The same of what is in memory."""
    return {name: one(value, where) for name, value in values.items()}


def one(value: Any, where: str) -> Raw:
    """Raises UserError for a list of arrays that differ in shape."""
    if is_tensor(value):
        return OfTorch(lambda: value)
    try:
        if isinstance(value, list | tuple) and any(map(is_tensor, value)):
            parts = [numbers_of(part) if is_tensor(part) else np.asarray(part) for part in value]
            return Held(np.stack(parts))
        return Held(np.asarray(value))
    except ValueError as error:
        raise UserError(
            f"the arrays of {where} cannot be stacked ({error}); give pictures of one shape, or "
            "files"
        ) from error


def is_tensor(value: Any) -> bool:
    """Whether it is one of torch's, which need not be imported for it."""
    return all(hasattr(value, name) for name in ("detach", "is_floating_point", "shape"))


OPENERS: dict[str, Callable[[Path], dict[str, Raw]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}


def arrays_in(path: Path, ending: str) -> dict[str, Raw]:
    """The arrays of a file, which is one of such an ending, by their names.

    Raises UserError, DamagedFile where it can't be read.
    """
    try:
        return OPENERS[ending](path)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors, and reading that could run code; save "
            'torch.save({"images": images, "labels": labels}, PATH)'
        ) from error
    # Damaged headers raise nearly every exception there is.
    except Exception as error:
        if "Python objects" in str(error):
            raise UserError(
                f"{path} holds Python objects, and reading these could run code; save plain "
                "numbers: array.astype(np.uint8)"
            ) from error
        raise DamagedFile(f"{path} cannot be read ({error}); make or fetch it again") from error
