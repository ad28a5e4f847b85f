"""Paths: what they promise at every time, and their agreement with diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from safelight.diffusion.path import PRESERVING, Path, diffuse, make_path
from safelight.diffusion.schedules import beta_table, cosine_betas, linear_betas


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("T", [10, 500, 1000, 1500])
def test_variance_is_preserved_and_snr_falls(name: str, T: int) -> None:
    path = make_path(name, T=T)
    t = torch.arange(1, T + 1, dtype=torch.float64) / T
    alpha, sigma = path.alpha(t), path.sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(T).double(), atol=1e-12, rtol=0)
    assert ((alpha / sigma).diff() < 0).all()


@pytest.mark.parametrize(
    ("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_tables_equal_diffusers(ours: str, theirs: str) -> None:
    """K5: the linear and the cosine schedule."""
    reference = DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    alpha2 = make_path(ours).alpha(t) ** 2
    # Their cumulative product is float32: 1,000 roundings of 6e-8.
    torch.testing.assert_close(alpha2.float(), reference.alphas_cumprod, rtol=5e-5, atol=1e-7)


def test_diffuse_equals_add_noise() -> None:
    """K3: q(x_t | x_0), a time of its own for each image."""
    reference = DDPMScheduler(num_train_timesteps=1000)
    x_0, eps = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    steps = torch.tensor([0, 1, 500, 998, 999])
    expected = reference.add_noise(x_0, eps, steps)
    found = diffuse(Path(PRESERVING, beta_table(linear_betas(1000))), x_0, (steps + 1) / 1000, eps)
    torch.testing.assert_close(
        found, expected, atol=1e-5, rtol=0
    )  # theirs rounds alpha² to float32


@pytest.mark.parametrize("name", ["edm", "linear", "cosine", "flow"])
@given(level=st.floats(0.02, 60))
def test_time_inverts_the_noise_level(name: str, level: float) -> None:
    path = make_path(name)
    snr = torch.tensor([level], dtype=torch.float64) ** -2
    t = path.time(snr)
    assert float(path.sigma(t) / path.alpha(t)) == pytest.approx(level, rel=1e-5)


def test_time_beyond_the_ends_is_the_nearest_end() -> None:
    path = Path(PRESERVING, beta_table(cosine_betas(100)))
    ends = path.time(torch.tensor([torch.inf, 1e30, 1e-30], dtype=torch.float64))
    assert ends.tolist() == [0.0, 0.01, 1.0]


def test_clean_end_is_the_image() -> None:
    zero = torch.zeros(1)
    for name in ("edm", "linear", "cosine", "flow"):
        path = make_path(name)
        assert path.alpha(zero) == 1
        assert path.sigma(zero) == 0


@pytest.mark.parametrize("T", [10, 500, 1000, 1500, 4000])
def test_float32_times_hit_their_step_exactly(T: int) -> None:
    """K6"""
    path = Path(PRESERVING, beta_table(linear_betas(T)))
    exact = torch.arange(1, T + 1, dtype=torch.float64) / T
    assert torch.equal(path.alpha(exact.float()), path.alpha(exact).float())
