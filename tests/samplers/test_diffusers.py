"""Whole trajectories in float32, beside those of diffusers with the same network and noise.

Its schedulers make their tables in float32, whose product of 1,000 factors alone moves an image by
2e-5. Here they are made anew in float64; what is compared is the arithmetic of the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from torch import Tensor, nn

from safelight.diffusion.betas import beta_table
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.path import PRESERVING, Path, broadcast, make_path
from safelight.diffusion.precond import PREDICTIONS
from safelight.samplers.ancestral import DDIM, DDPM
from safelight.samplers.edm import Euler, Heun
from safelight.samplers.grids import karras, leading, trailing, uniform
from safelight.samplers.guidance import Clipped, Guided
from safelight.samplers.multistep import DPMSolver, UniPC
from safelight.samplers.state import Denoise, State, Step
from safelight.samplers.trajectory import walk
from safelight.seeding import ImageNoise, generator

STEPS = 12
GRIDS = {"leading": leading, "trailing": trailing, "linspace": uniform}


class Plausible(nn.Module):
    """Predicts the noise of Gaussian data exactly, and what a random UNet2DModel says on top.

    A U-Net of random weights alone amplifies rounding errors a thousandfold over a trajectory, as
    no denoiser does.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
        size = {"block_out_channels": (8,), "layers_per_block": 1, "norm_num_groups": 4}
        self.unet = UNet2DModel(in_channels=1, out_channels=1, **blocks, **size)
        drawn = generator(0)
        for parameter in self.unet.parameters():
            torch.nn.init.normal_(parameter, std=0.1, generator=drawn)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        alpha, sigma = _split(x, c_noise)
        eps = sigma * x / (0.25 * alpha**2 + sigma**2)  # of x_0 ~ N(0, 1/4)
        return eps + 0.1 * self.unet(x, 250 * c_noise).sample.tanh()  # type: ignore[no-any-return]


class Velocity(Plausible):
    """The same for eps - x_0."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        alpha, sigma = _split(x, c_noise)
        x_0 = 0.25 * alpha * x / (0.25 * alpha**2 + sigma**2)
        return super().forward(x, c_noise) - x_0


class WithVariance(Plausible):
    """A second channel for what the variance is."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        eps = super().forward(x, c_noise)
        return torch.cat([eps, (3 * x).sin()], dim=1)


def _split(x: Tensor, c_noise: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma of the variance-preserving path."""
    level = broadcast((4 * c_noise).exp(), x)
    alpha = (1 + level**2).rsqrt()
    return alpha, level * alpha


def denoiser(net: nn.Module, path: Path, prediction: str = "noise") -> Denoiser:
    variance = "learned" if isinstance(net, WithVariance) else "small"
    model = Denoiser(net, path, PREDICTIONS[prediction], 0.5, variance)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def net() -> Plausible:
    return Plausible()


def in_double(scheduler: DDPMScheduler) -> Path:
    """Our path of the scheduler's betas; its own table made anew in float64."""
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), dim=0)
    return Path(PRESERVING, beta_table(scheduler.betas))


def times_of(scheduler: DDPMScheduler) -> Tensor:
    """The times of its steps, and 0."""
    steps = (scheduler.timesteps.double() + 1) / scheduler.config.num_train_timesteps
    return torch.cat([steps, torch.zeros(1).double()])


def sigmas_at(path: Path, times: Tensor) -> Tensor:
    """sigma / alpha, float64: what schedulers call sigmas, and keep in float32."""
    return path.sigma(times) / path.alpha(times)


def start(path: Path, t: Tensor) -> Tensor:
    return (path.sigma(t) * ImageNoise([0, 1]).normal(1, 8, 8)).float()


def ours(step: Step, denoise: Denoise, path: Path, times: Tensor) -> Tensor:
    state = State(start(path, times[0]), times[0])
    *_, last = walk(step, denoise, path, state, times[1:], ImageNoise([2, 3]))
    return last.x


def same(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).abs().max()) < 1e-5


