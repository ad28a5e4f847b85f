"""Paths: what they promise at every time, whatever their schedule and kind."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.diffusion.betas import BETAS, linear_betas
from safelight.diffusion.path import (
    EXPLODING,
    FLOW,
    PATHS,
    PRESERVING,
    Path,
    diffuse,
    make_path,
)
from safelight.diffusion.schedules import Continuous, straight
from safelight.errors import UserError
from safelight.seeding import ImageNoise

USER_BETAS = (0.01, 0.02, 0.05, 0.1, 0.3, 0.5)
MADE = {
    **{name: make_path(name, betas=USER_BETAS if name == "table" else ()) for name in PATHS},
    "linear to pure noise": make_path("linear", zero_terminal_snr=True),
    "five steps to pure noise": make_path("linear", T=5, zero_terminal_snr=True),
    "own steps to pure noise": make_path("table", betas=(0.1, 0.5, 1.0)),
    "linear shifted": make_path("linear", shift=2.0),
    "flow shifted": make_path("flow", shift=3.0),
    "exploding shifted": make_path("exploding-continuous", shift=0.5),
}
for path_ in MADE.values():
    path_.requires_grad_(False)
ZERO, ONE = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)


@pytest.fixture(params=MADE)
def path(request: pytest.FixtureRequest) -> Path:
    return MADE[request.param]


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=25)
@given(share=st.floats(0, 1))
def test_time_inverts_the_noise_level(name: str, share: float) -> None:
    """Any level between the path's ends (of those that could matter), there and back."""
    path = MADE[name]
    first = ONE / path.levels if path.levels else 1e-30 * ONE
    low, high = max(float(path.log_snr(ONE)), -18.0), min(float(path.log_snr(first)), 18.0)
    snr = torch.tensor([math.exp(low + share * (high - low))], dtype=torch.float64)
    t = path.time(snr)
    assert 0 < float(t) <= 1
    # A table takes what is within float32's rounding of a step for that step.
    rounding = 3e-4 if path.levels else 1e-8
    assert float(path.log_snr(t)) == pytest.approx(float(snr.log()), rel=0, abs=rounding)
    found = 2 * (path.alpha(t) / path.sigma(t)).log()
    torch.testing.assert_close(found, path.log_snr(t), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        path.noise_level(t), path.sigma(t) / path.alpha(t), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=25)
@given(t=st.floats(0.001, 1))
def test_log_snr_inverts_the_time(name: str, t: float) -> None:
    """The other way round, at the steps of a path that counts them."""
    path = MADE[name]
    if path.levels is not None:
        t = max(1, round(t * path.levels)) / path.levels
    snr = path.log_snr(t * ONE).exp()
    assert float(path.time(snr)) == pytest.approx(t, rel=1e-6)


def test_the_clean_end_is_the_image(path: Path) -> None:
    assert (path.alpha(ZERO), path.sigma(ZERO)) == (1, 0)
    assert float(path.log_snr(ZERO)) == math.inf
    assert path.time(math.inf * ONE) == 0
    assert path.time(1e300 * ONE) > 0  # steps from 0 to 0 would divide by it


def test_the_noisy_end_is_the_last_time(path: Path) -> None:
    assert float(path.time(0 * ONE)) == pytest.approx(1, abs=1e-15)
    if path.log_snr(ONE) == -math.inf:
        assert (path.alpha(ONE), path.sigma(ONE)) == (0, 1)


def test_noise_rises_at_every_time(path: Path) -> None:
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)[1:]
    if path.levels is not None:
        t = torch.arange(1, path.levels + 1, dtype=torch.float64) / path.levels
    assert (path.log_snr(t).diff() < 0).all()
    assert ((path.alpha(t) / path.sigma(t)).diff() < 0).all()
    assert (path.sigma(t).diff() >= 0).all()


