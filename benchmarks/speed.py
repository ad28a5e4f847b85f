"""Training images a second beside other libraries' own loops, at equal size, in turns.

    python benchmarks/speed.py SOURCE [--side 32] [--repeats 3] [--steps 4]

SOURCE is a folder or zip of pictures, or a named set. Each peer trains a U-Net of its own by its
own loop from a folder of PNGs, as it comes; beside it our trainer has a U-Net of as many parameters
and as much arithmetic (both within 10 %), with attention at the same resolution, on a cache of the
same pictures, in bf16 where the processor has it and in float32. All train with batches of 64, a
few steps each in turns, each in a process of its own: what ours does to its memory helps no other.
Prints JSON: medians over the turns, and ratios, each of one turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers import BATCH, Diffusers, Lucidrains, Ours, Peer

PICTURES = 2_000  # that are trained on: a peer reads each from its file
BARS = {"bf16": 3.0, "float32": 1.3}
DOWN = ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"]
UP = ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"]
# Each peer's network, and the widths and blocks of ours that is as large.
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "diffusers": (
        {
            "layers_per_block": 2,
            "block_out_channels": (64, 128, 128),
            "down_block_types": DOWN,
            "up_block_types": UP,
        },
        {"widths": (96, 128, 128), "blocks": 2},
    ),
    "lucidrains": ({"dim": 32, "dim_mults": (1, 2, 4)}, {"widths": (48, 96, 128), "blocks": 1}),
}


def loop_of(peer: str, kind: str, folder: Path, side: int) -> Peer:
    """The peer's own loop, or ours beside it where `kind` is a precision."""
    theirs, ours = NETWORKS[peer]
    if kind == "diffusers":
        return Diffusers(folder / "pictures", side, theirs)
    if kind == "lucidrains":
        return Lucidrains(folder / "pictures", side, folder / "results", theirs)
    from safelight.data.cache import Cache
    from safelight.machine import keep_memory
    from safelight.presets import PRESETS

    keep_memory()  # as `train` does
    usual = PRESETS["small"]
    optimiser = usual.optimiser.model_copy(update={"batch": BATCH})
    net = usual.net.model_copy(update=ours)
    config = usual.model_copy(update={"net": net, "optimiser": optimiser})
    return Ours(Cache.open(folder / "cache"), config, os.cpu_count() or 1, kind)


def size_of(net: Any, side: int) -> dict[str, float]:
    """Millions of parameters, and billions of operations forwards for a picture."""
    import torch

    from safelight.training.costs import count_flops

    flops = count_flops(net, torch.zeros(1, 3, side, side), torch.zeros(1))
    return {
        "parameters, M": round(sum(p.numel() for p in net.parameters()) / 1e6, 3),
        "GFLOP": round(flops / 1e9, 3),
    }


def serve(loop: Peer, side: int) -> None:
    """Say how large the network is; then take so many steps for each line, and say the rate."""
    told = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        loop.advance(2)  # allocates memory and chooses kernels
        print(json.dumps(size_of(loop.net, side)), file=told, flush=True)
        for line in sys.stdin:
            began = time.perf_counter()
            loop.advance(int(line))
            seconds = time.perf_counter() - began
            print(json.dumps(int(line) * BATCH / seconds), file=told, flush=True)


class Apart:
    """A loop in a process of its own."""

    def __init__(self, peer: str, kind: str, folder: Path, side: int) -> None:
        words = ["--loop", peer, kind, "--side", str(side)]
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.size = self._said()

    def rate(self, steps: int) -> float:
        """Images a second of so many steps."""
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)
        return float(self._said())

    def close(self) -> None:
        self._process.communicate()

    def _said(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def against(peer: str, folder: Path, side: int, repeats: int, steps: int) -> dict[str, Any]:
    import torch

    from safelight.machine import has_bf16

    precisions = ["bf16", "float32"] if has_bf16(torch.device("cpu")) else ["float32"]
    loops = {kind: Apart(peer, kind, folder, side) for kind in (peer, *precisions)}
    turns = [{kind: loop.rate(steps) for kind, loop in loops.items()} for _ in range(repeats)]
    for loop in loops.values():
        loop.close()
    ratios = {kind: [round(turn[kind] / turn[peer], 2) for turn in turns] for kind in precisions}
    return {
        "theirs": loops[peer].size,
        "ours": loops[precisions[0]].size,
        "images/s": {
            kind: round(statistics.median(turn[kind] for turn in turns), 1) for kind in loops
        },
        "ratios": ratios,
        "ratio": {kind: statistics.median(found) for kind, found in ratios.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="of each turn")
    parser.add_argument("--loop", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.loop:
        serve(loop_of(*options.loop, Path(options.source), options.side), options.side)
        return
    from safelight import export_images, prepare

    found: dict[str, Any] = {"side": options.side, "batch": BATCH, "bars": BARS}
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        folder = Path(scratch)
        how: Any = {"size": options.side, "labels": "none", "split": "100/0/0"}
        cache = prepare(options.source, out=folder / "cache", **how)
        export_images(cache.path, out=folder / "pictures", n=min(PICTURES, cache.count))
        for peer in NETWORKS:
            found[peer] = against(peer, folder, options.side, options.repeats, options.steps)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
