"""Parameterisations and the objective, by closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from safelight.diffusion.denoiser import TOLD, Denoiser
from safelight.diffusion.objective import Denoising
from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import broadcast, diffuse, make_path
from safelight.diffusion.precond import PREDICTIONS, c_noise
from safelight.diffusion.times import lognormal_times
from safelight.diffusion.weights import edm_weight, simple_weight
from safelight.errors import UserError
from safelight.seeding import ImageNoise


class Answer(nn.Module):
    """A "network" that answers with a tensor, and remembers what it was asked."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        self.asked = x, c_noise, y
        return self.answer


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    noise = ImageNoise(range(6))
    return noise.normal(1, 4, 4) * 0.5, noise.normal(1, 4, 4), torch.linspace(0.05, 0.95, 6)


@pytest.mark.parametrize("path_name", ["edm", "linear", "cosine", "flow"])
@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_perfect_answer_gives_x_0(
    name: str, path_name: str, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    x_0, eps, t = batch
    path = make_path(path_name)
    alpha, sigma = (broadcast(f(t), x_0) for f in (path.alpha, path.sigma))
    x_t = diffuse(path, x_0, t, eps)
    root = (alpha**2 + sigma**2).sqrt()
    level = sigma / alpha
    answers = {
        "noise": eps,
        "image": x_0,
        "v": (alpha * eps - sigma * x_0) / root,
        "flow": eps - x_0,
        "score": -eps,
        "edm": (x_0 - 0.25 / (level**2 + 0.25) * x_t / alpha)
        * (level**2 + 0.25).sqrt()
        / (level * 0.5),
    }
    denoiser = Denoiser(Answer(answers[name]), path, PREDICTIONS[name], 0.5)
    torch.testing.assert_close(denoiser(x_t, t), x_0, atol=2e-3, rtol=1e-3)


def test_the_path_is_asked_once_for_each_coefficient(
    batch: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """alpha, sigma and the log-SNR."""
    x_0, eps, t = batch
    path = make_path("linear")
    table, asked = path.schedule.log_snr, 0

    def counting(t: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return table(t)

    monkeypatch.setattr(path.schedule, "log_snr", counting)
    Denoiser(Answer(x_0), path, PREDICTIONS["v"], 0.5)(eps, t)
    assert asked == 3


@pytest.mark.parametrize("path_name", ["edm", "linear", "cosine", "flow"])
def test_edm_inputs_have_unit_variance(path_name: str) -> None:
    """Section 5 of arXiv:2206.00364: so is what the network sees, at every noise level."""
    path = make_path(path_name)
    noise = ImageNoise(range(8))
    x_0, eps = noise.normal(64, 64) * 0.5, noise.normal(64, 64)
    t = torch.linspace(0.01, 1, 8)
    net = Answer(torch.zeros_like(x_0))
    Denoiser(net, path, PREDICTIONS["edm"], 0.5)(diffuse(path, x_0, t, eps), t)
    asked, told, _ = net.asked
    torch.testing.assert_close(asked.std(dim=(1, 2)), torch.ones(8), atol=0.05, rtol=0)
    torch.testing.assert_close(told, c_noise(path.log_snr(t)))


@pytest.mark.parametrize("name", PREDICTIONS)
def test_simple_loss_is_the_error_of_eps(name: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """K3: L_simple = |eps - eps_theta|², eq. (14) of arXiv:2006.11239, for every prediction."""
    x_0, eps, t = batch
    path = make_path("linear")
    denoiser = Denoiser(Answer(torch.full_like(x_0, 0.3)), path, PREDICTIONS[name], 0.5)
    x_t = diffuse(path, x_0, t, eps)
    guess = (x_t - broadcast(path.alpha(t), x_t) * denoiser(x_t, t)) / broadcast(path.sigma(t), x_t)
    expected = (eps - guess).square().mean(dim=(1, 2, 3))
    found = Denoising(simple_weight)(denoiser, x_0, t, eps, None)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-5)


def test_edm_loss_starts_at_one() -> None:
    """A network that says nothing is a linear denoiser, and its loss is 1 at every level."""
    path = make_path("edm")
    noise = ImageNoise(range(16))
    x_0, eps = noise.normal(64, 64) * 0.5, noise.normal(64, 64)
    denoiser = Denoiser(Answer(torch.zeros_like(x_0)), path, PREDICTIONS["edm"], 0.5)
    t, _ = lognormal_times(path, torch.linspace(0.02, 0.98, 16))
    loss = Denoising(edm_weight)(denoiser, x_0, t, eps, None)
    torch.testing.assert_close(loss, torch.ones(16), atol=0.1, rtol=0)


def test_oracle_is_the_conditional_mean() -> None:
    """Regress x_0 on x_t over many draws: the slope and offset are the oracle's."""
    path = make_path("cosine")
    noise = ImageNoise([1])
    x_0 = 0.3 + 0.2 * noise.normal(1, 1, 400_000)
    t = torch.tensor([0.4])
    x_t = diffuse(path, x_0, t, noise.normal(1, 1, 400_000))
    found = GaussianOracle(path, torch.tensor(0.3), torch.tensor(0.2))(x_t, t)
    error = x_0 - found
    assert abs(float(error.mean())) < 1e-3
    assert abs(float((error * x_t).mean())) < 1e-3


@pytest.mark.parametrize("told", TOLD)
def test_a_network_is_told_what_it_asks_for(
    told: str, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    """F5: by its attribute `told`; c_noise unless it has one."""
    x, eps, t = batch
    path, net = make_path("linear"), Answer(eps)
    net.told = told  # type: ignore[assignment]
    Denoiser(net, path, PREDICTIONS["noise"], 0.5)(x, t)
    expected = {
        "level": c_noise(path.log_snr(t)),
        "sigma": path.sigma(t) / path.alpha(t),
        "step": 1000 * t - 1,
    }
    torch.testing.assert_close(net.asked[1], expected[told])
    net.told = "time"  # type: ignore[assignment]
    with pytest.raises(UserError, match="unknown .* 'time'; choose one of: level, sigma, step"):
        Denoiser(net, path, PREDICTIONS["noise"], 0.5)
