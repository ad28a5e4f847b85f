"""What share of the processor's convolution peak a training step reaches.

    python benchmarks/peak.py SOURCE [--preset small] [--side 32] [--repeats 5] [--threads N]

SOURCE is a folder or zip of pictures, or a named set. In each turn, one after the other, in bf16
where the processor has it and in float32: 3x3 convolutions of wide shapes, forwards and backwards
with channels together in memory, the best of which is the peak; the convolutions of the preset's
network at its batch, each by itself, as often as a step has them; and whole training steps of our
trainer: pictures, noise, network, optimiser, averages. A step's arithmetic is that of its
convolutions and of its products of matrices within the network, both ways: three times that of the
way forwards, but for gradients that nobody asks for, such as that of the pictures. What the
optimiser multiplies is not counted.

Prints JSON: TFLOP/s, and their shares, each of one turn; medians over the turns and extremes. The
bar for a step's share of the peak: 0.55.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from growth import in_turns
from peers import Ours
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from safelight.config import Config
from safelight.data.cache import Cache
from safelight.machine import has_bf16, keep_memory
from safelight.presets import PRESETS
from safelight.training.devices import describe
from safelight.training.learner import Turn
from safelight.training.trainer import Trainer

BAR = 0.55
TYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
PEAK, OWN, STEP = "peak", "own convolutions", "step"


class Convolution(NamedTuple):
    """Its shapes; asked: whether anybody wants the gradient of what goes in."""

    batch: int
    inputs: int
    outputs: int
    height: int
    width: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    asked: bool = True

    @property
    def flops(self) -> int:
        """Both ways; a multiply-add counts as two."""
        places = self.batch
        for side in (self.height, self.width):
            places *= (side + 2 * self.padding - self.kernel) // self.stride + 1
        forwards = 2 * places * self.outputs * self.inputs * self.kernel**2
        return (3 if self.asked else 2) * forwards

    def work(self, kind: str) -> Callable[[], object]:
        """Forwards and backwards, in a precision."""
        how: Any = {"dtype": TYPES[kind]}
        x = torch.randn(self.batch, self.inputs, self.height, self.width, **how)
        weight = torch.randn(self.outputs, self.inputs, self.kernel, self.kernel, **how)
        x, weight = (each.to(memory_format=torch.channels_last) for each in (x, weight))
        taught = [weight.requires_grad_(), *([x.requires_grad_()] if self.asked else [])]

        def both() -> tuple[Tensor, ...]:
            y = F.conv2d(x, weight, stride=self.stride, padding=self.padding)
            return torch.autograd.grad(y, taught, y.detach())

        return both


WIDE = tuple(
    Convolution(batch, channels, channels, side, side)
    for batch, channels, side in (
        *((16, 256, 32), (64, 256, 16), (16, 512, 16), (64, 512, 16)),
        *((64, 128, 32), (64, 512, 8)),
    )
)


def trainer_of(cache: Cache, config: Config, threads: int, kind: str) -> Trainer:
    return Ours(cache, config, threads, kind).trainer


def once(trainer: Trainer) -> None:
    """A step's way forwards and back, whose gradients are thrown away."""
    batch, noise = next(trainer.batches.at(0, trainer.config.optimiser.batch))
    with trainer.autocast():
        loss = trainer.learner(batch, noise, Turn(trainer.learner.phases[0]))["loss"].mean()
    loss.backward()
    trainer.optimiser.zero_grad(set_to_none=True)


def arithmetic(trainer: Trainer) -> int:
    """Operations of a step's convolutions and products of matrices within the network."""
    with FlopCounterMode(display=False) as counter:
        once(trainer)
    return int(counter.get_total_flops())


def convolutions_of(trainer: Trainer) -> Counter[Convolution]:
    """Those of a step, and how many times it has each."""
    found: Counter[Convolution] = Counter()

    def seen(layer: nn.Conv2d, given: tuple[Tensor]) -> None:
        (x,), weight = given, layer.weight
        assert (layer.groups, layer.dilation) == (1, (1, 1))
        kernel, stride, padding = (
            size[0] for size in (weight.shape[2:], layer.stride, layer.padding)
        )
        shape = (len(x), x.shape[1], len(weight), *x.shape[2:])
        found[Convolution(*shape, kernel, stride, padding, x.requires_grad)] += 1

    layers = [each for each in trainer.learner.model.modules() if isinstance(each, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(seen) for layer in layers]
    once(trainer)
    for hook in hooks:
        hook.remove()
    return found


def measured(
    trainer: Trainer, kind: str, repeats: int, wide: Sequence[Convolution] = WIDE
) -> dict[str, Any]:
    """All of one precision."""
    flops, own = arithmetic(trainer), convolutions_of(trainer)
    works: dict[Convolution | str, Callable[[], object]] = {
        each: each.work(kind) for each in {*wide, *own}
    }
    works[STEP] = trainer.advance
    seconds = in_turns(works, repeats)
    together, found = sum(each.flops * n for each, n in own.items()), []
    for turn in range(repeats):
        took = {name: times[turn] for name, times in seconds.items()}
        peak = max(each.flops / took[each] for each in wide)
        owned = together / sum(took[each] * n for each, n in own.items())
        found.append({PEAK: peak, OWN: owned, STEP: flops / took[STEP]})
    widest = max(wide, key=lambda each: each.flops / min(seconds[each]))
    return {
        "GFLOP of a step": round(flops / 1e9, 3),
        "of its convolutions": round(together / 1e9, 3),
        "best shape": f"{widest.batch} x {widest.inputs} x {widest.height} x {widest.width}",
        "TFLOP/s": {name: told([turn[name] / 1e12 for turn in found]) for name in found[0]},
        "shares": {
            f"{part}/{whole}": told([turn[part] / turn[whole] for turn in found])
            for part, whole in ((STEP, PEAK), (STEP, OWN), (OWN, PEAK))
        },
    }


def told(values: Sequence[float]) -> dict[str, float]:
    figures: Mapping[str, float] = {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
    }
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = [name for name, config in PRESETS.items() if config.family == "diffusion"]
    parser.add_argument("source")
    parser.add_argument("--preset", choices=usual, default="small", metavar="PRESET")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    from safelight import prepare

    keep_memory()  # as `train` does
    torch.set_num_threads(options.threads)
    cpu, config = torch.device("cpu"), PRESETS[options.preset]
    result: dict[str, Any] = {
        "device": describe(cpu),
        "preset": options.preset,
        "side": options.side,
        "batch": config.optimiser.batch,
        "bar": {f"{STEP}/{PEAK}": BAR},
    }
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
        how: Any = {"size": options.side, "split": "100/0/0", "fraction": "5%"}
        cache = prepare(options.source, out=Path(scratch) / "cache", **how)
        for kind in TYPES if has_bf16(cpu) else ["float32"]:
            trainer = trainer_of(cache, config, options.threads, kind)
            result[kind] = measured(trainer, kind, options.repeats)
            reached = result[kind]["shares"][f"{STEP}/{PEAK}"]["median"] >= BAR
            result[kind]["bar is reached"] = reached
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
