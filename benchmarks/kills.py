"""A run killed at random moments against the same run left alone: are the weights the same bits?

    python benchmarks/kills.py [--kills 20] [--seed 0]

Trains a small conditional U-Net (dropout, flips and shifts on) on scikit-learn's digits, with a
checkpoint every 5 steps, so that many kills strike while one is being written. Prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safelight.training.checkpoint import checkpoints

OPTIONS = (
    "--budget 2000steps --net.widths 16 32 --net.blocks 1 --net.attention 4 --net.dropout 0.1 "
    "--data.flip --data.shift 1 --optimiser.batch 16 --watch.checkpoint-every 5 "
    "--watch.validate-every 500 --watch.preview-every 500"
).split()


def train(data: Path, out: Path) -> subprocess.Popen[bytes]:
    command = ["train", str(data), "--out", str(out), "--preset", "tiny", *OPTIONS]
    return subprocess.Popen(
        [sys.executable, "-m", "safelight", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def records(out: Path) -> int:
    log = out / "log.jsonl"
    return log.stat().st_size if log.exists() else 0


def kill_once(data: Path, out: Path, rng: random.Random) -> bool:
    """Let it work for up to two seconds after its first new record; True if it was alive then."""
    before = records(out)
    process = train(data, out)
    while process.poll() is None and records(out) <= before:
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 2))
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def digest(out: Path) -> str:
    newest = checkpoints(out / "checkpoints")[-1]
    state = newest.state()  # which checks every file of it
    contents = [state.progress.step, sorted(state.files.items())]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def leftovers(out: Path) -> list[str]:
    return [str(path.relative_to(out)) for path in out.rglob(".tmp-*")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        data, straight, killed = (Path(scratch) / name for name in ("data", "straight", "killed"))
        prepare = [sys.executable, "-m", "safelight", "prepare", "digits", "--out", str(data)]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
        train(data, straight).wait()
        kills = during_write = 0
        steps = []
        while kills < options.kills and kill_once(data, killed, rng):
            kills += 1
            during_write += bool(leftovers(killed))
            saved = checkpoints(killed / "checkpoints")
            steps.append(saved[-1].step if saved else 0)
        train(data, killed).wait()
        result = {
            "kills": kills,
            "struck_during_a_write": during_write,
            "resumed_from_steps": steps,
            "same_bits": digest(straight) == digest(killed),
            "half_written_files": leftovers(killed),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
