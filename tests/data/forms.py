"""The same pictures in every form that people have them in: each makes one from a folder."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.conftest import zipped


def files_of(folder: Path) -> list[Path]:
    """In natural order, as long as no number has more digits than another."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def tarred(folder: Path, archive: Path, mode: str = "w", order: int = 1) -> Path:
    """order: -1 packs the last file first."""
    with tarfile.open(archive, mode) as packed:
        for file in files_of(folder)[::order]:
            packed.add(file, file.relative_to(folder).as_posix())
    return archive


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def sharded(folder: Path, into: Path, ending: str = "tar") -> str:
    """WebDataset's form: two shards of pictures, each with the name of its class beside it."""
    into.mkdir()
    files = files_of(folder)
    half = len(files) // 2
    for i, part in enumerate((files[:half], files[half:])):
        mode = "w" if ending == "tar" else f"w:{ending.rpartition('.')[2]}"
        with tarfile.open(into / f"pictures-{i:04}.{ending}", mode) as shard:
            for file in part:
                key = f"{file.parent.name}_{file.stem}"
                add(shard, f"{key}.cls", file.parent.name.encode())
                add(shard, f"{key}.png", file.read_bytes())
    return str(into / f"pictures-{{0000..0001}}.{ending}")


def listed_in_csv(folder: Path, table: Path) -> Path:
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "label"])
        for picture in reversed(files_of(folder)):
            rows.writerow([picture.relative_to(table.parent), picture.parent.name])
    return table


def listed_in_json(folder: Path, table: Path) -> Path:
    rows = [
        {"image": str(picture), "class": picture.parent.name} for picture in files_of(folder)[::-1]
    ]
    table.write_text(json.dumps(rows))
    return table


def stacked(folder: Path) -> tuple[np.ndarray, list[str]]:
    """(n, h, w, c) and the class of each."""
    files = files_of(folder)
    return np.stack([np.asarray(Image.open(file)) for file in files]), [
        f.parent.name for f in files
    ]


def as_npz(folder: Path, path: Path) -> Path:
    images, labels = stacked(folder)
    np.savez_compressed(path, images=images, labels=np.array(labels))
    return path


def as_parquet(folder: Path, path: Path) -> Path:
    """As the library `datasets` writes it."""
    files = files_of(folder)
    classes = sorted({file.parent.name for file in files})
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    labels = [classes.index(file.parent.name) for file in files]
    return write_parquet(path, images, labels, classes)


def write_parquet(
    path: Path, images: Sequence[Any], labels: Sequence[int | None], classes: Sequence[str]
) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    told = {"image": {"_type": "Image"}, "label": {"names": list(classes), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": told}})}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", kind), ("label", pa.int64())], metadata)
    table = pa.table({"image": pa.array(images, kind), "label": labels}, schema)
    pq.write_table(table, path, row_group_size=5)
    return path


Form = Callable[[Path, Path], Any]  # (folder, a place for it) -> what `prepare` takes
FORMS: dict[str, Form] = {
    "zip": lambda folder, place: zipped(folder, place / "a.zip"),
    "tar": lambda folder, place: tarred(folder, place / "a.tar", order=-1),
    "tar.gz": lambda folder, place: tarred(folder, place / "a.tar.gz", "w:gz", order=-1),
    "tar.bz2": lambda folder, place: tarred(folder, place / "a.tar.bz2", "w:bz2"),
    "tar.xz": lambda folder, place: tarred(folder, place / "a.txz", "w:xz", order=-1),
    "shards": lambda folder, place: sharded(folder, place / "shards"),
    "packed shards": lambda folder, place: sharded(folder, place / "shards", "tar.gz"),
    "csv": lambda folder, place: listed_in_csv(folder, place / "a.csv"),
    "json": lambda folder, place: listed_in_json(folder, place / "a.json"),
    "npz": lambda folder, place: as_npz(folder, place / "a.npz"),
    "parquet": lambda folder, place: as_parquet(folder, place / "a.parquet"),
    "arrays": lambda folder, _: dict(zip(("images", "labels"), stacked(folder), strict=True)),
    "two sources": lambda folder, _: [folder / "cat", folder / "dog"],
}
