"""The samplers by name. A solver step goes from t to s < t and sees `denoise`, never a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from safelight.diffusion.path import Path
from safelight.errors import UserError, lookup
from safelight.samplers.adaptive import Adaptive
from safelight.samplers.ancestral import DDIM, DDPM
from safelight.samplers.edm import Euler, Heun
from safelight.samplers.langevin import AnnealedLangevin, PredictorCorrector
from safelight.samplers.multistep import DPMSolver, UniPC
from safelight.samplers.state import Denoise, Evaluation, State, Step

__all__ = [
    "DDIM",
    "DDPM",
    "SAMPLERS",
    "USUAL",
    "Adaptive",
    "AnnealedLangevin",
    "DPMSolver",
    "Denoise",
    "Euler",
    "Evaluation",
    "Heun",
    "PredictorCorrector",
    "SamplerRow",
    "State",
    "Step",
    "UniPC",
    "make_step",
]


@dataclass(frozen=True)
class SamplerRow:
    """A named sampler: its step, whose fields are its options, and its usual length and grid."""

    make: Callable[..., Step]
    steps: int
    grid: str
    counted: str | None = None  # the grid on a path of T steps, where it is another

    def usual_grid(self, path: Path) -> str:
        """A row of `GRIDS`."""
        return self.grid if path.levels is None else self.counted or self.grid

    def usual_steps(self, path: Path) -> int:
        """No more than the path has."""
        return min(self.steps, path.levels or self.steps)


SAMPLERS: dict[str, SamplerRow] = {
    "heun": SamplerRow(Heun, 18, "karras"),
    "euler": SamplerRow(Euler, 50, "karras"),
    "dpm++": SamplerRow(DPMSolver, 20, "logsnr"),
    "unipc": SamplerRow(UniPC, 20, "logsnr"),
    "adaptive": SamplerRow(Adaptive, 2, "logsnr"),
    "ddim": SamplerRow(DDIM, 50, "karras", counted="trailing"),
    "ddpm": SamplerRow(DDPM, 1000, "karras", counted="trailing"),
    "langevin": SamplerRow(AnnealedLangevin, 232, "logsnr"),
    "predictor-corrector": SamplerRow(PredictorCorrector, 1000, "logsnr", counted="trailing"),
}

USUAL = "dpm++"  # of few steps the best at the same number of network calls


def make_step(sampler: str, options: Mapping[str, Any]) -> Step:
    """The step of a row of SAMPLERS; raises UserError for an option that it does not have."""
    row = lookup(SAMPLERS, sampler, "sampler")
    known = [field.name for field in fields(row.make)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            name = option.replace("_", "-")
            raise UserError(f"{sampler} has no {name}; leave --{name} out")
    return row.make(**options)
