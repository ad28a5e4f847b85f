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


@dataclass(frozen=True)
class Drawing:
    """How images are drawn; `sampling` says the same in the user's words, with nothing left open.

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
        low = _given_lowest(sampling.lowest, path, grid) or max(LOWEST, lowest)
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

    def record(self) -> dict[str, Any]:
        """The options, and what they came to."""
        lowest = float(self.path.noise_level(self.times[-2]))
        came_to = {"steps": self.steps, "grid": self.grid, "lowest": float(f"{lowest:.4g}")}
        return {**self.sampling.model_dump(), **came_to}

    def describe(self) -> str:
        lowest = self.sampling.lowest
        grid = f"{self.grid} grid" + ("" if lowest is None else f" down to {lowest:g}")
        return f"{self.sampling.sampler}, {self.steps} steps ({grid}){self._guided()}"

    def _guided(self) -> str:
        guidance = self.guidance
        if guidance.weight == 1:
            return ""
        low, high = guidance.interval
        between = "" if guidance.always else f" at noise levels {low:g} to {high:g}"
        rescale = f" rescaled by {guidance.rescale:g}" if guidance.rescale else ""
        weaker = f" away from {self.sampling.weaker}" if self.sampling.weaker else ""
        return f", guidance {guidance.weight:g}{between}{rescale}{weaker}"


def _given_lowest(lowest: float | None, path: Path, grid: str) -> float | None:
    """Raises UserError where it would change nothing, or nothing would be left."""
    if lowest is None:
        return None
    if path.levels is not None and grid not in NOISE_GRIDS:
        raise UserError(
            f"the grid {grid} counts the path's {path.levels} steps; leave --lowest out, or use "
            f"--grid {' or '.join(NOISE_GRIDS)}"
        )
    highest = min(HIGHEST, float(path.noise_level(torch.ones((), dtype=torch.float64))))
    if lowest >= highest:
        raise UserError(
            f"--lowest is {lowest:g}; it has to be less than {highest:g}, the noise level that "
            "sampling begins at"
        )
    return lowest


def _require_reached(lowest: float, path: Path, times: Tensor, grid: str) -> None:
    """Raises UserError where the grid ends above it, and above the least noise of the path."""
    last = times[-2].new_tensor([EARLIEST, float(times[-2])])
    least, reached = path.noise_level(last).tolist()
    if reached > 1.01 * max(lowest, least):
        raise UserError(
            f"{len(times) - 1} steps of the grid {grid} end at the noise level {reached:.3g} and "
            f"not at --lowest {lowest:g}; use more --steps, or --grid {' or '.join(NOISE_GRIDS)}"
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
