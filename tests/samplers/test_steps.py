"""Samplers against closed forms and against diffusers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

from safelight.diffusion.betas import beta_table
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import PRESERVING, Path, broadcast, make_path
from safelight.diffusion.precond import PREDICTIONS
from safelight.errors import UserError
from safelight.nets.unet import UNet
from safelight.samplers.grids import GRIDS, karras, leading, trailing
from safelight.samplers.guidance import Clipped, Guided
from safelight.samplers.state import State, Step
from safelight.samplers.steps import DDIM, DDPM, Heun
from safelight.samplers.trajectory import trajectory
from safelight.seeding import ImageNoise

STEPS: dict[str, Step] = {
    "ddpm": DDPM(),
    "ddpm-large": DDPM("large"),
    "ddim": DDIM(),
    "heun": Heun(),
}


class Plausible(nn.Module):
    """Predicts the noise of Gaussian data exactly, and a random U-Net's opinion on top.

    A U-Net of random weights alone amplifies rounding errors a thousandfold over a trajectory, as
    no denoiser does.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unet = UNet((1, 8, 8), widths=(16, 32), blocks=1)
        for parameter in self.unet.parameters():
            torch.nn.init.normal_(parameter, std=0.1)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        level = broadcast((4 * c_noise).exp(), x)
        alpha = (1 + level**2).rsqrt()
        sigma = level * alpha
        eps = sigma * x / (0.25 * alpha**2 + sigma**2)  # of x_0 ~ N(0, 1/4)
        return eps + 0.1 * self.unet(x, c_noise).tanh()


@pytest.fixture(scope="module")
def network() -> Plausible:
    return Plausible().eval().requires_grad_(False)


def in_double(scheduler: DDPMScheduler | DDIMScheduler) -> Path:
    """Our path of the scheduler's betas; its own table made anew in float64.

    Its float32 product of 1,000 factors alone moves the images by 2e-5.
    """
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), dim=0)
    return Path(PRESERVING, beta_table(scheduler.betas))


def predicted_noise(network: Plausible, path: Path, x: Tensor, step: int) -> Tensor:
    t = torch.full((len(x),), (step + 1) / path.levels)
    return Denoiser(network, path, PREDICTIONS["noise"], 1.0).network(x, t)


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max())


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("clip", [True, False])
def test_ddpm_equals_diffusers(network: Plausible, variance: str, clip: bool) -> None:
    """K3, B2: 1,000 ancestral steps with the same network, noise and schedule, to 1e-5."""
    reference = DDPMScheduler(variance_type=f"fixed_{variance}", clip_sample=clip)
    path = in_double(reference)
    reference.set_timesteps(1000)
    eps, draws = ImageNoise([0, 1]), ImageNoise([2, 3])
    x = x_T = path.sigma(torch.tensor(1.0)) * eps.normal(1, 8, 8)
    recorded = [draws.normal(1, 8, 8) for _ in range(999)]
    for i, step in enumerate(reference.timesteps.tolist()):
        noise = recorded[i] if step else torch.zeros_like(x)
        x = _reference_step(reference, predicted_noise(network, path, x, step), step, x, noise)
    denoise = Guided(Denoiser(network, path, PREDICTIONS["noise"], 1.0), None)
    found = run(
        DDPM(variance),
        Clipped(denoise) if clip else denoise,
        path,
        leading(path, 1000),
        x_T,
        ImageNoise([2, 3]),
    )
    assert difference(found, x) < 1e-5


