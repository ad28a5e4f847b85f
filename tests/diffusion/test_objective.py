"""What is minimised: each named loss against its paper's own formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from safelight.diffusion.bound import bits_per_dimension, prior_term, term
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.likelihood import ends
from safelight.diffusion.mmd import squared_mmd, views
from safelight.diffusion.objective import (
    HYBRID,
    MMD,
    TERMS,
    Bound,
    Denoising,
    Hybrid,
    asked,
    part,
)
from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import broadcast, diffuse, make_path
from safelight.diffusion.precond import PREDICTIONS
from safelight.diffusion.weights import WEIGHTS, edm_weight, simple_weight
from safelight.errors import UserError
from safelight.seeding import ImageNoise

SIGMA_DATA = 0.5


class Fixed(nn.Module):
    """A network that says the same whatever it is asked; its answer is a parameter."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.answer = nn.Parameter(0.3 * ImageNoise(range(6)).normal(channels, 4, 4))

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return self.answer[: len(x)]


def denoiser(path: str, prediction: str, variance: str = "small") -> Denoiser:
    net = Fixed(1 + (variance == "learned"))
    return Denoiser(net, make_path(path), PREDICTIONS[prediction], SIGMA_DATA, variance)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    noise = ImageNoise(range(6))
    return noise.normal(1, 4, 4) * 0.5, noise.normal(1, 4, 4), torch.linspace(0.1, 0.9, 6)


def squares(x: Tensor) -> Tensor:
    return x.square().flatten(1).mean(1)


