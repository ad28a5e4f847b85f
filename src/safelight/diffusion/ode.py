"""The solver of the probability-flow ODE, for samplers and for likelihoods."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torchdiffeq import odeint

from safelight.errors import UserError

MOST_STEPS = 1_000  # some ten are usual
# How torchdiffeq's assertions begin when it finds no step that is small enough.
NO_STEP = ("underflow in dt", "max_num_steps exceeded")


def root_mean_square(error: Tensor) -> Tensor:
    """Of each image's values, (b, ...) -> (b,)."""
    return error.flatten(1).square().mean(1).sqrt()


def solve(
    slope: Callable[[Tensor, Tensor], Tensor],
    begin: Tensor,
    span: Tensor,
    tolerance: float,
    option: str,
    size: Callable[[Tensor], Tensor] = root_mean_square,
) -> Tensor:
    """y at span[1], where dy/du = slope(u, y) and y is `begin` at span[0], (b, ...).

    The fifth-order method of Dormand and Prince with steps of its own size: each makes, by its own
    estimate, an error of at most `tolerance`. The worst image of the batch decides, so that none is
    less exact for its company.

    Args:
        span: (2,) float64; `slope` is asked at no u outside it.
        option: what sets the tolerance on the command line.
        size: of an error (b, ...), for each image (b,).

    Raises UserError where no step is small enough, since the tolerance is less than the rounding of
    the slope allows.
    """
    options = {
        "norm": lambda error: size(error).max(),
        # A solver that is free to step over the end asks for noise levels that the path lacks.
        "step_t": span[1:],
        "max_num_steps": MOST_STEPS,
    }
    try:
        end: Tensor = odeint(
            slope, begin, span, rtol=0.0, atol=tolerance, method="dopri5", options=options
        )[-1]
    except AssertionError as error:
        if not str(error).startswith(NO_STEP):
            raise
        raise UserError(
            "the solver of the probability-flow ODE found no step that is small enough; take a "
            f"larger {option}"
        ) from error
    return end
