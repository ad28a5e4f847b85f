"""What editing costs and gives, on held-out pictures:

    python benchmarks/editing.py runs/mnist caches/mnist:test -n 64

prints JSON: the seam of inpainting against walks, the PSNR of an inversion against steps, and the
largest step of an interpolation against how closely one looks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from safelight import Inpaint, Interpolate, Invert, Sampling, edit
from safelight.sources import open_source


def seam(run: str, place: str, n: int, repeats: int, folder: Path) -> dict[str, Any]:
    """The right half is hidden. How much more neighbours differ over the seam than they should,
    and how far what was drawn is from what was hidden (RMS), both in 255 levels."""
    truth = open_source(place).images(range(n))
    half = truth.shape[-1] // 2
    mask = np.zeros(truth.shape[-2:], np.uint8)
    mask[:, half:] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    task = Inpaint(mask=folder / "mask.png", repeats=repeats)
    out = edit(run, place, task, n=n, out=folder / f"inpaint-{repeats}")
    drawn = read(out, truth.shape[1])
    jump, usual = ((x[..., half] - x[..., half - 1]).abs().mean() for x in (drawn, truth.double()))
    apart = (drawn - truth)[..., half:].square().mean().sqrt()
    return {"repeats": repeats, **cost(out), "seam": float(jump - usual), "rms": float(apart)}


def read(out: Path, channels: int) -> torch.Tensor:
    """The results in their order, float64 (n, c, h, w)."""
    names = sorted(path for path in out.glob("*.png") if path.name != "sheet.png")
    pixels = np.stack([np.atleast_3d(np.asarray(Image.open(path))) for path in names])
    assert pixels.shape[-1] == channels
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).double()


def cost(out: Path) -> dict[str, Any]:
    return {"evaluations": json.loads((out / "edit.json").read_text())["evaluations"]}


def inversion(run: str, place: str, n: int, steps: int, folder: Path) -> dict[str, Any]:
    out = folder / f"invert-{steps}"
    edit(run, place, Invert(), n=n, sampling=Sampling(steps=steps), out=out)
    psnr = json.loads((out / "edit.json").read_text())["psnr"]
    return {"steps": steps, **cost(out), "lowest": min(psnr), "mean": sum(psnr) / len(psnr)}


def interpolation(run: str, place: str, folder: Path) -> list[dict[str, Any]]:
    """The largest step of all the way in 33 frames; then of the part between the two neighbours
    that differed most in 17, and again, until they differ by less than a grey level. A jump would
    be left when float32 tells the noises of neighbours no longer apart."""
    found: list[dict[str, Any]] = []
    frames, part = 33, (0.0, 1.0)
    while not found or (found[-1]["largest"] >= 1 and found[-1]["share"] > 1e-7):
        task = Interpolate(frames=frames, part=part)
        out = edit(run, place, task, n=2, out=folder / f"between-{len(found)}")
        measured = json.loads((out / "edit.json").read_text())
        share = (part[1] - part[0]) / (frames - 1)
        found.append({"share": share, "part": part, "largest": measured["largest_step"]})
        frames, part = 17, tuple(measured["largest_at"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("pictures", help="a cache:split of held-out pictures")
    parser.add_argument("-n", type=int, default=64)
    words = parser.parse_args()
    # What `edit` says goes beside the JSON.
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
        run, place, n, folder = words.run, words.pictures, words.n, Path(name)
        found = {
            "inpainting": [seam(run, place, n, repeats, folder) for repeats in (1, 2, 5, 10)],
            "inversion (dB)": [inversion(run, place, n, k, folder) for k in (10, 18, 50, 100)],
            "interpolation": interpolation(run, place, folder),
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
