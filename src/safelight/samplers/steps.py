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
    """A named sampler: its step, whose fields are its options, and its usual grid and length."""

    make: Callable[..., Step]
    grids: tuple[str, ...]  # the grid used, first for a path of T steps, last for a continuous one
    steps: int

    def usual_grid(self, path: Path) -> str:
        """A row of `GRIDS`."""
        return self.grids[0 if path.levels is not None else -1]

    def usual_steps(self, path: Path) -> int:
        """No more than the path has."""
        return min(self.steps, path.levels or self.steps)


SAMPLERS: dict[str, SamplerRow] = {
    "heun": SamplerRow(Heun, ("karras",), 18),
    "euler": SamplerRow(Euler, ("karras",), 50),
    "dpm++": SamplerRow(DPMSolver, ("logsnr",), 20),
    "unipc": SamplerRow(UniPC, ("logsnr",), 20),
    "adaptive": SamplerRow(Adaptive, ("logsnr",), 2),
    "ddim": SamplerRow(DDIM, ("trailing", "karras"), 50),
    "ddpm": SamplerRow(DDPM, ("trailing", "karras"), 1000),
    "langevin": SamplerRow(AnnealedLangevin, ("logsnr",), 232),
    "predictor-corrector": SamplerRow(PredictorCorrector, ("trailing", "logsnr"), 1000),
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
