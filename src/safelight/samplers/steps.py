"""The samplers by name. A solver step goes from t to s < t and sees `denoise`, never a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from safelight.diffusion.path import FLOW, Path
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
    # On the flow path. Its networks seldom see noise as low as the levels of the other grids, and
    # what they leave of it is what a judge sees first: docs/measurements.md.
    flow: str | None = None

    def usual_grid(self, path: Path) -> str:
        """A row of `GRIDS`."""
        other = None
        if path.levels is not None:
            other = self.counted
        elif path.kind is FLOW:
            other = self.flow
        return other or self.grid

    def usual_steps(self, path: Path) -> int:
        """No more than the path has."""
        return min(self.steps, path.levels or self.steps)


SAMPLERS: dict[str, SamplerRow] = {
    "heun": SamplerRow(Heun, 18, "karras", flow="uniform"),
    "euler": SamplerRow(Euler, 50, "karras", flow="uniform"),
    "dpm++": SamplerRow(DPMSolver, 20, "logsnr", flow="uniform"),
    "unipc": SamplerRow(UniPC, 20, "logsnr", flow="uniform"),
    "adaptive": SamplerRow(Adaptive, 2, "logsnr"),
    "ddim": SamplerRow(DDIM, 50, "karras", counted="trailing", flow="uniform"),
    "ddpm": SamplerRow(DDPM, 1000, "karras", counted="trailing", flow="uniform"),
    "langevin": SamplerRow(AnnealedLangevin, 232, "logsnr"),
    "predictor-corrector": SamplerRow(
        PredictorCorrector, 1000, "logsnr", counted="trailing", flow="uniform"
    ),
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
