"""How fast and how lean `prepare` is, beside plain decoding with Pillow on the same files.

    python benchmarks/prepare.py speed ARCHIVE [--folder] [--repeats 3]
    python benchmarks/prepare.py memory ARCHIVE [--pictures 12000] [--size 64]

`speed` measures two whole programs in turn, from their start to their end: one process for each
core that only reads and decodes its share of the pictures to RGB arrays with Pillow, and
`prepare` with its own start, its listing of the source, and its flushing of the cache to the
disk. `memory` makes a folder of photographs by repeating those of an archive, and samples the
proportional set size of `prepare` and all its processes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

PICTURES = (".jpg", ".jpeg", ".png")
PREPARE = (
    "import sys; from pathlib import Path; from safelight.data.prepare import prepare; "
    "prepare(sys.argv[1], size=int(sys.argv[2]), out=Path(sys.argv[3]))"
)


def decode_share(source: Path, index: int, of: int) -> None:
    """The baseline: every `of`-th picture, read and decoded to an array."""
    if source.is_dir():
        names = sorted(str(path) for path in source.rglob("*") if path.suffix in PICTURES)
        read = lambda name: Path(name).read_bytes()  # noqa: E731
    else:
        archive = zipfile.ZipFile(source)
        names = sorted(name for name in archive.namelist() if name.endswith(PICTURES))
        read = archive.read
    for name in names[index::of]:
        np.asarray(Image.open(io.BytesIO(read(name))).convert("RGB"))


def seconds_of_decoding(source: Path, processes: int) -> float:
    began = time.perf_counter()
    command = [sys.executable, __file__, "decode", str(source)]
    running = [
        subprocess.Popen([*command, "--index", str(i), "--of", str(processes)])
        for i in range(processes)
    ]
    if any(process.wait() for process in running):
        raise SystemExit("the baseline failed")
    return time.perf_counter() - began


def seconds_of_prepare(source: Path, size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        out = Path(folder) / "cache"
        subprocess.run(
            [sys.executable, "-c", PREPARE, str(source), str(size), str(out)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - began


def speed(archive: Path, as_folder: bool, repeats: int, size: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        source = archive
        if as_folder:
            source = Path(folder) / "pictures"
            zipfile.ZipFile(archive).extractall(source)
        count = sum(n.endswith(PICTURES) for n in zipfile.ZipFile(archive).namelist())
        cores = len(os.sched_getaffinity(0))
        pairs = [
            (seconds_of_decoding(source, cores), seconds_of_prepare(source, size))
            for _ in range(repeats)
        ]
    return {
        "pictures": count,
        "source": "folder" if as_folder else "zip",
        "cores": cores,
        "pillow images/s": [round(count / plain) for plain, _ in pairs],
        "prepare images/s": [round(count / ours) for _, ours in pairs],
        "ratio": round(statistics.median(plain / ours for plain, ours in pairs), 3),
        "bar": 0.8,
    }


def memory(archive: Path, pictures: int, size: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photographs"
        repeat(archive, source, pictures)
        command = [sys.executable, "-c", PREPARE, str(source), str(size), f"{folder}/cache"]
        began = time.perf_counter()
        process = psutil.Popen(command, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_of(process))
            time.sleep(0.05)
        if process.returncode:
            raise SystemExit("prepare failed")
    return {
        "pictures": pictures,
        "size": size,
        "seconds": round(time.perf_counter() - began, 1),
        "peak MB": round(peak / 1e6, 1),
        "bar MB": 500,
    }


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process and all that it started; what they share is counted once."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:  # one of them has just ended
        return total
    return total


def repeat(archive: Path, folder: Path, pictures: int) -> None:
    """`pictures` files of 224x224 in class folders, from an archive that has fewer."""
    with zipfile.ZipFile(archive) as packed:
        names = sorted(name for name in packed.namelist() if name.endswith(PICTURES))
        for i in range(pictures):
            name = Path(names[i % len(names)])
            to = folder / name.parent / f"{i // len(names)}-{name.name}"
            to.parent.mkdir(parents=True, exist_ok=True)
            if i < len(names):
                image = Image.open(io.BytesIO(packed.read(str(name)))).convert("RGB")
                image.crop((0, 0, 224, 224)).save(to, quality=90)
            else:
                to.write_bytes((to.parent / f"0-{name.name}").read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "memory", "decode"))
    parser.add_argument("source", type=Path)
    parser.add_argument("--folder", action="store_true", help="unpack the archive first")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int)
    parser.add_argument("--pictures", type=int, default=12_000)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    a = parser.parse_args()
    if a.what == "decode":
        decode_share(a.source, a.index, a.of)
    elif a.what == "speed":
        print(json.dumps(speed(a.source, a.folder, a.repeats, a.size or 32), indent=1))
    else:
        print(json.dumps(memory(a.source, a.pictures, a.size or 64), indent=1))


if __name__ == "__main__":
    main()