@pytest.mark.parametrize("prediction", ["edm", "noise", "image", "v", "flow"])
@pytest.mark.parametrize("path", ["linear", "flow", "exploding-continuous"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_errors_of_what_they_are_named_after(
    name: str, path: str, prediction: str, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    """K3, X12: for every prediction, from its guess of x_0 alone."""
    x_0, eps, t = batch
    model = denoiser(path, prediction)
    alpha, sigma = (broadcast(f(t), x_0) for f in (model.path.alpha, model.path.sigma))
    x_t = diffuse(model.path, x_0, t, eps)
    guess = model(x_t, t)
    noise = (x_t - alpha * guess) / sigma
    level = (sigma / alpha).flatten()
    snr, r = level**-2, (alpha**2 + sigma**2).sqrt()
    in_x_0, in_eps = squares(guess - x_0), squares(noise - eps)
    unit = (level**2 + SIGMA_DATA**2).sqrt()
    expected = {
        "image": in_x_0,
        "simple": in_eps,
        "v": squares((alpha * (noise - eps) - sigma * (guess - x_0)) / r),
        "flow": squares((noise - eps) - (guess - x_0)),
        "edm": in_x_0 / (level * SIGMA_DATA / unit) ** 2,  # c_out of arXiv:2206.00364
        "min-snr": snr.clamp(max=5) * in_x_0,
        "p2": in_eps / (1 + snr),
    }
    found = Denoising(WEIGHTS[name](5.0))(model, x_0, t, eps, None)
    torch.testing.assert_close(found, expected[name], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("path", ["exploding", "exploding-continuous", "linear-continuous"])
def test_score_matching(path: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """B2, B3: sigma² |s + eps / sigma|², eq. (5) and (6) of arXiv:1907.05600 and eq. (7) of
    arXiv:2011.13456: the score of q(x_t | x_0) is -eps / sigma.
    """
    x_0, eps, t = batch
    model = denoiser(path, "score")
    sigma = broadcast(model.path.sigma(t), x_0)
    x_t = diffuse(model.path, x_0, t, eps)
    score = (broadcast(model.path.alpha(t), x_0) * model(x_t, t) - x_t) / sigma**2
    expected = squares(sigma * (score + eps / sigma))
    found = Denoising(simple_weight)(model, x_0, t, eps, None)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-6)
    # and the network is sigma times the score, technique 3 of arXiv:2006.09011
    torch.testing.assert_close(
        sigma * score, model.answers(model.affine(t), x_t, t)[0], rtol=1e-2, atol=1e-3
    )


def test_flow_matching(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """X12: |F - (eps - x_0)|², eq. (1) of arXiv:2209.03003."""
    x_0, eps, t = batch
    model = denoiser("flow", "flow")
    found = Denoising(WEIGHTS["flow"](5.0))(model, x_0, t, eps, None)
    torch.testing.assert_close(found, squares(model.net.answer - (eps - x_0)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_finite_for_pure_noise(name: str, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """At alpha = 0, where the noise level is infinite; and the gradient too."""
    x_0, eps, _ = batch
    model = denoiser("flow", "v")
    loss = Denoising(WEIGHTS[name](5.0))(model, x_0, torch.ones(6), eps, None)
    assert loss.isfinite().all()
    loss.sum().backward()
    assert model.net.answer.grad.isfinite().all()


@pytest.mark.parametrize("path", ["linear", "exploding", "flow", "learned"])
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_the_bound_is_the_mean_over_its_terms(path: str, variance: str) -> None:
    """C6, K3: one term at random times their number is, on average, the sum; in bits."""
    made = make_path(path, T=5) if path in ("linear", "exploding") else make_path(path)
    model = Denoiser(
        Fixed(1 + (variance == "learned")), made, PREDICTIONS["v"], SIGMA_DATA, variance
    )
    n = made.levels or TERMS
    noise = ImageNoise([3])
    x_0, eps = (noise.normal(1, 4, 4) / 4).clamp(-1, 1), noise.normal(1, 4, 4)
    total = prior_term(made, x_0)
    losses = []
    for k in range(1, n + 1):
        drawn = torch.tensor([(k if made.levels else k - 0.7) / n])  # the same within every part
        t, s, _ = part(made, drawn)
        total = total + term(model, made, x_0, t, s, eps, variance)
        losses.append(Bound()(model, x_0, drawn, eps, None))
    mean = torch.cat(losses).mean(0, keepdim=True)
    torch.testing.assert_close(mean, bits_per_dimension(total, x_0), rtol=1e-4, atol=0)


def test_parts_of_a_path_with_steps() -> None:
    """They are its steps, in float32 too."""
    steps = make_path("linear", T=1000)
    t = (torch.arange(1000) + 1) / 1000
    exact, s, n = part(steps, t)
    assert n == 1000
    assert torch.equal((exact * 1000).round(), torch.arange(1.0, 1001).double())
    torch.testing.assert_close(exact - s, torch.full_like(s, 1e-3))
    assert s[0] == 0


@pytest.mark.parametrize("name", ["edm", "flow", "cosine-continuous", "learned"])
def test_the_bound_of_a_path_without_steps_sees_every_noise_level(name: str) -> None:
    """None is left out between the ends: there are as many levels as times that are drawn."""
    path, drawn = make_path(name).requires_grad_(False), (torch.arange(20_000) + 0.5) / 20_000
    t, s, _ = part(path, drawn)
    assert (s < t).all()
    level = path.noise_level(asked(Bound(), path, drawn)).log()
    inside = level[t < 1]
    assert len(inside.unique()) > 0.98 * len(drawn)
    lowest = float(path.noise_level(ends(path)[0] if name != "learned" else torch.tensor(1e-9)))
    assert float(level[0]) == pytest.approx(math.log(lowest), abs=2e-3)
    assert float(inside.diff().max()) < 2e-3
    assert float(inside[-1].exp()) > 60 or name == "learned"
    assert torch.equal(asked(Denoising(edm_weight), path, drawn), drawn)


@pytest.mark.parametrize("name", ["edm", "flow", "learned"])
def test_no_part_is_empty(name: str) -> None:
    """Not even that of t = 1, which is drawn about once in 16 million times."""
    path = make_path(name)
    t, s, _ = part(path, torch.tensor([1.0, 1 - 2**-24, 2**-24]))
    assert (t > s).all()
    x_0 = torch.zeros(3, 1, 2, 2)
    model = Denoiser(Fixed(), path, PREDICTIONS["v"], SIGMA_DATA)
    model.net.answer = nn.Parameter(torch.zeros_like(x_0))
    assert (
        Bound()(model, x_0, torch.tensor([1.0, 1 - 2**-24, 2**-24]), x_0 + 1, None).isfinite().all()
    )


def test_the_hybrid_loss_learns_the_variance_from_the_bound_alone(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    """B8: eq. (16) of arXiv:2102.09672: the mean is learnt as if there were no bound."""
    x_0, eps, t = batch

    def slope(objective: Denoising | Bound | Hybrid) -> Tensor:
        model = denoiser("cosine", "noise", variance="learned")
        objective(model, x_0, t, eps, None).sum().backward()
        found: Tensor = model.net.answer.grad
        return found

    mean, variance = slope(Hybrid(simple_weight)).chunk(2, dim=1)
    of_simple, nothing = slope(Denoising(simple_weight)).chunk(2, dim=1)
    assert torch.equal(nothing, torch.zeros_like(nothing))
    torch.testing.assert_close(mean, of_simple)
    of_bound = slope(Bound()).chunk(2, dim=1)[1]
    assert of_bound.abs().min() > 0
    torch.testing.assert_close(variance, HYBRID * of_bound)


def test_a_learned_variance_leaves_the_loss_of_the_mean_as_it_is(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    x_0, eps, t = batch
    model = denoiser("cosine", "noise", variance="learned")
    plain = denoiser("cosine", "noise")
    plain.net.answer.data = model.net.answer.data[:, :1]
    losses = [Denoising(simple_weight)(m, x_0, t, eps, None) for m in (model, plain)]
    assert torch.equal(*losses)
    with pytest.raises(UserError, match="learned no variance; use --variance small or large"):
        plain.with_variance(x_0, t)


def test_a_learned_schedule_makes_the_bound_tighter() -> None:
    """C7: of the exact denoiser, gradients reach the schedule through the bound and lower it."""
    path = make_path("learned")
    mean, std = torch.tensor(0.1), torch.tensor(0.15)
    nodes = torch.tensor([-1.0, 1.0], dtype=torch.float64)  # of degree 3: enough for squares
    n = 20
    k = torch.arange(1, n + 1).repeat_interleave(4).double()
    x_0 = (mean + std * nodes).repeat(2 * n).reshape(-1, 1, 1, 1)
    eps = nodes.repeat_interleave(2).repeat(n).reshape(-1, 1, 1, 1)
    optimiser = torch.optim.Adam(path.parameters(), 0.03)
    bounds = []
    for _ in range(60):
        oracle = GaussianOracle(path, mean, std)
        nats = term(oracle, path, x_0, k / n, (k - 1) / n, eps, "large")
        bound = nats.sum() / 4 / math.log(2)
        bounds.append(float(bound.detach()))
        optimiser.zero_grad()
        bound.backward()
        optimiser.step()
    assert bounds[-1] < bounds[0] - 0.3
    t = torch.linspace(0.01, 1, 100)
    assert (path.log_snr(t).diff() < 0).all()


def test_the_learned_schedules_gradient_is_finite_at_both_ends() -> None:
    model = Denoiser(Fixed(), make_path("learned"), PREDICTIONS["v"], 0.5)
    noise = ImageNoise(range(2))
    x_0, eps = noise.normal(1, 4, 4).clamp(-1, 1), noise.normal(1, 4, 4)
    Bound()(model, x_0, torch.tensor([1e-4, 1.0]), eps, None).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert model.path.schedule.slopes.grad.abs().max() > 0


@pytest.mark.parametrize("weight", [None, edm_weight])
def test_mmd_is_of_the_networks_answers(
    weight: object, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    """C6: in units of F, alone and added to the denoising loss."""
    x_0, eps, t = batch
    model = denoiser("flow", "flow")
    x_t = diffuse(model.path, x_0, t, eps)
    x = x_t / broadcast((t**2 + (1 - t) ** 2).sqrt(), x_t)
    answer = model.net.answer
    guess = x_t - broadcast(t, x_t) * answer
    seen = views(x, guess / model.sigma_data, answer)
    expected = squared_mmd(answer - (eps - x_0), seen, (t / (1 - t)).log(), None)
    if weight is not None:
        expected = expected + Denoising(edm_weight)(model, x_0, t, eps, None)
    found = MMD(weight)(model, x_0, t, eps, None)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