def test_between_steps_noise_never_falls(path: Path) -> None:
    t = torch.linspace(0, 1, 997, dtype=torch.float64)
    assert (path.log_snr(t[1:]).diff() <= 0).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_are_kept(path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    t = torch.full(shape, 0.5, dtype=dtype)
    for found in (path.alpha(t), path.sigma(t), path.log_snr(t), path.time(t)):
        assert (found.shape, found.dtype) == (t.shape, t.dtype)


def test_float32_is_enough_for_training(path: Path) -> None:
    """alpha and sigma of float32 times to 4e-6 of their value: under a hundredth of a level."""
    t = torch.linspace(0.001, 1, 1000)
    for f in (path.alpha, path.sigma):
        torch.testing.assert_close(f(t).double(), f(t.double()), rtol=4e-6, atol=1e-8)


def test_kinds_share_the_log_snr() -> None:
    """X12: one schedule in three kinds; each kind's own constraint holds."""
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    preserving, exploding, flow = (Path(kind, straight()) for kind in (PRESERVING, EXPLODING, FLOW))
    for path in (preserving, exploding, flow):
        torch.testing.assert_close(2 * (path.alpha(t) / path.sigma(t)).log(), path.log_snr(t))
    torch.testing.assert_close(preserving.alpha(t) ** 2 + preserving.sigma(t) ** 2, ONE.expand(99))
    assert (exploding.alpha(t) == 1).all()
    torch.testing.assert_close(flow.alpha(t) + flow.sigma(t), ONE.expand(99))


def test_flow_is_a_straight_line() -> None:
    """X12: x_t = (1 - t) x_0 + t eps, eq. (1) of arXiv:2209.03003."""
    t = torch.linspace(0, 1, 101)
    torch.testing.assert_close(make_path("flow").alpha(t), 1 - t, rtol=1e-6, atol=0)
    torch.testing.assert_close(make_path("flow").sigma(t), t, rtol=1e-6, atol=0)


def test_edm_noise_is_proportional_to_time() -> None:
    """X12: sigma = 80 t, arXiv:2206.00364."""
    t = torch.linspace(0, 1, 101)
    torch.testing.assert_close(make_path("edm").sigma(t), 80 * t, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("T", [10, 500, 1000, 1500, 4000])
def test_float32_times_hit_their_step_exactly(name: str, T: int) -> None:
    """K6"""
    path = make_path(name, T=T)
    exact = torch.arange(1, T + 1, dtype=torch.float64) / T
    assert torch.equal(path.alpha(exact.float()), path.alpha(exact).float())


def test_diffuse_equals_add_noise() -> None:
    """K3: q(x_t | x_0), a time of its own for each image."""
    reference = DDPMScheduler(num_train_timesteps=1000)
    noise = ImageNoise(range(5))
    x_0, eps = noise.normal(3, 4, 4), noise.normal(3, 4, 4)
    steps = torch.tensor([0, 1, 500, 998, 999])
    expected = reference.add_noise(x_0, eps, steps)
    found = diffuse(make_path("linear"), x_0, (steps + 1) / 1000, eps)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)  # theirs has alpha² in float32


def test_a_row_of_ones_own_is_a_path() -> None:
    """A path is two functions and a kind; the exponential one of a course, say."""
    own = Path(EXPLODING, Continuous(lambda t: 5 - 10 * t, lambda log_snr: (5 - log_snr) / 10))
    assert float(own.sigma(0.5 * ONE)) == 1
    assert own.time(ONE) == 0.5
    with pytest.raises(UserError, match=r"has to fall.*between t = 0.5 and 0.5039"):
        Continuous(lambda t: (t - 0.5) ** 2, lambda log_snr: log_snr)


def test_a_table_of_ones_own() -> None:
    """C7: alpha² is the product of 1 - beta."""
    path = make_path("table", betas=(0.1, 0.5, 0.75))
    t = torch.tensor([1, 2, 3]).double() / 3
    torch.testing.assert_close(path.alpha(t) ** 2, torch.tensor([0.9, 0.45, 0.1125]).double())
    own = make_path("table", betas=linear_betas(1000).tolist())
    assert torch.equal(own.alpha(t), make_path("linear").alpha(t))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "cosin"}, "did you mean 'cosine'"),
        (
            {"name": "edm", "T": 100},
            "'edm' has no number of steps.*leave --diffusion.T out",
        ),
        ({"name": "linear-continuous", "T": 1000}, "leave --diffusion.T out"),
        ({"name": "table", "betas": USER_BETAS, "T": 6}, "leave --diffusion.T out"),
        ({"name": "linear", "T": 1}, "T is 1; .* at least 2"),
        ({"name": "table"}, "there are none; give one for each step"),
        ({"name": "linear", "betas": USER_BETAS}, "does not take betas.*choose one of: table"),
        ({"name": "table", "betas": (0.1, -0.2, 0.3)}, "beta 2 of 3 is -0.2; each has to lie"),
        ({"name": "table", "betas": (0.1, 1.0, 0.3)}, "beta 2 of 3 is 1;.* only the last may be 1"),
        ({"name": "table", "betas": (0.1, math.nan)}, "beta 2 of 2 is nan"),
        ({"name": "table", "betas": (0.1, 1.5), "zero_terminal_snr": True}, "beta 2 of 2 is 1.5"),
        ({"name": "table", "betas": (0.1,)}, "1 steps leads nowhere; give at least 2"),
        ({"name": "table", "betas": (0.1, 1e-20)}, "has to fall.*between t = 0.5 and 1"),
        ({"name": "flow", "zero_terminal_snr": True}, "leave --diffusion.zero-terminal-snr out"),
        ({"name": "exploding", "zero_terminal_snr": True}, "no table of betas.*table"),
        ({"name": "flow", "shift": 0.0}, "shift is 0; it has to be a number above 0"),
        ({"name": "flow", "shift": math.nan}, "shift is nan"),
    ],
)
def test_wrong_choices_are_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_path(**words)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
