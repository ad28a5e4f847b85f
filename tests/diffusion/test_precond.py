"""Parameterisations: their closed forms, and the way from any one to any other."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import broadcast, diffuse, make_path
from safelight.diffusion.precond import (
    CONVERTIBLE,
    MIXTURES,
    PREDICTIONS,
    c_noise,
    convert,
    require_regular,
)
from safelight.errors import UserError

NAMES = ("edm", "linear", "cosine", "flow")
REGULAR = ("edm", "v", "image", "flow")  # at alpha = 0
ZERO, ONE = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """x_0, eps, t: float64, since some levels are of 1e-3 and others of 1e4."""
    x_0, eps = normal(2, 6, 1, 4, 4).unbind(0)
    return 0.5 * x_0, eps, torch.linspace(0.02, 0.98, 6, dtype=torch.float64)


@given(sigma=st.floats(0.002, 80), sigma_data=st.floats(0.05, 2))
def test_edm_row_is_the_paper_s(sigma: float, sigma_data: float) -> None:
    """X12: c_skip, c_out and c_in of table 1 of arXiv:2206.00364."""
    total = sigma**2 + sigma_data**2
    expected = sigma_data**2 / total, sigma * sigma_data / total**0.5, total**-0.5
    found = PREDICTIONS["edm"](ONE, sigma * ONE, sigma_data)
    assert [float(value) for value in found] == pytest.approx(expected, rel=1e-12)


def test_v_equals_diffusers() -> None:
    """X12: get_velocity of diffusers, on the same table."""
    reference = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    x_0, eps = normal(2, 5, 3, 4, 4).float().unbind(0)
    steps = torch.tensor([0, 1, 500, 998, 999])
    path, t = make_path("cosine"), (steps + 1) / 1000
    alpha, sigma = path.alpha(t), path.sigma(t)
    row = MIXTURES["v"](alpha, sigma, 0.5)
    found = broadcast(row.image, x_0) * x_0 + broadcast(row.noise, x_0) * eps
    torch.testing.assert_close(found, reference.get_velocity(x_0, eps, steps), atol=1e-5, rtol=0)


def test_flow_is_the_velocity_of_its_path(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """X12: F = dx_t/dt, eq. (1) of arXiv:2209.03003, by a difference (x_t is linear in t)."""
    x_0, eps, t = batch
    path = make_path("flow")
    velocity = (diffuse(path, x_0, t + 0.01, eps) - diffuse(path, x_0, t - 0.01, eps)) / 0.02
    row = MIXTURES["flow"](ONE, ONE, 0.5)
    torch.testing.assert_close(velocity, row.image * x_0 + row.noise * eps)


@pytest.mark.parametrize("path_name", NAMES)
def test_score_is_the_slope_of_the_density(
    path_name: str, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    """From the oracle's x_0 by conversion, against autograd through its density."""
    x_0, eps, t = batch
    path = make_path(path_name)
    alpha, sigma = path.alpha(t), path.sigma(t)
    oracle = GaussianOracle(path, torch.tensor(0.1), torch.tensor(0.5))
    x_t = diffuse(path, x_0, t, eps).requires_grad_()
    (slope,) = torch.autograd.grad(oracle.log_density(x_t, t).sum(), x_t)
    with torch.no_grad():
        answer = oracle(x_t, t)
        found = convert(answer, "image", "gradient", x_t, alpha, sigma, 0.5)
        scaled = convert(answer, "image", "score", x_t, alpha, sigma, 0.5)
    torch.testing.assert_close(found, slope, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(scaled, broadcast(sigma, slope) * slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("path_name", NAMES)
@pytest.mark.parametrize(("source", "target"), list(product(CONVERTIBLE, CONVERTIBLE)))
def test_any_two_parameterisations_convert(
    source: str, target: str, path_name: str, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    """X12: each says the same about known x_0 and eps, on every path."""
    x_0, eps, t = batch
    path = make_path(path_name)
    alpha, sigma = path.alpha(t), path.sigma(t)

    def said(name: str) -> Tensor:
        row = CONVERTIBLE[name](alpha, sigma, 0.4)
        return broadcast(row.image, x_0) * x_0 + broadcast(row.noise, x_0) * eps

    x_t = diffuse(path, x_0, t, eps)
    found = convert(said(source), source, target, x_t, alpha, sigma, 0.4)
    torch.testing.assert_close(found, said(target), rtol=1e-7, atol=1e-7)
    back = convert(found, target, source, x_t, alpha, sigma, 0.4)
    torch.testing.assert_close(back, said(source), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", PREDICTIONS)
@given(level=st.floats(1e-3, 1e3), factor=st.floats(1e-3, 1e3))
def test_rows_are_the_same_on_every_kind_of_path(name: str, level: float, factor: float) -> None:
    """alpha, sigma and x_t times c: x_0, F and what the network sees do not change."""
    plain = PREDICTIONS[name](ONE, level * ONE, 0.5)
    scaled = PREDICTIONS[name](factor * ONE, level * factor * ONE, 0.5)
    torch.testing.assert_close(factor * scaled.skip, plain.skip, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(scaled.out, plain.out, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(factor * scaled.scale, plain.scale, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", REGULAR)
def test_pure_noise_has_a_finite_row(name: str) -> None:
    """At alpha = 0: x_t has no part in x_0 but by F, and F's variance is that of x_0 or more."""
    row = PREDICTIONS[name](ZERO, ONE, 0.5)
    mixture = MIXTURES[name](ZERO, ONE, 0.5)
    torch.testing.assert_close(row.out * mixture.image, ONE)
    torch.testing.assert_close(row.skip + row.out * mixture.noise, ZERO)
    assert row.scale.isfinite()


@pytest.mark.parametrize("name", PREDICTIONS)
def test_without_noise_x_t_is_the_image(name: str) -> None:
    row = PREDICTIONS[name](0.5 * ONE, ZERO, 0.5)
    assert (float(row.skip), float(row.out)) == (2.0, 0.0)


@pytest.mark.parametrize("path_name", NAMES)
def test_c_noise_is_finite_and_the_paths_agree(path_name: str) -> None:
    """c_noise = ln(sigma / alpha) / 4 wherever float32 can tell; the same on every path."""
    path = make_path(path_name)
    t = torch.linspace(0, 1, 101)
    told = c_noise(path.log_snr(t))
    assert told.isfinite().all()
    assert (told.diff() >= 0).all()
    level = torch.tensor([0.05, 1.0, 20.0], dtype=torch.float64)
    found = c_noise(path.log_snr(path.time(level**-2)))
    torch.testing.assert_close(found, level.log() / 4)


def test_c_noise_stops_at_the_rounding_of_float32() -> None:
    """Level 2^24: an image of deviation 1 is half of the last digit of such noise."""
    last = float(c_noise(torch.tensor(-torch.inf)))
    assert math.exp(-4 * last) == pytest.approx(torch.finfo(torch.float32).eps / 2)
    assert float(c_noise(torch.tensor(torch.inf))) == -last


def test_singular_predictions_are_refused_where_they_are_built() -> None:
    for name in PREDICTIONS:
        require_regular(make_path("cosine"), name)
    for name in REGULAR:
        require_regular(make_path("flow"), name)
    for name in ("noise", "score"):
        with pytest.raises(UserError, match=r"alpha is 0.*use --diffusion.prediction edm, .* flow"):
            require_regular(make_path("flow"), name)
    with pytest.raises(UserError, match="did you mean 'noise'"):
        require_regular(make_path("flow"), "nose")


def test_singular_conversions_are_refused() -> None:
    x = normal(1, 1, 2, 2)
    with pytest.raises(UserError, match="'noise' cannot be turned into 'v' where alpha is 0"):
        convert(x, "noise", "v", x, ZERO, ONE, 0.5)
    with pytest.raises(UserError, match="'image' cannot be turned into 'noise' where sigma is 0"):
        convert(x, "image", "noise", x, ONE, ZERO, 0.5)
    with pytest.raises(UserError, match="choose one of: edm, noise"):
        convert(x, "noise", "velocity", x, ONE, ONE, 0.5)


@pytest.mark.parametrize(("source", "target"), list(product(REGULAR, CONVERTIBLE)))
def test_regular_conversions_stand_at_pure_noise(source: str, target: str) -> None:
    x_0, eps = normal(2, 3, 1, 2, 2).unbind(0)
    own, wanted = (CONVERTIBLE[name](ZERO, ONE, 0.5) for name in (source, target))
    found = convert(own.image * x_0 + own.noise * eps, source, target, eps, ZERO, ONE, 0.5)
    torch.testing.assert_close(found, wanted.image * x_0 + wanted.noise * eps)


def test_the_score_of_pure_noise_is_its_negative() -> None:
    eps = normal(3, 1, 2, 2)
    torch.testing.assert_close(convert(eps, "noise", "gradient", eps, ZERO, ONE, 0.5), -eps)
