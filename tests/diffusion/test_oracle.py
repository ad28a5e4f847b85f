"""Oracles: closed forms against each other, against autograd, and against random draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from safelight.diffusion.oracle import DatasetOracle, GaussianOracle, MixtureOracle
from safelight.diffusion.path import Path, broadcast, diffuse, make_path
from safelight.errors import UserError
from safelight.seeding import generator

Oracle = GaussianOracle | MixtureOracle | DatasetOracle
SHAPE = (2, 3, 3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def gaussian(path: Path) -> GaussianOracle:
    return GaussianOracle(path, 0.3 * normal(*SHAPE), 0.2 + normal(*SHAPE, seed=1).sigmoid())


def mixture(path: Path) -> MixtureOracle:
    std, weights = torch.tensor([0.1, 0.4, 0.2]), torch.tensor([1.0, 2.0, 3.0])
    return MixtureOracle(path, normal(3, *SHAPE), std, weights)


def dataset(path: Path) -> DatasetOracle:
    return DatasetOracle(path, normal(5, *SHAPE), block=2)


ORACLES: dict[str, Callable[[Path], Oracle]] = {
    "gaussian": gaussian,
    "mixture": mixture,
    "dataset": dataset,
}


def middle(path: Path, levels: list[float]) -> Tensor:
    """The times at which sigma / alpha has these values."""
    return path.time(torch.tensor(levels, dtype=torch.float64) ** -2)


@pytest.mark.parametrize("path_name", ["edm", "linear", "cosine", "flow"])
@pytest.mark.parametrize("name", ORACLES)
def test_denoiser_and_density_have_one_score(name: str, path_name: str) -> None:
    """Tweedie: (alpha D - x_t) / sigma² is the gradient of the log-density."""
    path = make_path(path_name)
    oracle = ORACLES[name](path)
    t = middle(path, [0.2, 0.8, 2.0, 9.0])
    x_t = diffuse(path, oracle.sample(4, generator(2)), t, normal(4, *SHAPE, seed=3))
    x_t.requires_grad_()
    (expected,) = torch.autograd.grad(oracle.log_density(x_t, t).sum(), x_t)
    alpha, sigma = broadcast(path.alpha(t), x_t), broadcast(path.sigma(t), x_t)
    torch.testing.assert_close((alpha * oracle(x_t, t) - x_t) / sigma**2, expected)


@pytest.mark.parametrize("path_name", ["edm", "linear", "cosine", "flow"])
@pytest.mark.parametrize("name", ORACLES)
def test_oracle_is_the_posterior_mean(name: str, path_name: str) -> None:
    """By importance sampling: clean draws, weighted by how well they explain x_t."""
    path = make_path(path_name)
    oracle = ORACLES[name](path)
    (t,) = middle(path, [2.0])
    x_t = diffuse(path, oracle.sample(1, generator(2)), t, normal(1, *SHAPE, seed=3))
    draws = oracle.sample(200_000, generator(4)).double()
    distance = (x_t - path.alpha(t) * draws).square().flatten(1).sum(1)
    weights = (-distance / (2 * path.sigma(t) ** 2)).softmax(0)
    mean = (weights[:, None] * draws.flatten(1)).sum(0).reshape(x_t.shape)
    error = (weights[:, None] * (draws - mean).flatten(1)).square().sum(0).sqrt()
    assert ((oracle(x_t, t) - mean).flatten().abs() < 5 * error).all()
    assert error.max() < 0.02


@pytest.mark.parametrize("path_name", ["edm", "linear", "cosine", "flow"])
def test_mixture_of_one_is_the_gaussian(path_name: str) -> None:
    path = make_path(path_name)
    mean, std = normal(*SHAPE), torch.tensor(0.3, dtype=torch.float64)
    one, whole = MixtureOracle(path, mean[None], std), GaussianOracle(path, mean, std)
    t = middle(path, [0.1, 1.0, 10.0])
    x_t = normal(3, *SHAPE, seed=1)
    torch.testing.assert_close(one(x_t, t), whole(x_t, t))
    torch.testing.assert_close(one.log_density(x_t, t), whole.log_density(x_t, t))


def test_dataset_is_the_mixture_of_narrow_components() -> None:
    path = make_path("cosine")
    images = normal(7, *SHAPE)
    narrow = MixtureOracle(path, images, torch.tensor(1e-7))
    t = middle(path, [0.05, 0.5, 5.0])
    x_t = diffuse(path, images[:3], t, normal(3, *SHAPE, seed=1))
    torch.testing.assert_close(DatasetOracle(path, images)(x_t, t), narrow(x_t, t))


@settings(deadline=None)
@given(n=st.integers(1, 9), block=st.integers(1, 10), level=st.floats(0.01, 60))
def test_blocks_change_nothing(n: int, block: int, level: float) -> None:
    path = make_path("edm")
    images = normal(n, *SHAPE)
    t = middle(path, [level])
    x_t = images[:1] + level * normal(1, *SHAPE, seed=1)
    one, several = DatasetOracle(path, images, n), DatasetOracle(path, images, block)
    torch.testing.assert_close(several(x_t, t), one(x_t, t), atol=1e-12, rtol=0)
    torch.testing.assert_close(several.log_density(x_t, t), one.log_density(x_t, t))


def test_dataset_names_the_image_under_little_noise() -> None:
    """Noise of 2e-3 on images that differ by 1e-2 a pixel, in float32: nothing cancels."""
    path = make_path("edm")
    images = 0.9 + 0.01 * normal(300, 1, 28, 28).float()
    t = middle(path, [0.002]).float()
    x_t = images + 0.002 * normal(300, 1, 28, 28, seed=1).float()
    found = DatasetOracle(path, images)(x_t, t)
    torch.testing.assert_close(found, images, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pure_noise_tells_nothing(name: str, dtype: torch.dtype) -> None:
    """At alpha = 0 the guess is the mean of all images, whatever x_t is."""
    oracle = ORACLES[name](make_path("flow"))
    x_t = normal(4, *SHAPE).to(dtype)
    found = oracle(x_t, torch.tensor(1.0))
    assert found.dtype == oracle.log_density(x_t, torch.tensor(1.0)).dtype == dtype
    mean = {
        "gaussian": 0.3 * normal(*SHAPE),
        "mixture": (normal(3, *SHAPE) * broadcast(torch.tensor([1, 2, 3]) / 6, x_t)).sum(0),
        "dataset": normal(5, *SHAPE).mean(0),
    }[name]
    torch.testing.assert_close(found, mean.to(dtype).expand(4, *SHAPE))
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(x_t).flatten(1).sum(1)
    torch.testing.assert_close(oracle.log_density(x_t, torch.tensor(1.0)), standard)


@pytest.mark.parametrize("path_name", ["edm", "linear", "cosine", "flow"])
def test_flow_solves_the_probability_flow_ode(path_name: str) -> None:
    """d(x/alpha) / d(sigma/alpha) = (x/alpha - D) alpha/sigma, by central differences; and back."""
    path = make_path(path_name)
    oracle = gaussian(path)
    x_t = normal(3, *SHAPE, seed=5)
    t, s, below, above = middle(path, [3.0, 0.7, 0.7 - 1e-5, 0.7 + 1e-5])
    at, low, high = (oracle.flow(x_t, t, u) for u in (s, below, above))
    slope = (high / path.alpha(above) - low / path.alpha(below)) / 2e-5
    expected = (at / path.alpha(s) - oracle(at, s)) / 0.7
    torch.testing.assert_close(slope, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(oracle.flow(at, s, t), x_t)


@pytest.mark.parametrize("name", ORACLES)
def test_density_is_that_of_the_draws(name: str) -> None:
    """The mean log-density of noised draws against the same under the wrong time: Gibbs."""
    path = make_path("cosine")
    oracle = ORACLES[name](path)
    right, wrong = middle(path, [0.5, 0.6])
    x_t = diffuse(path, oracle.sample(4_000, generator(1)), right, normal(4_000, *SHAPE, seed=2))
    assert oracle.log_density(x_t, right).mean() > oracle.log_density(x_t, wrong).mean()


def test_densities_sum_to_one() -> None:
    """One pixel, where the integral can be taken."""
    path = make_path("cosine")
    (t,) = middle(path, [0.5])
    x_t = torch.linspace(-8, 8, 4001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    means = torch.tensor([-1.0, 0.2, 1.0]).reshape(3, 1, 1, 1)
    for oracle in (
        GaussianOracle(path, means[0], torch.tensor(0.4)),
        MixtureOracle(path, means, torch.tensor([0.1, 0.2, 0.3]), torch.tensor([3.0, 1.0, 2.0])),
        DatasetOracle(path, means),
    ):
        total = torch.trapezoid(oracle.log_density(x_t, t).exp(), x_t.flatten())
        assert float(total) == pytest.approx(1, abs=1e-9)


def test_samples_have_the_mixture_s_moments() -> None:
    n = 100_000
    oracle = mixture(make_path("edm"))
    drawn = oracle.sample(n, generator(0)).double().flatten(1)
    share = torch.tensor([1, 2, 3], dtype=torch.float64) / 6
    means, variance = normal(3, *SHAPE).flatten(1), torch.tensor([0.01, 0.16, 0.04])
    mean = share @ means
    expected = share @ (means**2 + variance[:, None]) - mean**2
    assert ((drawn.mean(0) - mean).abs() < 4 * (expected / n).sqrt()).all()
    torch.testing.assert_close(drawn.var(0), expected, rtol=0.03, atol=1e-3)


def test_wrong_oracles_are_refused() -> None:
    path, means = make_path("edm"), normal(3, *SHAPE)
    with pytest.raises(UserError, match="as many weights, all above 0"):
        MixtureOracle(path, means, torch.tensor(0.1), torch.tensor([0.5, 0.5]))
    with pytest.raises(UserError, match="as many weights, all above 0"):
        MixtureOracle(path, means, torch.tensor(0.1), torch.tensor([0.5, 0.5, 0.0]))
    for deviation in (-0.1, torch.nan):
        std = torch.tensor([0.1, deviation, 0.1])
        with pytest.raises(UserError, match="at least 0"):
            MixtureOracle(path, means, std)
        with pytest.raises(UserError, match="at least 0"):
            GaussianOracle(path, means, std.reshape(3, 1, 1, 1))
    certain = GaussianOracle(path, means[0], torch.zeros(()))
    for oracle in (DatasetOracle(path, means), certain):
        with pytest.raises(UserError, match="take t > 0"):
            oracle(means, torch.tensor(0.0))
    assert torch.equal(certain(means, torch.tensor(0.5)), means[:1].expand(3, *SHAPE))
