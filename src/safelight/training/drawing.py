"""What a `Sampling` comes to for one model: its step, its times and its guidance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from safelight.config import Sampling
from safelight.diffusion.path import Path
from safelight.errors import UserError, lookup
from safelight.samplers.grids import EARLIEST, GRIDS, HIGHEST, LOWEST, NOISE_GRIDS
from safelight.samplers.guidance import Guidance, network_calls
from safelight.samplers.steps import SAMPLERS, USUAL, Step, make_step

USUAL_GUIDANCE = 1.5
REACHED = 1.05  # times --lowest: nobody sees so much, and 1/n seldom falls on it exactly


@dataclass(frozen=True)
class Drawing:
    """How images are drawn; `sampling` says the same in the user's words.

    `times` are (n + 1,) float64, falling from noise to 0. They stay on the CPU: a step reads the
    path's coefficients as numbers.
    """

    sampling: Sampling
    step: Step
    path: Path
    grid: str
    times: Tensor
    guidance: Guidance

    @classmethod
    def of(
        cls, sampling: Sampling, path: Path, lacking: str = "", lowest: float = LOWEST
    ) -> Drawing:
        """lacking: why there is nothing to be guided away from; empty where there is.

        lowest: the noise level below which the model was hardly trained, and what it leaves of
        the noise would stay in the image.
        """
        guidance = _guidance(sampling, lacking)
        sampler = sampling.sampler or USUAL
        row = lookup(SAMPLERS, sampler, "sampler")
        grid = sampling.grid or row.usual_grid(path)
        steps = sampling.steps or row.usual_steps(path)
        spacing = lookup(GRIDS, grid, "grid")
        low = _end(sampling.lowest, max(LOWEST, lowest), path, grid)
        times = spacing(path, steps, low)
        if sampling.lowest is not None:
            _require_reached(low, path, times, grid)
        return cls(
            sampling=sampling.model_copy(update={"sampler": sampler, "guidance": guidance.weight}),
            step=make_step(sampler, sampling.options),
            path=path,
            grid=grid,
            times=times,
            guidance=guidance,
        )

    @property
    def steps(self) -> int:
        return len(self.times) - 1

    @property
    def evaluations(self) -> int | None:
        """Network calls for each image; None where the sampler decides."""
        return network_calls(self.step, self.path, self.times, self.guidance)

    @property
    def lowest(self) -> float | None:
        """The last noise level before the image; None where it is noise alone."""
        with torch.no_grad():  # of a learned path
            level = float(self.path.noise_level(self.times[-2]))
        return level if math.isfinite(level) else None

    def record(self) -> dict[str, Any]:
        """The options, and what they came to."""
        lowest = None if self.lowest is None else float(f"{self.lowest:.4g}")
        came_to = {"steps": self.steps, "grid": self.grid, "lowest": lowest}
        return {**self.sampling.model_dump(), **came_to}

    def describe(self) -> str:
        steps = f"{self.steps} step{'s' * (self.steps > 1)}"
        end = "" if self.lowest is None else f" down to {self.lowest:.2g}"
        options = [f", {name.replace('_', ' ')} {x}" for name, x in self.sampling.options.items()]
        own = "".join(options)
        fast = "" if self.sampling.precision == "float32" else f", in {self.sampling.precision}"
        return f"{self.sampling.sampler}{own}, {steps} ({self.grid}{end}){self._guided()}{fast}"

    def _guided(self) -> str:
        guidance = self.guidance
        if guidance.weight == 1:
            return ""
        low, high = guidance.interval
        between = "" if guidance.always else f" at noise levels {low:g} to {high:g}"
        rescale = f" rescaled by {guidance.rescale:g}" if guidance.rescale else ""
        weaker = f" away from {self.sampling.weaker}" if self.sampling.weaker else ""
        return f", guidance {guidance.weight:g}{between}{rescale}{weaker}"


def _end(given: float | None, trained: float, path: Path, grid: str) -> float:
    """The noise level to end at: as given, or where training did.

    Raises UserError where the grid would not heed it, or nothing would be left.
    """
    if path.levels is not None and grid not in NOISE_GRIDS:
        if given is None:
            return trained  # not heeded either
        raise UserError(
            f"the grid {grid} counts the path's {path.levels} steps; leave --lowest out, or use "
            f"--grid {' or '.join(NOISE_GRIDS)}"
        )
    with torch.no_grad():  # of a learned path
        highest = min(HIGHEST, float(path.noise_level(torch.ones((), dtype=torch.float64))))
    if given is not None and given >= highest:
        raise UserError(
            f"--lowest is {given:g}; it has to be less than {highest:g}, the noise level that "
            "sampling begins at"
        )
    if given is None and trained >= highest:
        raise UserError(
            f"this model hardly trains below a noise level of {trained:.3g}, and sampling begins "
            f"at {highest:g}; train with other --diffusion.times, or sample with --lowest"
        )
    return trained if given is None else given


def _require_reached(lowest: float, path: Path, times: Tensor, grid: str) -> None:
    """Raises UserError where the grid ends above it, and above the least noise of the path."""
    last = times[-2].new_tensor([EARLIEST, float(times[-2])])
    least, reached = path.noise_level(last).tolist()
    if reached > REACHED * max(lowest, least):
        others = "" if grid in NOISE_GRIDS else f", or --grid {' or '.join(NOISE_GRIDS)}"
        raise UserError(
            f"{len(times) - 1} steps of the grid {grid} end at the noise level {reached:.3g} and "
            f"not at --lowest {lowest:g}; use more --steps{others}"
        )


def _guidance(sampling: Sampling, lacking: str) -> Guidance:
    weight = sampling.guidance
    if isinstance(weight, tuple):
        raise UserError(
            "several values of --guidance are a sweep, which only `safelight sample` draws; "
            "give one value here"
        )
    if weight is None:
        weight = 1.0 if lacking else USUAL_GUIDANCE
    interval = sampling.guidance_interval or (0.0, math.inf)
    guidance = Guidance(weight, interval, sampling.guidance_rescale)
    if guidance != Guidance() and lacking:
        raise UserError(
            f"{lacking}; leave --guidance at 1, or name a --weaker checkpoint to be guided away "
            "from"
        )
    if weight == 1 and (guidance != Guidance() or sampling.weaker):
        raise UserError(
            "--guidance-interval, --guidance-rescale and --weaker change guidance, and at "
            "--guidance 1 there is none; leave them out, or give another weight"
        )
    return guidance
