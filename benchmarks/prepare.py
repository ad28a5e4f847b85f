"""How fast and how lean `prepare` is, beside plain decoding with Pillow on the same files.

    python benchmarks/prepare.py speed ARCHIVE [--folder] [--repeats 3]
    python benchmarks/prepare.py memory ARCHIVE [--pictures 200000] [--repeats 3] [--size 64]
    python benchmarks/prepare.py kills ARCHIVE [--pictures 20000] [--kills 20]
    python benchmarks/prepare.py scale ARCHIVE [--up-to 1000000]

`speed` measures two whole programs in turn, from their start to their end: one process for each
core that only reads and decodes its share of the pictures to RGB arrays with Pillow, and `prepare`
with its own start, its listing of the source, and its flushing of the cache to the disk. `memory`
makes a folder of small photographs by repeating those of an archive, sets the rate beside the same
decoding, in turn, and samples the proportional set size of `prepare` and all its processes in a run
of its own, since sampling takes time from what is timed. `kills` stops such a `prepare` at random
moments, and compares what comes of it with one left alone. `scale` tells the seconds and the memory
of 1,000, 10,000, ... pictures, each once, and the exponent of what grows (`growth`);
`benchmarks/scaling.py --parts prepare` has its interval, over fewer pictures.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
from growth import BAR, Growth, growth
from PIL import Image

from safelight.data.cache import Cache

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


def memory(archive: Path, pictures: int, repeats: int, size: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "photographs"
        repeat(archive, source, pictures, size)
        cores = len(os.sched_getaffinity(0))
        pairs = [
            (seconds_of_decoding(source, cores), seconds_of_prepare(source, size))
            for _ in range(repeats)
        ]
        _, peak = watched(source, size, Path(folder) / "cache")
    return {
        "pictures": pictures,
        "size": size,
        "seconds": [round(ours, 1) for _, ours in pairs],
        "of decoding alone": [round(plain, 1) for plain, _ in pairs],
        "ratio": round(statistics.median(plain / ours for plain, ours in pairs), 3),
        "bar ratio": 0.8,
        "peak MB": round(peak / 1e6, 1),
        "bar MB": 600,
    }


def started(source: Path, size: int, out: Path) -> psutil.Popen:
    command = [sys.executable, "-c", PREPARE, str(source), str(size), str(out)]
    return psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def watched(source: Path, size: int, out: Path) -> tuple[float, int]:
    """The seconds that it takes, and the bytes that it and its processes have at most."""
    began = time.perf_counter()
    process = started(source, size, out)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of(process))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit("prepare failed")
    return time.perf_counter() - began, peak


def kills(archive: Path, pictures: int, size: int, count: int, seed: int) -> dict[str, object]:
    """Every other kill comes while it starts and reads what is there, the others while it works."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "photographs", Path(folder) / "killed" / "cache"
        repeat(archive, source, pictures, size)
        seconds, _ = watched(source, size, Path(folder) / "whole")
        done = [0]
        while len(done) <= count:
            process = started(source, size, out)
            working = len(done) % 2 == 0
            while working and process.poll() is None and files_done(out) <= done[-1]:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, seconds / count if working else 2))
            process.kill()
            process.wait()
            if out.exists():
                raise SystemExit("it came to its end before it was killed so often: --pictures")
            done.append(files_done(out))
        watched(source, size, out)
        whole, killed = (Cache.open(Path(folder) / name) for name in ("whole", "killed/cache"))
        return {
            "pictures": pictures,
            "kills": count,
            "files done at each": done[1:],
            "same hash": whole.fingerprint == killed.fingerprint,
            "same names": whole.file_names() == killed.file_names(),
            "left over": [str(path.name) for path in out.parent.iterdir() if path != out],
        }


def files_done(out: Path) -> int:
    """What the journal of a `prepare` tells that has not come to its end."""
    lines = [line for file in out.parent.glob(".tmp-*/journal.jsonl") for line in file.open()]
    return sum(len(json.loads(line)[0]) for line in lines if line.endswith("\n"))


def scale(archive: Path, up_to: int, size: int) -> dict[str, object]:
    counts = [10**k for k in range(3, 8) if 10**k <= up_to]
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "photographs"
            repeat(archive, source, count, size)
            seconds, peak = watched(source, size, Path(folder) / "cache")
            rows.append({"pictures": count, "seconds": seconds, "peak MB": peak / 1e6})
            print(json.dumps(rows[-1]), file=sys.stderr)
    seconds = [row["seconds"] for row in rows]
    fitted = growth(counts, seconds) if len(counts) >= len(Growth._fields) else None
    return {"rows": rows, "exponent": fitted and round(fitted.exponent, 3), "bar": BAR}


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process and all that it started; what they share is counted once."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:  # one of them has just ended
        return total
    return total


def repeat(archive: Path, folder: Path, pictures: int, size: int) -> None:
    """`pictures` JPEGs of size x size in class folders: links to those made of an archive's."""
    with zipfile.ZipFile(archive) as packed:
        names = sorted(name for name in packed.namelist() if name.endswith(PICTURES))
        for i in range(pictures):
            name = Path(names[i % len(names)])
            to = folder / name.parent / f"{i // len(names)}-{name.name}"
            if i < len(names):
                to.parent.mkdir(parents=True, exist_ok=True)
                image = Image.open(io.BytesIO(packed.read(str(name)))).convert("RGB")
                image.resize((size, size)).save(to, quality=90)
            else:
                os.link(to.parent / f"0-{name.name}", to)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "memory", "kills", "scale", "decode"))
    parser.add_argument("source", type=Path)
    parser.add_argument("--folder", action="store_true", help="unpack the archive first")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int)
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--up-to", type=int, default=1_000_000)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    a = parser.parse_args()
    if a.what == "decode":
        decode_share(a.source, a.index, a.of)
        return
    found = {
        "speed": lambda: speed(a.source, a.folder, a.repeats, a.size or 32),
        "memory": lambda: memory(a.source, a.pictures or 200_000, a.repeats, a.size or 64),
        "kills": lambda: kills(a.source, a.pictures or 20_000, a.size or 64, a.kills, a.seed),
        "scale": lambda: scale(a.source, a.up_to, a.size or 32),
    }[a.what]()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
