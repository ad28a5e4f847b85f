"""Features kept on the disk: computed once, in one pass over the images, in bounded memory.

STORE/features/KEY.npy holds (n, d) float32 and KEY.json its sha256 and what it is. The key is a
hash of the images (their source and seeds) and of the network (its name and weights). A file that
was damaged is computed again. Until all are there, parts of them lie in STORE/features/KEY/.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from safelight.console import inform, progress
from safelight.errors import DamagedFile, UserError
from safelight.evaluation.moments import FeatureFile, Features, Rows
from safelight.evaluation.network import MICRO_BATCH, Network
from safelight.evaluation.plan import Side
from safelight.files import disk_errors, read_json, sha256, write_json, writing
from safelight.images import Gradual, ImageSource, Tell, gradually, pieces
from safelight.locks import Lock, locked
from safelight.machine import full_precision

FORMAT = 1  # part of every key: a change in how features are made or kept forgets the old ones


def features_of(
    source: ImageSource, seeds: Sequence[int], networks: Sequence[Network], store: Path, batch: int
) -> list[FeatureFile]:
    """The features of these images from each network, (n, dimension) float32, on the disk.

    The images are made once, `batch` at a time, for all networks whose features are not kept yet.
    """
    paths = [_path(source, seeds, network, store) for network in networks]
    wanted = dict(zip(paths, networks, strict=True))

    def missing() -> dict[Path, Network]:
        return {p: held for p, held in wanted.items() if not _is_sound(p, len(seeds), held)}

    if lacking := missing():
        with _alone(lacking):
            if left := missing():  # another process may have been at work
                _compute(source, seeds, list(left.values()), list(left), batch)
    return [FeatureFile(path) for path in paths]


@contextlib.contextmanager
def _alone(paths: Iterable[Path]) -> Iterator[None]:
    """Wait for other processes that are at work on these features; then they wait for this one."""
    with contextlib.ExitStack() as held:
        for path in sorted(paths):  # in one order, so that no two wait for each other
            parts = path.with_suffix("")
            with disk_errors(parts):
                parts.mkdir(parents=True, exist_ok=True)
            held.callback(_remove_if_empty, parts)
            if held.enter_context(locked(parts, wait=False)) is Lock.THEIRS:
                inform(f"another safelight command looks at these images ({parts}); waiting for it")
                held.enter_context(locked(parts))
        yield


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def looked_at_once(
    source: ImageSource, seeds: Sequence[int], network: Network, batch: int
) -> NDArray[np.float32]:
    """The same of one network, (n, dimension), kept nowhere: of a model that is soon another one.

    `batch` images and all features are in memory.
    """
    parts = pieces(len(seeds), batch)
    found = [extract(network, images_of(source, seeds[part]), source) for part in parts]
    features: NDArray[np.float32] = torch.cat(found).numpy()
    return features


class Looked:
    """What one network says of a source's images, whichever side they stand on.

    files: the seeds of images, and their features; no image is in two.
    """

    def __init__(self, files: Sequence[tuple[Sequence[int], FeatureFile]]) -> None:
        self._files = [features for _, features in files]
        every = [seed for seeds, _ in files for seed in seeds]
        self._positions = {seed: position for position, seed in enumerate(every)}

    def of(self, side: Side) -> Features:
        """The features of a side's images, in its order."""
        positions = np.array([self._positions[seed] for seed in side.seeds], np.int64)
        if np.array_equal(positions, np.arange(len(self._files[0]))):
            return self._files[0]
        return Rows(self._files, positions)


def looked_at(
    sides: Sequence[Side], networks: Sequence[Network], store: Path, batch: int
) -> list[Looked]:
    """What each network says of the images of several sides of one source.

    Each image is looked at once. What is kept of the first side serves it alone too.
    """
    if not sides:
        return [Looked([]) for _ in networks]
    passes = _passes(sides)
    kept = [features_of(sides[0].source, seeds, networks, store, batch) for seeds in passes]
    return [Looked(list(zip(passes, files, strict=True))) for files in zip(*kept, strict=True)]


@dataclass(frozen=True)
class Part:
    """Images of a source, and those networks that have not looked at them yet."""

    source: ImageSource
    seeds: Sequence[int]
    networks: Sequence[Network]


def ahead(
    sides: Sequence[Side], networks: Sequence[Network], store: Path, batch: int
) -> list[Part]:
    """What `looked_at` would still have to do, were all that is kept sound."""
    found: list[Part] = []
    for seeds in _passes(sides):
        source = sides[0].source
        paths = [(network, _path(source, seeds, network, store)) for network in networks]
        wanted = [
            (network, path)
            for network, path in paths
            if not _holds(path, (len(seeds), network.dimension))
        ]
        found += [
            Part(source, seeds[part], [network for network, _ in missing])
            for part in pieces(len(seeds), batch)
            if (missing := _missing(wanted, part))
        ]
    return found