def _reference_step(
    scheduler: DDPMScheduler, eps: Tensor, step: int, x: Tensor, noise: Tensor
) -> Tensor:
    """scheduler.step with the noise given, not drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, **k: noise)
        return scheduler.step(eps, step, x).prev_sample


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_equals_diffusers(network: Plausible, eta: float) -> None:
    """F4: 50 DDIM steps with the same network, noise and schedule, to 1e-5."""
    reference = DDIMScheduler()
    path = in_double(reference)
    reference.set_timesteps(50)
    eps, draws = ImageNoise([0, 1]), ImageNoise([2, 3])
    x = x_T = path.sigma(torch.tensor(0.981)) * eps.normal(1, 8, 8)
    for step in reference.timesteps.tolist():
        predicted = predicted_noise(network, path, x, step)
        noise = draws.normal(1, 8, 8)
        x = (
            reference.step(
                predicted, step, x, eta=eta, use_clipped_model_output=True, variance_noise=noise
            ).prev_sample
            if eta
            else reference.step(predicted, step, x, use_clipped_model_output=True).prev_sample
        )
    denoise = Clipped(Guided(Denoiser(network, path, PREDICTIONS["noise"], 1.0), None))
    found = run(DDIM(eta), denoise, path, leading(path, 50), x_T, ImageNoise([2, 3]))
    assert difference(found, x) < 1e-5


def run(
    step: Step,
    denoise: Callable[[Tensor, Tensor], Tensor],
    path: Path,
    times: Tensor,
    x: Tensor,
    noise: ImageNoise,
) -> Tensor:
    state = State(x, times[0])
    for s in times[1:]:
        state = step(denoise, path, state, s, noise)
    return state.x


@pytest.mark.parametrize("path_name", ["edm", "linear", "cosine", "flow"])
@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2)])
def test_order_of_convergence(name: str, order: int, path_name: str) -> None:
    """The error of a deterministic trajectory falls with the declared power of the step size."""
    step = STEPS[name]
    assert step.order == order
    path = make_path(path_name)
    oracle = GaussianOracle(path, torch.tensor(0.2).double(), torch.tensor(0.5).double())
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(9, 1, 1, 1)
    t, s = (path.time(torch.tensor(v, dtype=torch.float64) ** -2) for v in (4.0, 0.05))
    x_t = path.alpha(t) * 0.2 + (path.alpha(t) ** 2 * 0.25 + path.sigma(t) ** 2).sqrt() * x
    exact = path.alpha(s) * 0.2 + (path.alpha(s) ** 2 * 0.25 + path.sigma(s) ** 2).sqrt() * x
    counts = np.array([16, 32, 64, 128])
    errors = []
    for n in counts:
        level = torch.logspace(np.log10(4.0), np.log10(0.05), int(n) + 1, dtype=torch.float64)
        times = path.time(level**-2)
        times[0], times[-1] = t, s
        errors.append(
            float((run(step, oracle, path, times, x_t, ImageNoise([0] * 9)) - exact).abs().max())
        )
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - order) < 0.2


@pytest.mark.parametrize("path_name", ["linear", "cosine"])
@pytest.mark.parametrize("step", [DDPM(), DDIM(1.0), DDIM(0.0), Heun()], ids=str)
def test_gaussian_data_comes_back(step: Step, path_name: str) -> None:
    """With the exact denoiser the samples have the data's mean and deviation."""
    path = make_path(path_name)
    n = 20_000
    oracle = GaussianOracle(path, torch.tensor(0.3), torch.tensor(0.4))
    times = karras(path, 64) if isinstance(step, Heun) else leading(path, 1000)
    noise = ImageNoise([7])
    eps = noise.normal(1, 1, n)
    *_, last = trajectory(step, oracle, path, times, eps, noise)
    assert float(last.x.mean()) == pytest.approx(0.3, abs=4 * 0.4 / n**0.5 + 1e-3)
    assert float(last.x.std()) == pytest.approx(0.4, abs=4 * 0.4 / (2 * n) ** 0.5 + 2e-3)


def test_paths_agree_on_the_image() -> None:
    """The same denoiser on two paths, at the same noise levels, gives the same image."""
    found = []
    for name in ("edm", "cosine"):
        path = make_path(name)
        oracle = GaussianOracle(path, torch.tensor(0.1), torch.tensor(0.5))
        times = karras(path, 20, low=0.02, high=20)
        level = path.sigma(times[0]) / path.alpha(times[0])
        eps = ImageNoise([3]).normal(1, 4, 4) * (20 / level).to(torch.float32)
        *_, last = trajectory(Heun(), oracle, path, times, eps, ImageNoise([0]))
        found.append(last.x)
    torch.testing.assert_close(*found, atol=1e-4, rtol=0)


def test_evaluations_are_counted() -> None:
    path = make_path("edm")
    oracle = GaussianOracle(path, torch.tensor(0.0), torch.tensor(0.5))
    for step in STEPS.values():
        calls = []

        def counted(x: Tensor, t: Tensor, calls: list[int] = calls) -> Tensor:
            calls.append(1)
            return oracle(x, t)

        list(
            trajectory(
                step, counted, path, karras(path, 7), torch.randn(1, 1, 2, 2), ImageNoise([0])
            )
        )
        assert len(calls) == step.evaluations(7)


def test_grids_fall_to_zero() -> None:
    path = make_path("linear")
    for make in GRIDS.values():
        for n in (1, 2, 18, 50):
            times = make(path, n)
            # A path of discrete steps has no room for many levels below its smallest.
            assert len(times) == n + 1 or make is karras
            assert (times.diff() < 0).all()
            assert times[-1] == 0
    assert (leading(path, 50)[:2] * 1000).round().tolist() == [981, 961]
    assert (trailing(path, 50)[:2] * 1000).round().tolist() == [1000, 980]


def test_wrong_options_are_refused() -> None:
    with pytest.raises(UserError, match="eta is 1.5"):
        DDIM(1.5)
    with pytest.raises(UserError, match="choose one of: small, large"):
        DDPM("medium")
    with pytest.raises(UserError, match="use at most 1000"):
        leading(make_path("linear"), 1001)
    with pytest.raises(UserError, match="karras"):
        leading(make_path("edm"), 10)
