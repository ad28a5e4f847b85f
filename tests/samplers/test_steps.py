"""What all samplers have in common: calls, paths, options, times."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.precond import PREDICTIONS
from safelight.errors import UserError
from safelight.nets.unet import UNet
from safelight.samplers.adaptive import Adaptive
from safelight.samplers.ancestral import DDIM, DDPM
from safelight.samplers.edit import Between, Projected, develop, invert, redraw, restore
from safelight.samplers.edm import Euler, Heun
from safelight.samplers.grids import GRIDS, karras, logsnr, uniform
from safelight.samplers.guidance import Clipped, Guided
from safelight.samplers.langevin import AnnealedLangevin, PredictorCorrector
from safelight.samplers.multistep import DPMSolver, UniPC
from safelight.samplers.state import State, Step
from safelight.samplers.steps import SAMPLERS, make_step
from safelight.samplers.trajectory import trajectory, walk
from safelight.seeding import ImageNoise
from tests.samplers.worlds import PATHS, Draws, arrive, every_path, mixture, path_of, times_at

EVERY = every_path()
DETERMINISTIC = [DDIM(), Euler(), Heun(), DPMSolver(), UniPC(), UniPC(3), Adaptive(1e-5)]
STOCHASTIC = [
    DDPM("large"),
    DDIM(0.5),
    Euler(0.3),
    Heun(0.3),
    DPMSolver(1.0),
    AnnealedLangevin(3),
    PredictorCorrector(),
]


def images(step: Step, kind: str) -> Tensor:
    """Two images of a mixture in float32, whose noise levels are the same on every path."""
    path = path_of(kind)
    times = karras(path, 20, low=0.02, high=20)
    eps = ImageNoise([3, 4]).normal(1, 2, 2)
    *_, last = trajectory(step, mixture(path), path, times, eps, ImageNoise([5, 6]))
    return last.x


@pytest.mark.parametrize("step", [*DETERMINISTIC, *STOCHASTIC[1:]], ids=str)
def test_paths_agree_on_the_image(step: Step) -> None:
    """X8, X12: the same denoiser on each kind of path gives the same image from the same seed.

    All but DDPM's large variance, which is another one on each path.
    """
    preserving, exploding, flow = (images(step, kind) for kind in PATHS)
    assert preserving.dtype == torch.float32
    torch.testing.assert_close(exploding, preserving, atol=1e-4, rtol=0)
    torch.testing.assert_close(flow, preserving, atol=1e-4, rtol=0)


@pytest.mark.parametrize("step", [*DETERMINISTIC[:-1], *STOCHASTIC], ids=str)
def test_an_image_depends_on_its_own_seed(step: Step) -> None:
    path = path_of("flow")
    times = karras(path, 8)

    def drawn(seeds: list[int]) -> Tensor:
        noise = ImageNoise(seeds)
        *_, last = trajectory(step, mixture(path), path, times, noise.normal(1, 2, 2), noise)
        return last.x

    torch.testing.assert_close(drawn([1, 2, 3])[1:2], drawn([2]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("grid", ["uniform", "trailing", "karras", "logsnr"])
@pytest.mark.parametrize("kind", ["linear", "cosine", "zero terminal", "exploding", "flow"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_evaluations_are_counted(sampler: str, kind: str, grid: str) -> None:
    """X8: on every path and grid, from pure noise too, which brings images of ordinary size."""
    path = EVERY[kind]
    oracle = GaussianOracle(path, torch.tensor(0.1), torch.tensor(0.5))
    step = make_step(sampler, {})
    for n in (1, 2, 7):
        calls = []

        def counted(x: Tensor, t: Tensor, calls: list[int] = calls) -> Tensor:
            calls.append(1)
            return oracle(x, t)

        eps = ImageNoise([0]).normal(1, 8, 8)
        *_, last = trajectory(step, counted, path, GRIDS[grid](path, n), eps, ImageNoise([1]))
        assert step.evaluations(n) in (len(calls), None)
        # Two steps, from one end of the levels to the other, are too few for some.
        assert n < 7 or sampler == "langevin" or last.x.abs().max() < 3


def test_churn_is_algorithm_2() -> None:
    """Written out in EDM's own terms, where sigma = l: arXiv:2206.00364, algorithm 2."""
    path, gamma = path_of("exploding"), 0.3
    oracle = mixture(path)
    levels = torch.tensor([40.0, 9.0, 2.0, 0.5, 0.1, 0.0]).double()
    x = 40 * Draws(3, 1).normal(1, 2, 2).double()
    for step, second_order in ((Euler(gamma), False), (Heun(gamma), True)):
        noise, z = Draws(3, 2), x
        for now, then in itertools.pairwise(levels):
            hat = now + gamma * now
            z = z + (hat**2 - now**2).sqrt() * noise.normal(1, 2, 2)
            d = (z - oracle(z, hat / 80)) / hat
            euler = z + (then - hat) * d
            if second_order and then > 0:
                z = z + (then - hat) * (d + (euler - oracle(euler, then / 80)) / then) / 2
            else:
                z = euler
        torch.testing.assert_close(arrive(step, oracle, path, levels / 80, x, 2), z)


