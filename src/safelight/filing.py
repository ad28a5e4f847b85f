"""Images as files, into a folder or a zip: ABOVE/CLASS/000003.png is the image of seed 3."""

from __future__ import annotations

import contextlib
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from torch import Tensor

from safelight.files import writing, writing_folder
from safelight.images import ImageSource, Tell, as_files, gradually, pieces
from safelight.naming import folder_names

BATCH = 128  # images in memory
# Of every file in a zip, so that the same pictures give the same bytes: the first moment that a zip
# can hold, and a file that all may read.
MOMENT, RIGHTS = (1980, 1, 1, 0, 0, 0), (stat.S_IFREG | 0o644) << 16
UNIX = 3


class Put(Protocol):
    """Files the bytes under a name, whose parts are divided by "/"."""

    def __call__(self, name: str, data: bytes) -> None: ...


@dataclass(frozen=True)
class Selection:
    """Images of some source, by their seeds, and the folder above those of their classes."""

    source: ImageSource
    seeds: Sequence[int]
    above: str = ""

    @cached_property
    def folders(self) -> list[str]:
        """Of each class."""
        names = folder_names(self.source.classes)
        return [names[name] for name in self.source.classes]

    def put(self, put: Put, tell: Tell, shown: bool = True) -> Iterator[Tensor]:
        """File them all; gives them, (b, c, h, w), as they come.

        tell: see `images.gradually`. shown: also a PNG of what a PNG can't hold, see
        `images.as_files`.
        """
        for part in pieces(len(self.seeds), BATCH):
            seeds = self.seeds[part]
            labels = self.source.labels(seeds)
            images = gradually(self.source, seeds, labels, tell)
            folders = [None] * len(seeds) if labels is None else labels.tolist()
            for image, seed, label in zip(images.numpy(), seeds, folders, strict=True):
                folder = [] if label is None else [self.folders[label]]
                stem = "/".join([*filter(None, [self.above]), *folder, f"{seed:06d}"])
                for ending, data in as_files(image, shown).items():
                    put(stem + ending, data)
            yield images


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Put]:
    """A folder that takes `path`'s place when the block ends well (see `files.writing_folder`)."""
    with writing_folder(path, keep=True) as folder:
        yield into(folder)


def into(folder: Path) -> Put:
    """Puts files into a folder that is there."""
    made = {folder}

    def put(name: str, data: bytes) -> None:
        place = folder / name
        if place.parent not in made:
            place.parent.mkdir(parents=True, exist_ok=True)
            made.add(place.parent)
        place.write_bytes(data)

    return put


@contextlib.contextmanager
def new_zip(path: Path) -> Iterator[Put]:
    """A zip that takes `path`'s place when the block ends well; the same files give the same bytes.

    What is put in is not packed again: pictures are packed already. Of each file only its entry in
    the directory stays in memory.
    """
    with writing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:

        def put(name: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.create_system, entry.external_attr = UNIX, RIGHTS
            archive.writestr(entry, data)

        yield put
