"""Which weights of a checkpoint a model has: `--weights` ema, raw, or the width of an average."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from safelight.errors import UserError
from safelight.files import sha256
from safelight.training import snapshots
from safelight.training.checkpoint import EMA, RAW, Checkpoint
from safelight.training.ema import WIDE, kept
from safelight.training.posthoc import Kept, mixtures

MOST = 0.01  # expected error of an average that is made, see `posthoc.Mixture`
TOLD = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, WIDE)


def settled(word: str, usual: float) -> str:
    """The one word for these weights: ema, raw, or a width other than `usual`, which is ema's.

    Raises UserError where it is none of these.
    """
    if word in (EMA, RAW):
        return word
    try:
        width = float(word)
    except ValueError:
        width = math.nan
    if not 0 < width <= WIDE:
        raise UserError(
            f"--weights {word} is none of ema, raw or the width of an average, which lies above 0 "
            f"and is at most {WIDE:g}, such as 0.1"
        )
    return EMA if width == usual else f"{width:.9g}"


def called(word: str) -> str:
    """A settled word, in the name of a source of images."""
    return word if word in (EMA, RAW) else f"ema {word}"


@dataclass(frozen=True)
class Average:
    """How the average of a width is made: what it takes of each average that was kept.

    own: of the checkpoint's, by their names; others: of snapshots, by their file and their name.
    hashes: of the checkpoint's, in their order.
    """

    checkpoint: Checkpoint
    own: Mapping[str, float]
    hashes: Sequence[str]
    others: Mapping[tuple[Path, str], float]

    def weights(self) -> dict[str, Tensor]:
        """Added up in float64; what is no number (a count of batches) is as after the last step."""
        found = self.checkpoint.weights(EMA)
        numbers = {name: value for name, value in found.items() if value.is_floating_point()}
        total = {name: torch.zeros_like(v, dtype=torch.float64) for name, v in numbers.items()}
        for name, share in self.own.items():
            _add(total, self.checkpoint.weights(name), share)
        for (file, name), share in self.others.items():
            _add(total, snapshots.read(file, name), share)
        return {**found, **{name: total[name].to(value.dtype) for name, value in numbers.items()}}

    def digest(self, width: str) -> str:
        """Of the width and all that it is made of. Not of the sums: their last bits differ from
        machine to machine."""
        others = [sha256(file) for file in dict.fromkeys(file for file, _ in self.others)]
        return hashlib.sha256(" ".join([width, *self.hashes, *others]).encode()).hexdigest()


def average(folder: Path, chosen: Checkpoint, word: str, usual: float) -> Average:
    """How the weights are made whose settled word is a width.

    folder: of the snapshots. usual: the width of "ema". Raises UserError where they can't be had to
    within MOST.
    """
    width, state = float(word), chosen.state()  # checks that no file has changed
    own = {name: w for name, w in kept(usual).items() if f"{name}.safetensors" in state.files}
    hashes = [state.digest(name) for name in own]
    if width in own.values():
        return Average(chosen, {name: 1.0 for name, w in own.items() if w == width}, hashes, {})
    before = {step: file for step, file in snapshots.found(folder).items() if step < chosen.step}
    others = {
        (file, name): Kept(w, step) for step, file in before.items() for name, w in own.items()
    }
    basis = [*(Kept(w, chosen.step) for w in own.values()), *others.values()]
    made, *rest = mixtures(basis, [width, *TOLD], chosen.step)
    if made.error > MOST:
        near = [f"{w:g}" for w, each in zip(TOLD, rest, strict=True) if each.error <= MOST]
        can = sorted({*near, *(f"{w:g}" for w in own.values())}, key=float)
        raise UserError(
            f"the average of width {word} can't be made at {chosen.path}: "
            f"{_lacking(own, before, folder)}; choose --weights {', '.join(can)} or raw"
        )
    mine, theirs = made.shares[: len(own)], made.shares[len(own) :]
    return Average(
        chosen, dict(zip(own, mine, strict=True)), hashes, dict(zip(others, theirs, strict=True))
    )


def _lacking(own: Mapping[str, float], before: Mapping[int, Path], folder: Path) -> str:
    if len(own) == 1:
        return "an earlier version kept one average, and nothing to make others of"
    if not before:
        return f"there are no snapshots of earlier steps in {folder}"
    return f"the snapshots of {len(before)} earlier steps in {folder} do not tell it"


def _add(total: Mapping[str, Tensor], weights: Mapping[str, Tensor], share: float) -> None:
    for name, value in total.items():
        value.add_(weights[name], alpha=share)
