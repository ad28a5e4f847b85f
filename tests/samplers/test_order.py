"""The error of a whole trajectory falls with the declared power of the step size."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import Path
from safelight.errors import UserError
from safelight.samplers.adaptive import Adaptive
from safelight.samplers.ancestral import DDIM, DDPM
from safelight.samplers.edm import Euler, Heun
from safelight.samplers.multistep import DPMSolver, UniPC
from safelight.samplers.state import Evaluation, State, Step
from safelight.samplers.steps import SAMPLERS
from safelight.samplers.trajectory import walk
from tests.samplers.worlds import PATHS, Draws, arrive, mixture, moments, path_of, times_at

STEPS = [
    DDIM(),
    Euler(),
    Heun(),
    DPMSolver(),
    UniPC(1),
    UniPC(2),
    UniPC(3),
]
STOCHASTIC = [
    DDPM(),
    DDPM("large"),
    DDIM(0.5),
    DDIM(1.0),
    DPMSolver(0.5),
    DPMSolver(1.0),
]
BEFORE, START, END = math.log(6.0), math.log(2.0), math.log(0.2)  # of sigma / alpha
IMAGES = 8


@functools.cache
def solution(n: int) -> Tensor:
    """z at each u of `uneven`, (n + 4, b, 1, 2, 2), of dz/du = z - D by scipy."""
    path = path_of("exploding")
    oracle = mixture(path)
    z = 6 * torch.randn(IMAGES, 1, 2, 2, generator=torch.Generator().manual_seed(3)).double()

    def slope(u: float, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        z = torch.from_numpy(flat).reshape(IMAGES, 1, 2, 2)
        return (z - oracle(z, times_at(path, torch.tensor(u)))).flatten().numpy()

    found = solve_ivp(
        slope, (BEFORE, END), z.flatten().numpy(), "DOP853", uneven(n), rtol=1e-12, atol=1e-12
    )
    return torch.from_numpy(found.y.T.copy()).reshape(-1, IMAGES, 1, 2, 2)


def uneven(n: int) -> NDArray[np.float64]:
    """Steps whose sizes take turns, 1 : 2, with three of them before START."""
    sizes = np.tile([1.0, 2.0], n // 2 + 2)[: n + 3]
    places = np.concatenate([[0.0], sizes.cumsum()]) - sizes[:3].sum()
    return START + (END - START) * places / places[-1]


def error(step: Step, path: Path, n: int) -> float:
    """At END, with exact guesses before START as the past."""
    u = uneven(n)
    exact = solution(n)
    times = times_at(path, torch.from_numpy(u))
    alpha = path.alpha(times)
    oracle = mixture(path)
    seen = [
        Evaluation(alpha[i] * exact[i], times[i], oracle(alpha[i] * exact[i], times[i]))
        for i in (2, 1, 0)
    ]
    state = State(alpha[3] * exact[3], times[3], tuple(seen))
    *_, last = walk(step, oracle, path, state, times[4:], Draws(IMAGES))
    return float((last.x / alpha[-1] - exact[-1]).abs().max())


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_order_of_convergence(step: Step, kind: str) -> None:
    """X8, F4: the slope of log error against log step size, on a mixture, in float64."""
    counts = np.array([64, 128, 256])
    errors = [error(step, path_of(kind), int(n)) for n in counts]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - step.order) < 0.2


@pytest.mark.parametrize("step", STEPS[:3], ids=str)
def test_order_from_pure_noise(step: Step) -> None:
    """From alpha = 0, where sigma / alpha is infinite: even steps in t on the flow path."""
    path = path_of("flow")
    oracle = GaussianOracle(path, torch.tensor(0.2).double(), torch.tensor(0.5).double())
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(9, 1, 1, 1)
    counts, errors = np.array([32, 64, 128]), []
    for n in counts:
        times = torch.linspace(1, 0.2, int(n) + 1, dtype=torch.float64)
        exact = oracle.flow(x, times[0], times[-1])
        errors.append(float((arrive(step, oracle, path, times, x) - exact).abs().max()))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - step.order) < 0.2


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("step", STOCHASTIC, ids=str)
def test_order_of_the_covariance(step: Step, kind: str) -> None:
    """X8, F4: of the deviation of normal images, computed exactly, from the level 5 to 0.2."""
    path, std = path_of(kind), 0.2
    oracle = GaussianOracle(path, torch.tensor(0.0).double(), torch.tensor(std).double())
    counts, errors = np.array([64, 128, 256]), []
    for n in counts:
        times = times_at(path, torch.linspace(math.log(5), math.log(0.2), int(n) + 1))
        true = (path.alpha(times) ** 2 * std**2 + path.sigma(times) ** 2).sqrt()
        _, found = moments(step, oracle, path, times, 0.0, float(true[0]))
        errors.append(abs(found - float(true[-1])))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - step.order) < 0.2


def test_every_declared_order_is_tested() -> None:
    """Of all samplers as they are unless told otherwise, and of those that may have none."""
    declared = {type(step) for row in SAMPLERS.values() if (step := row.make()).order is not None}
    assert declared == {type(step) for step in (*STEPS, *STOCHASTIC)}
    assert Euler(0.1).order is None
    assert Heun(0.1).order is None


@pytest.mark.parametrize("kind", PATHS)
def test_adaptive_keeps_its_tolerance(kind: str) -> None:
    """X8: the error of the whole way is of the size of the tolerance, and falls with it."""
    path, n = path_of(kind), 64
    times = times_at(path, torch.from_numpy(uneven(n)))[[3, -1]]
    z = solution(n)[[3, -1]]
    alpha = path.alpha(times)
    errors = []
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
        found = arrive(Adaptive(tolerance), mixture(path), path, times, alpha[0] * z[0])
        errors.append(float((found / alpha[1] - z[1]).abs().max()) / tolerance)
    assert max(errors) < 5


def test_adaptive_is_as_exact_in_company() -> None:
    """The worst image decides, however many easy ones stand around it."""
    path, n = path_of("exploding"), 64
    times = times_at(path, torch.from_numpy(uneven(n)))[[3, -1]]
    z = solution(n)[[3, -1]]
    oracle = mixture(path)
    alone = arrive(Adaptive(1e-4), oracle, path, times, z[0])
    easy = 50 + torch.zeros(64, 1, 2, 2, dtype=torch.float64)
    crowd = arrive(Adaptive(1e-4), oracle, path, times, torch.cat([z[0], easy]))
    assert (crowd[:IMAGES] - z[1]).abs().max() < 5e-4
    assert (crowd[:IMAGES] - alone).abs().max() < 5e-4


def test_adaptive_says_where_the_model_fails() -> None:
    """The level of the first guess that is not finite: no tolerance would help."""
    path = path_of("flow")
    oracle = mixture(path)

    def broken(x: Tensor, t: Tensor) -> Tensor:
        return oracle(x, t) * (math.nan if t <= 0.5 else 1.0)

    times = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)
    with pytest.raises(UserError, match="at the noise level 1; take an earlier --checkpoint"):
        arrive(Adaptive(), broken, path, times, torch.ones(1, 1, 2, 2))


def test_adaptive_says_where_its_tolerance_fails() -> None:
    path = path_of("flow")
    oracle = mixture(path)

    def rough(x: Tensor, t: Tensor) -> Tensor:
        return oracle(x, t) + (1e7 * x).sin()

    times = torch.tensor([0.9, 0.1], dtype=torch.float64)
    with pytest.raises(UserError, match="take a larger --tolerance"):
        arrive(Adaptive(1e-6), rough, path, times, torch.ones(1, 1, 2, 2).double())