def _passes(sides: Sequence[Side]) -> list[Sequence[int]]:
    """The seeds of the first side, and those that only the others have."""
    if not sides:
        return []
    first, *others = sides
    further = sorted({seed for side in others for seed in side.seeds} - {*first.seeds})
    return [seeds for seeds in (first.seeds, further) if seeds]


def _compute(
    source: ImageSource,
    seeds: Sequence[int],
    networks: Sequence[Network],
    paths: Sequence[Path],
    batch: int,
) -> None:
    """Part by part, each kept at once: a pass that was stopped goes on where it was."""
    parts = list(pieces(len(seeds), batch))
    drawing = isinstance(source, Gradual)  # takes the time; of others looking does
    with progress(f"looking at {source.name}", len(seeds)) as advance:
        for part in parts:
            if missing := _missing(list(zip(networks, paths, strict=True)), part):
                images = images_of(source, seeds[part], advance if drawing else _nobody)
                for network, file in missing:
                    features = extract(network, images, source).numpy()
                    with writing(file) as temporary, temporary.open("wb") as opened:
                        np.save(opened, features)
            if not (missing and drawing):
                advance(part.stop - part.start)
    for path, network in zip(paths, networks, strict=True):
        with writing(path) as temporary:
            with temporary.open("wb") as whole:
                _write_header(whole, (len(seeds), network.dimension))
                for part in parts:
                    whole.write(np.load(_file(path, part)).tobytes())
            _note(temporary, path, source, network, len(seeds))
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)


def _nobody(images: float) -> None:
    """Is told how many images more there are."""


def _missing(wanted: Sequence[tuple[Network, Path]], part: slice) -> list[tuple[Network, Path]]:
    """Who has not looked at this part, and the file for what they will say of it."""
    count = part.stop - part.start
    files = [(network, _file(path, part)) for network, path in wanted]
    return [each for each in files if not _holds(each[1], (count, each[0].dimension))]


def _file(path: Path, part: slice) -> Path:
    """Of the features at `path` those of one part, until they are all there."""
    return path.with_suffix("") / f"{part.start}-{part.stop}.npy"


def images_of(source: ImageSource, seeds: Sequence[int], tell: Tell = _nobody) -> Tensor:
    """tell: see `images.gradually`."""
    images = gradually(source, seeds, source.labels(seeds), tell)
    if images.dtype != torch.uint8 or images.shape != (len(seeds), *source.shape):
        raise TypeError(f"{source.name} gave {images.dtype} {tuple(images.shape)}")
    return images


def extract(network: Network, images: Tensor, source: ImageSource) -> Tensor:
    """(b, c, h, w) uint8 -> (b, d) float32, in micro-batches; raises UserError on NaN."""
    with torch.inference_mode(), full_precision():
        features = torch.cat([network.extract(part) for part in torch.split(images, MICRO_BATCH)])
    if not features.isfinite().all():
        raise UserError(
            f"{network.name} gave features that are not finite (NaN or infinity) for images of "
            f"{source.name}; use another network with --features"
        )
    return features.float().contiguous()


def _path(source: ImageSource, seeds: Sequence[int], network: Network, store: Path) -> Path:
    drawn = hashlib.sha256(np.asarray(seeds, dtype=np.int64).tobytes()).hexdigest()
    text = json.dumps([FORMAT, source.fingerprint, drawn, *network.key])
    return store / "features" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"


def _write_header(file: IO[bytes], shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _note(written: Path, path: Path, source: ImageSource, network: Network, count: int) -> None:
    about = {"source": source.name, "network": network.name, "count": count}
    write_json(path.with_suffix(".json"), {"sha256": sha256(written), **about})


def _is_sound(path: Path, count: int, network: Network) -> bool:
    """Whether features are kept there, whole and as they were written."""
    try:
        wanted = read_json(path.with_suffix(".json"), "")["sha256"]
    except (DamagedFile, OSError, KeyError, TypeError):
        return False
    return _holds(path, (count, network.dimension)) and wanted == sha256(path)


def _holds(path: Path, shape: tuple[int, int]) -> bool:
    """Whether there is a file of so many features."""
    try:
        return FeatureFile(path).shape == shape
    except (OSError, ValueError, EOFError):
        return False


@contextlib.contextmanager
def going_on() -> Iterator[None]:
    """Say when it is stopped what the store has."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped; what was seen of the images is kept, and the same command goes on from there"
        ) from None