def test_churn_stops_at_the_end_of_the_path() -> None:
    """From the noisiest level there is nowhere to go, and pure noise stays as it is."""
    for kind in PATHS:
        path = path_of(kind)
        x = Draws(2).normal(1, 2, 2) * path.sigma(torch.tensor(1.0))
        times = torch.tensor([1.0, 0.5]).double()
        still = arrive(Heun(), mixture(path), path, times, x)
        torch.testing.assert_close(arrive(Heun(0.4), mixture(path), path, times, x), still)


@torch.inference_mode()
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_states_know_what_was_guessed(sampler: str) -> None:
    """The newest guess is at hand after each step, and the last state is at time 0."""
    path = path_of("flow")
    times = logsnr(path, 4)
    states = list(
        trajectory(
            make_step(sampler, {}),
            mixture(path),
            path,
            times,
            Draws(2).normal(1, 2, 2),
            Draws(2),
        )
    )
    assert [float(state.t) for state in states] == times.tolist()
    assert all(state.past and state.x_0.shape == (2, 1, 2, 2) for state in states[1:])
    torch.testing.assert_close(states[-1].x, states[-1].x_0)


def test_multistep_needs_its_past() -> None:
    """Without it the first order is left: DDIM's step."""
    path = path_of("flow")
    times = times_at(path, torch.tensor([1.0, 0.5, 0.2]))
    x = Draws(2).normal(1, 2, 2).double()
    for step in (DPMSolver(), UniPC()):
        _, middle, _ = walk(step, mixture(path), path, State(x, times[0]), times[1:], Draws(2))
        with_past = step(mixture(path), path, middle, times[2], Draws(2)).x
        without = step(mixture(path), path, middle._replace(past=()), times[2], Draws(2)).x
        assert (with_past - without).abs().max() > 1e-3
    alone = DPMSolver()(mixture(path), path, middle._replace(past=()), times[2], Draws(2)).x
    torch.testing.assert_close(alone, DDIM()(mixture(path), path, middle, times[2], Draws(2)).x)


WRONG = [
    (DDIM, {"eta": 1.5}, "eta is 1.5; it has to lie between 0 and 1"),
    (DPMSolver, {"eta": -0.1}, "eta is -0.1"),
    (DDPM, {"variance": "medium"}, "choose one of: small, large, learned"),
    (Heun, {"churn": 0.5}, "churn is 0.5; it has to lie between 0 and 0.414"),
    (Euler, {"churn": math.nan}, "churn is nan"),
    (UniPC, {"solver_order": 4}, "--solver-order is 4; it has to lie between 1 and 3"),
    (Adaptive, {"tolerance": 0.0}, "tolerance is 0.0"),
    (AnnealedLangevin, {"inner": 0}, "inner is 0"),
    (AnnealedLangevin, {"rate": 1.5}, "rate is 1.5"),
    (PredictorCorrector, {"snr": 2.0}, "snr is 2.0"),
    (PredictorCorrector, {"inner": -1}, "inner is -1"),
]


@pytest.mark.parametrize(("make", "options", "message"), WRONG)
def test_wrong_options_are_refused(make: type, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**options)


def test_options_of_other_samplers_are_refused() -> None:
    with pytest.raises(UserError, match="heun has no eta; leave --eta out"):
        make_step("heun", {"eta": 0.5})
    with pytest.raises(UserError, match="choose one of: heun, euler, dpm"):
        make_step("dpm", {})


NOT_WHOLE = [
    [0.9, 0.9, 0.0],
    [0.1, 0.5, 0.0],
    [0.5, math.nan],
    [math.nan, 0.0],
    [1.5, 0.5, 0.0],
    [0.9, 0.5],
    [0.5, 0.0, -0.5],
    [0.0],
]


@pytest.mark.parametrize("falls", NOT_WHOLE, ids=str)
def test_times_that_do_not_fall_to_0_are_refused(falls: list[float]) -> None:
    """1 >= t_0 > ... > t_n = 0, whoever is given them."""
    path, times = path_of("flow"), torch.tensor(falls, dtype=torch.float64)
    model, x, noise = mixture(path), torch.ones(1, 1, 2, 2), Draws(1)
    for begin in (
        lambda: trajectory(DDIM(), model, path, times, x, noise),
        lambda: restore(DDIM(), model, path, times, torch.sin, x, noise),
        lambda: redraw(DDIM(), model, path, times, x, 1.0, noise),
        lambda: invert(model, path, times, x, x),
        lambda: develop(model, path, times, State(x, torch.tensor(0.9).double())),
    ):
        with pytest.raises(UserError, match="have to fall, from 1 at most to 0; sort them"):
            begin()


def test_learned_variance_has_to_be_learned() -> None:
    """B8: of a bare denoiser, of a model without it, and of each in the wrappers."""
    path = path_of("preserving")
    model = Denoiser(UNet((1, 8, 8), widths=(8, 16), blocks=1), path, PREDICTIONS["noise"], 0.5)
    bare, without = GaussianOracle(path, torch.tensor(0.0), torch.tensor(0.5)), Guided(model)
    for denoise in (
        bare,
        Clipped(bare),
        Clipped(without),
        Projected(bare, torch.sin),
        Between(bare, without, torch.tensor(0.5)),
        Clipped(Between(Projected(without, torch.sin), bare, torch.tensor(0.5))),
    ):
        with pytest.raises(UserError, match="has learned no variance; use --variance small"):
            arrive(DDPM("learned"), denoise, path, uniform(path, 2), torch.zeros(1, 1, 8, 8))
