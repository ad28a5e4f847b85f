"""The ODE's solver against closed forms, and where it gives up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from safelight.diffusion.ode import solve
from safelight.errors import UserError

SPAN = torch.tensor([0.0, 2.0], dtype=torch.float64)
BEGIN = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_the_solution_is_as_exact_as_asked(tolerance: float) -> None:
    """dy/du = y cos(u) has the solution y(0) e^sin(u)."""
    found = solve(lambda u, y: y * u.cos(), BEGIN, SPAN, tolerance, "--tolerance")
    assert (found - BEGIN * math.exp(math.sin(2.0))).abs().max() < 10 * tolerance


def test_the_slope_is_asked_within_the_span_alone() -> None:
    asked = []

    def slope(u: Tensor, y: Tensor) -> Tensor:
        asked.append(float(u))
        return -y

    solve(slope, BEGIN, SPAN, 1e-4, "--tolerance")
    assert min(asked) >= 0
    assert max(asked) <= 2


@pytest.mark.parametrize(
    "slope",
    [
        lambda u, y: 1 / (1 - u).abs() ** 2 + 0 * y,  # steps become as small as u's last digit
        lambda u, y: (1e5 * u).sin() * 1e5 + 0 * y,  # and here too many
    ],
    ids=["underflow", "too many"],
)
def test_a_step_that_would_be_too_small_names_the_option(slope: object) -> None:
    with pytest.raises(UserError, match=r"no step that is small enough; take a larger --this$"):
        solve(slope, BEGIN, SPAN, 1e-6, "--this")


def test_other_assertions_stay_what_they_are() -> None:
    def broken(u: Tensor, y: Tensor) -> Tensor:
        raise AssertionError("a fault of ours")

    with pytest.raises(AssertionError, match="a fault of ours"):
        solve(broken, BEGIN, SPAN, 1e-3, "--tolerance")
