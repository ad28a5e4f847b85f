"""The edits themselves: material and a model -> pictures."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from safelight.console import progress
from safelight.editing.material import Material
from safelight.editing.tasks import ImageToImage, Inpaint, Interpolate, Invert, SuperResolution
from safelight.errors import UserError
from safelight.images import dequantise, pieces, psnr
from safelight.samplers import edit
from safelight.samplers.edit import Arc, Between, Known, Pooled
from safelight.samplers.guidance import Tally
from safelight.samplers.steps import Denoise, State
from safelight.samplers.trajectory import last, trajectory
from safelight.training.source import DiffusionSource
from safelight.training.telling import Way

HOLE = 128  # the level in which the sheet shows what is to be drawn anew
USUAL_STRENGTH = 0.5
# The model of images of these classes, (b,) int64 or None; false: its guesses unclipped.
Ask = Callable[[Tensor | None, bool], Denoise]
Draw = Callable[[slice, Ask], Tensor]


@dataclass(frozen=True)
class Edited:
    """What came of it.

    images: (n, c, h, w) uint8. rows: of the sheet, before and after. figures: what was measured.
    arrays: further results, to be kept as numbers.
    """

    images: Tensor
    rows: Sequence[tuple[str, Tensor]]
    figures: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)


def inpaint(task: Inpaint, source: DiffusionSource, given: Material) -> Edited:
    assert given.mask is not None
    x, keep = dequantise(given.images).to(source.device), given.mask.to(source.device)

    def draw(part: slice, ask: Ask) -> Tensor:
        return _restored(source, given, part, ask, Known(x[part], keep), task.repeats)

    drawn = source.pixels(_in_pieces(source, len(x), draw))
    images = torch.where(given.mask, given.images, drawn)
    holes = torch.where(given.mask, given.images, torch.tensor(HOLE, dtype=torch.uint8))
    return Edited(images, [("given", holes), ("drawn", images)])


def super_resolution(task: SuperResolution, source: DiffusionSource, given: Material) -> Edited:
    y = dequantise(given.images).to(source.device)

    def draw(part: slice, ask: Ask) -> Tensor:
        restored = _restored(source, given, part, ask, Pooled(y[part]), task.repeats)
        return edit.fitted(restored, y[part])

    images = source.pixels(_in_pieces(source, len(y), draw))
    large = edit.repeated(given.images, images.shape[-1] // y.shape[-1])
    return Edited(images, [("given", large), ("drawn", images)])


def _restored(
    source: DiffusionSource,
    given: Material,
    part: slice,
    ask: Ask,
    onto: Callable[[Tensor], Tensor],
    repeats: int,
) -> Tensor:
    how, noise = source.drawing, source.noise(given.seeds[part])
    denoise, eps = ask(given.classes(part), True), noise.normal(*source.shape)
    return edit.restore(how.step, denoise, how.path, how.times, onto, eps, noise, repeats)


def image_to_image(task: ImageToImage, source: DiffusionSource, given: Material) -> Edited:
    level = beginning(task)
    x, how = dequantise(given.images).to(source.device), source.drawing

    def draw(part: slice, ask: Ask) -> Tensor:
        denoise, noise = ask(given.classes(part), True), source.noise(given.seeds[part])
        return edit.redraw(how.step, denoise, how.path, how.times, x[part], level, noise)

    images = source.pixels(_in_pieces(source, len(x), draw))
    strength = level / (1 + level) if level < math.inf else 1.0
    rows = [("given", given.images), ("drawn", images)]
    return Edited(images, rows, {"strength": round(strength, 4)})


def beginning(task: ImageToImage) -> float:
    """The noise level to begin at, sigma / alpha = strength / (1 - strength)."""
    if task.level is not None:
        if task.strength is not None:
            raise UserError("--strength and --level say the same; give one of them")
        return task.level
    strength = USUAL_STRENGTH if task.strength is None else task.strength
    return strength / (1 - strength) if strength < 1 else math.inf


def invert(task: Invert, source: DiffusionSource, given: Material) -> Edited:
    x, how = dequantise(given.images).to(source.device), source.drawing

    def draw(part: slice, ask: Ask) -> Tensor:
        # Unclipped on both ways: clipping is not the model's ODE, and forgets.
        denoise = ask(given.classes(part), False)
        noise = _inverted(source, given, part, denoise)
        back = edit.develop(denoise, how.path, how.times, noise)
        return torch.stack([noise.x, back], dim=1)

    top, back = _in_pieces(source, len(x), draw).unbind(1)
    images = source.pixels(back)
    ratios = psnr(back.clamp(-1, 1), x).tolist()
    t = edit.rising(how.path, how.times)[-1]
    eps = top / (how.path.alpha(t) ** 2 + how.path.sigma(t) ** 2).sqrt().to(top)
    rows = [("given", given.images), ("its noise", source.pixels(eps / 3)), ("back", images)]
    figures = {"psnr": [round(ratio, 2) for ratio in ratios], "lowest_psnr": round(min(ratios), 2)}
    return Edited(images, rows, figures, {"x_t": top.cpu(), "t": t.cpu()})


def interpolate(task: Interpolate, source: DiffusionSource, given: Material) -> Edited:
    low, high = task.part or (0.0, 1.0)
    share = torch.linspace(low, high, task.frames, dtype=torch.float64, device=source.device)
    draw = _between_seeds if task.seeds else _between_pictures
    images = source.pixels(_in_pieces(source, len(share), draw(source, given, share)))
    steps = (images[1:].double() - images[:-1].double()).square().flatten(1).mean(1).sqrt()
    found = [round(step, 2) for step in steps.tolist()]
    most = found.index(max(found))
    figures = {
        "steps": found,
        "largest_step": found[most],
        "largest_at": share[most : most + 2].tolist(),
    }
    return Edited(images, [(f"{given.names[0]} to {given.names[1]}", images)], figures)


def _between_seeds(source: DiffusionSource, given: Material, share: Tensor) -> Draw:
    how = source.drawing

    def draw(part: slice, ask: Ask) -> Tensor:
        n = len(share[part])
        a, b = (source.noise([seed] * n) for seed in given.seeds)
        noise = Arc(a, b, share[part])
        eps, denoise = noise.normal(*source.shape), _mixed(ask, given, share[part])
        return last(trajectory(how.step, denoise, how.path, how.times, eps, noise))

    return draw


def _between_pictures(source: DiffusionSource, given: Material, share: Tensor) -> Draw:
    how = source.drawing
    parts = [
        _inverted(source, given, part, source.denoise(given.classes(part), clip=False))
        for part in pieces(2, source.micro_batch)
    ]
    ends, t = torch.cat([state.x for state in parts]), parts[0].t

    def draw(part: slice, ask: Ask) -> Tensor:
        a, b = (end.expand(len(share[part]), *end.shape) for end in ends)
        begun = State(edit.slerp(a, b, share[part]), t)
        denoise = _mixed(ask, given, share[part], clip=False)
        return edit.develop(denoise, how.path, how.times, begun)

    return draw


def _inverted(source: DiffusionSource, given: Material, part: slice, denoise: Denoise) -> State:
    how, x = source.drawing, dequantise(given.images[part]).to(source.device)
    eps = source.noise(given.seeds[part]).normal(*source.shape)
    return edit.invert(denoise, how.path, how.times, x, eps)


def _mixed(ask: Ask, given: Material, share: Tensor, clip: bool = True) -> Denoise:
    """The model of the ends' class; between two classes, of what each says in the share's parts."""
    if given.labels is None:
        return ask(None, clip)
    one, other = (ask(label.expand(len(share)), clip) for label in given.labels)
    same = given.labels[0] == given.labels[1]
    return one if same else Between(one, other, share.view(-1, 1, 1, 1))


def _in_pieces(source: DiffusionSource, count: int, draw: Draw) -> Tensor:
    """Draw at most `micro_batch` images at a time."""
    parts, calls = [], _calls(source, draw)
    with progress("editing", count) as advance:
        for part in pieces(count, source.micro_batch):
            way = Way(part.stop - part.start, source.drawing, calls, advance)
            parts.append(draw(part, functools.partial(source.denoise, hear=way.hear)))
            way.ended()
    return torch.cat(parts)


def _calls(source: DiffusionSource, draw: Draw) -> int | None:
    """Of the network for each image: one is drawn without it. None where the sampler decides."""
    how = source.drawing
    if how.evaluations is None:
        return None
    tally = Tally(how.guidance, how.path)
    draw(slice(0, 1), lambda labels, clip: tally)
    return tally.calls