def draws() -> Callable[[], Tensor]:
    noise = ImageNoise([2, 3])
    return lambda: noise.normal(1, 8, 8)


def raw(model: Denoiser, x: Tensor, t: Tensor) -> Tensor:
    """All channels of the network's output."""
    t = t.to(x).expand(len(x))
    F, v = model.answers(model.affine(t), x, t)
    return F if v is None else torch.cat([F, 2 * v - 1], dim=1)


def ddpm_reference(scheduler: DDPMScheduler, model: Denoiser, times: Tensor) -> Tensor:
    """Its loop, with our noise in the place of the noise that it draws.

    None in the last step: it would add some there to an image made from a step above its first.
    """
    x, noise = start(model.path, times[0]), draws()
    for step, t, s in zip(scheduler.timesteps, times, times[1:], strict=False):
        n = noise() if s > 0 else torch.zeros_like(x)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, n=n, **k: n
            )
            x = scheduler.step(raw(model, x, t), step, x).prev_sample
    return x


def test_ddpm_of_1000_steps(net: Plausible) -> None:
    """K3, B2, F5: as published."""
    reference = DDPMScheduler()
    model = denoiser(net, in_double(reference))
    reference.set_timesteps(1000)
    times = leading(model.path, 1000)
    found = ours(DDPM(), Clipped(Guided(model)), model.path, times)
    assert same(found, ddpm_reference(reference, model, times))


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_ddpm_respaced(net: Plausible, variance: str, spacing: str) -> None:
    """K3, B2, B8: each variance, with each spacing."""
    kind = {"learned": "learned_range"}.get(variance, f"fixed_{variance}")
    reference = DDPMScheduler(variance_type=kind, clip_sample=False, timestep_spacing=spacing)
    chosen = WithVariance() if variance == "learned" else net
    model = denoiser(chosen, in_double(reference))
    reference.set_timesteps(STEPS)
    times = GRIDS[spacing](model.path, STEPS)
    torch.testing.assert_close(times, times_of(reference))
    found = ours(DDPM(variance), Guided(model), model.path, times)
    assert same(found, ddpm_reference(reference, model, times))


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(net: Plausible, eta: float, spacing: str) -> None:
    """F4: its linspace is left out, which steps from there back by T / n and not to the next."""
    reference = DDIMScheduler(timestep_spacing=spacing)
    model = denoiser(net, in_double(reference))
    reference.set_timesteps(20)
    times = GRIDS[spacing](model.path, 20)
    torch.testing.assert_close(times, times_of(reference))
    x, noise = start(model.path, times[0]), draws()
    for step, t in zip(reference.timesteps, times, strict=False):
        n = noise() if eta else None
        eps = raw(model, x, t)
        x = reference.step(
            eps, step, x, eta=eta, use_clipped_model_output=True, variance_noise=n
        ).prev_sample
    assert same(ours(DDIM(eta), Clipped(Guided(model)), model.path, times), x)


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("n", [3, STEPS])
def test_dpm_solver(net: Plausible, n: int, eta: float, spacing: str) -> None:
    """X8: DPM-Solver++(2M) and its SDE form, with the scheduler's own choice of steps."""
    kind = "sde-dpmsolver++" if eta else "dpmsolver++"
    reference = DPMSolverMultistepScheduler(algorithm_type=kind, timestep_spacing=spacing)
    model = denoiser(net, in_double(reference))
    reference.set_timesteps(n)
    times = times_of(reference)
    reference.sigmas = sigmas_at(model.path, times)
    x, noise = start(model.path, times[0]), draws()
    for step, t in zip(reference.timesteps, times, strict=False):
        drawn = noise() if eta else None
        x = reference.step(raw(model, x, t), step, x, variance_noise=drawn).prev_sample
    assert same(ours(DPMSolver(eta), Guided(model), model.path, times), x)


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_unipc(net: Plausible, p: int, spacing: str) -> None:
    """X8: of order up to 3, at the step to 0 alone of order 1."""
    reference = UniPCMultistepScheduler(solver_order=p, timestep_spacing=spacing)
    model = denoiser(net, in_double(reference))
    reference.set_timesteps(STEPS)
    times = times_of(reference)
    reference.sigmas = sigmas_at(model.path, times)
    x = start(model.path, times[0])
    for i, (step, t) in enumerate(zip(reference.timesteps, times, strict=False)):
        # It lowers the order one step early, knowing how many there are.
        reference.register_to_config(lower_order_final=i == STEPS - 1)
        x = reference.step(raw(model, x, t), step, x).prev_sample
    assert same(ours(UniPC(p), Guided(model), model.path, times), x)


