"""Features kept on the disk: computed once, in one pass over the images, in bounded memory.

STORE/features/KEY.npy holds (n, d) float32 and KEY.json its sha256 and what it is. The key is a
hash of the images (their source and seeds) and of the network (its name and weights). A file that
was damaged is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from safelight.console import progress
from safelight.errors import DamagedFile, UserError
from safelight.evaluation.moments import FeatureFile, Features
from safelight.evaluation.network import MICRO_BATCH, Network
from safelight.files import read_json, sha256, write_json, writing
from safelight.images import ImageSource, pieces
from safelight.machine import full_precision

FORMAT = 1  # part of every key: a change in how features are made or kept forgets the old ones


def features_of(
    source: ImageSource, seeds: Sequence[int], networks: Sequence[Network], store: Path, batch: int
) -> list[Features]:
    """The features of these images from each network, (n, dimension) float32, on the disk.

    The images are made once, `batch` at a time, for all networks whose features are not kept yet.
    """
    paths = [_path(source, seeds, network, store) for network in networks]
    missing = [i for i, path in enumerate(paths) if not _is_sound(path, len(seeds), networks[i])]
    if missing:
        _compute(source, seeds, [networks[i] for i in missing], [paths[i] for i in missing], batch)
    return [FeatureFile(path) for path in paths]


def _compute(
    source: ImageSource,
    seeds: Sequence[int],
    networks: Sequence[Network],
    paths: Sequence[Path],
    batch: int,
) -> None:
    with contextlib.ExitStack() as stack:
        # Not through a memory map, which on a full disk kills the process instead of raising.
        temporary = [stack.enter_context(writing(path)) for path in paths]
        files = [stack.enter_context(path.open("wb")) for path in temporary]
        for file, network in zip(files, networks, strict=True):
            _write_header(file, (len(seeds), network.dimension))
        for images in _batches(source, seeds, batch):
            for file, network in zip(files, networks, strict=True):
                file.write(_extract(network, images, source).numpy().tobytes())
        for file, path, network in zip(files, paths, networks, strict=True):
            file.flush()
            _note(Path(file.name), path, source, network, len(seeds))


def _batches(source: ImageSource, seeds: Sequence[int], batch: int) -> Iterator[Tensor]:
    with progress(f"looking at {source.name}", len(seeds)) as advance:
        for piece in pieces(len(seeds), batch):
            part = seeds[piece]
            images = source.images(part, source.labels(part))
            if images.dtype != torch.uint8 or images.shape != (len(part), *source.shape):
                raise TypeError(f"{source.name} gave {images.dtype} {tuple(images.shape)}")
            yield images
            advance(len(part))


def _extract(network: Network, images: Tensor, source: ImageSource) -> Tensor:
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
        kept = FeatureFile(path)
    except (DamagedFile, OSError, ValueError, EOFError, KeyError, TypeError):
        return False
    expected = (count, network.dimension)
    return kept.shape == expected and wanted == sha256(path)