@pytest.mark.parametrize("make", [EulerDiscreteScheduler, HeunDiscreteScheduler])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "karras"])
def test_euler_and_heun(net: Plausible, spacing: str, make: type) -> None:
    """X8, X12: in z = x / alpha, from all of the path's levels for Karras's grid."""
    own = spacing == "karras"
    kept = {"use_karras_sigmas": True} if own else {"timestep_spacing": spacing}
    reference = make(**kept)
    model = denoiser(net, in_double(reference))
    reference.set_timesteps(STEPS)
    path = model.path
    times = karras(path, STEPS, 0.0, math.inf) if own else GRIDS[spacing](path, STEPS)
    sigmas = sigmas_at(path, times)
    heun = make is HeunDiscreteScheduler
    calls = [0, *(i for i in range(1, STEPS) for _ in range(2 if heun else 1)), STEPS]
    torch.testing.assert_close(sigmas[calls].float(), reference.sigmas, rtol=2e-5, atol=0)
    reference.sigmas = sigmas[calls]
    z = start(path, times[0]) / path.alpha(times[0])
    for i, step in zip(calls, reference.timesteps, strict=False):
        eps = raw(model, reference.scale_model_input(z, step).float(), times[i])
        z = reference.step(eps, step, z).prev_sample
    found = ours(Heun() if heun else Euler(), Guided(model), path, times)
    assert same(found, z)


@pytest.mark.parametrize(
    ("make", "step", "options"),
    [
        (EDMEulerScheduler, Euler(), {}),
        (EDMDPMSolverMultistepScheduler, DPMSolver(), {}),
        (EDMDPMSolverMultistepScheduler, DPMSolver(1.0), {"algorithm_type": "sde-dpmsolver++"}),
    ],
    ids=["euler", "dpm", "sde-dpm"],
)
def test_edm(net: Plausible, make: type, step: Step, options: dict[str, str]) -> None:
    """X12: EDM's own path, grid and preconditioning."""
    reference = make(**options)
    reference.set_timesteps(STEPS)
    path = make_path("edm")
    model = denoiser(net, path, "edm")
    times = karras(path, STEPS)
    torch.testing.assert_close(sigmas_at(path, times).float(), reference.sigmas)
    reference.sigmas = sigmas_at(path, times)
    z, noise = start(path, times[0]), draws()
    patch = "diffusers.schedulers.scheduling_edm_dpmsolver_multistep.randn_tensor"
    for c_noise in reference.timesteps:
        F = net(reference.scale_model_input(z, c_noise).float(), c_noise.expand(2))
        with pytest.MonkeyPatch.context() as monkey:
            monkey.setattr(patch, lambda *a, **k: noise())
            z = reference.step(F, c_noise, z).prev_sample
    found = ours(step, Guided(model), path, times)
    assert same(found, z)


def test_flow_matching() -> None:
    """X12: from pure noise, where alpha = 0."""
    path = make_path("flow")
    model = denoiser(Velocity(), path, "flow")
    times = uniform(path, STEPS)
    reference = FlowMatchEulerDiscreteScheduler()
    reference.set_timesteps(sigmas=times[:-1].tolist())
    reference.sigmas = times
    x = start(path, times[0])
    for step, t in zip(reference.timesteps, times, strict=False):
        x = reference.step(raw(model, x, t), step, x).prev_sample
    assert same(ours(Euler(), Guided(model), path, times), x)
