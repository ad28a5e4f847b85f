"""Schedules: other libraries' tables, limits, shifts, and the learned one."""

from __future__ import annotations

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from safelight.diffusion.betas import BETAS, beta_table, cosine_betas, linear_betas, zero_terminal
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.learned import LearnedSchedule
from safelight.diffusion.objective import Bound
from safelight.diffusion.path import PRESERVING, Path, make_path
from safelight.diffusion.precond import PREDICTIONS
from safelight.diffusion.schedules import (
    LIMITS,
    Shifted,
    Table,
    bisect,
    geometric,
    geometric_table,
    linear_limit,
    straight,
)
from safelight.errors import UserError


def times(n: int) -> Tensor:
    return torch.arange(1, n + 1, dtype=torch.float64) / n


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("linear", DDPMScheduler(beta_schedule="linear")),
        (
            "scaled-linear",
            DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        ),
        ("quadratic", DDPMScheduler(beta_schedule="scaled_linear")),
        ("cosine", DDPMScheduler(beta_schedule="squaredcos_cap_v2")),
        ("sigmoid", DDPMScheduler(beta_schedule="sigmoid")),
    ],
)
def test_tables_equal_diffusers(ours: str, theirs: DDPMScheduler) -> None:
    """K5, L7, C7: every table of betas, and alpha² at every step."""
    torch.testing.assert_close(BETAS[ours](1000).float(), theirs.betas, rtol=1e-4, atol=1e-8)
    alpha2 = make_path(ours).alpha(times(1000)) ** 2
    # Their cumulative product is float32: 1,000 roundings of 6e-8.
    torch.testing.assert_close(alpha2.float(), theirs.alphas_cumprod, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", BETAS)
def test_rescaling_to_pure_noise_equals_diffusers(name: str) -> None:
    """C7: algorithm 1 of arXiv:2305.08891."""
    betas = BETAS[name](1000)
    expected = rescale_zero_terminal_snr(betas)
    torch.testing.assert_close(zero_terminal(betas), expected, rtol=1e-9, atol=1e-12)
    path = make_path(name, zero_terminal_snr=True)
    end = torch.ones((), dtype=torch.float64)
    assert (path.alpha(end), path.sigma(end), path.log_snr(end)) == (0, 1, -math.inf)
    first = end / 1000
    torch.testing.assert_close(path.alpha(first), make_path(name).alpha(first))


def test_a_table_that_ends_in_pure_noise_stays_as_it_is() -> None:
    betas = torch.tensor([0.1, 0.4, 1.0], dtype=torch.float64)
    torch.testing.assert_close(zero_terminal(betas), betas)


def test_the_way_to_the_last_step_of_pure_noise_is_continuous() -> None:
    """alpha / sigma falls in a straight line where the log-SNR would fall to minus infinity."""
    path = make_path("linear", T=5, zero_terminal_snr=True)
    t = torch.linspace(0.8, 1, 11, dtype=torch.float64)
    ratio = path.alpha(t) / path.sigma(t)
    torch.testing.assert_close(ratio.diff(), (-ratio[0] / 10).expand(10))


def test_a_table_is_read_where_its_times_are() -> None:
    """No wait for another device: "meta" has one that gives nothing back."""
    path, t = make_path("linear", T=10), torch.empty(3, device="meta")
    with torch.inference_mode():
        found = (path.alpha(t), path.sigma(t), path.log_snr(t), path.noise_level(t), path.time(t))
    assert all((x.device, x.dtype, x.shape) == (t.device, t.dtype, t.shape) for x in found)
    assert isinstance(path.schedule, Table)
    kept = path.schedule._on(t.device)
    assert kept is path.schedule._on(t.device)
    assert not kept.is_inference()  # or training could not use it after sampling


@pytest.mark.parametrize("name", BETAS)
def test_tables_converge_to_their_continuous_form(name: str) -> None:
    """K6, C7: the difference falls as 1 / T: T = 500, 1000 and 1500 are one schedule."""
    counts, t = [250, 500, 1000, 2000], times(10)[:-1]
    limit = LIMITS[name]().log_snr(t)
    errors = [float((make_path(name, T=T).log_snr(t) - limit).abs().max()) for T in counts]
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05) or max(errors) < 1e-9
    assert errors[2] < 0.07


@pytest.mark.parametrize(
    ("name", "beta"),
    [
        ("linear", lambda t: 0.1 + 19.9 * t),
        ("quadratic", lambda t: (math.sqrt(0.1) * (1 - t) + math.sqrt(20) * t) ** 2),
        ("scaled-linear", lambda t: (math.sqrt(0.85) * (1 - t) + math.sqrt(12) * t) ** 2),
        ("sigmoid", lambda t: 0.1 + 19.9 / (1 + np.exp(6 - 12 * t))),
        ("cosine", lambda t: np.pi / 1.008 * np.tan((t + 0.008) / 1.008 * np.pi / 2)),
    ],
)
def test_continuous_forms_are_integrals(name: str, beta: object) -> None:
    """C7: ln alpha² = -∫ beta, by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    path = make_path(f"{name}-continuous")
    for t in (0.001, 0.1, 0.5, 0.9):
        integral = float((weights * beta((nodes + 1) / 2 * t)).sum() * t / 2)  # type: ignore[operator]
        time = torch.tensor(t, dtype=torch.float64)
        assert float(2 * path.alpha(time).log()) == pytest.approx(-integral, rel=1e-9)
        assert float(path.sigma(time) ** 2) == pytest.approx(-math.expm1(-integral), rel=1e-9)


def test_beta_scales_with_the_number_of_steps() -> None:
    """K6: as much noise in all, whether in 500, 1000 or 1500 steps."""
    totals = [float(linear_betas(T).sum()) for T in (500, 1000, 1500)]
    assert totals == pytest.approx([10.05] * 3)


def test_geometric_levels_are_those_of_ncsn() -> None:
    """K5, C7: ten levels from 1 to 0.01, section 5 of arXiv:1907.05600; and their limit."""
    levels = (geometric_table(10, 0.01, 1.0).log_snr(times(10)) / -2).exp()
    torch.testing.assert_close(levels, torch.logspace(-2, 0, 10, dtype=torch.float64))
    path = make_path("exploding", T=5000)
    torch.testing.assert_close(
        path.log_snr(times(10)), geometric().log_snr(times(10)), rtol=0, atol=0.01
    )
    assert float(make_path("exploding-continuous").sigma(torch.tensor(1.0))) == pytest.approx(50)


@given(shift=st.floats(0.1, 10), t=st.floats(0.001, 0.999))
def test_shift_on_flow_is_a_shift_of_time(shift: float, t: float) -> None:
    """C7: s t / (1 + (s - 1) t), the closed form of arXiv:2403.03206."""
    found = make_path("flow", shift=shift).sigma(torch.tensor(t, dtype=torch.float64))
    assert float(found) == pytest.approx(shift * t / (1 + (shift - 1) * t), rel=1e-12)


@pytest.mark.parametrize("name", ["cosine", "linear-continuous", "edm", "learned"])
def test_shift_moves_every_log_snr(name: str) -> None:
    """arXiv:2301.11093: by -2 ln(shift), on any schedule."""
    moved = make_path(name, shift=2.0).log_snr(times(100)) - make_path(name).log_snr(times(100))
    torch.testing.assert_close(moved, torch.full_like(moved, -2 * math.log(2)))


@given(share=st.floats(0, 1))
def test_bisection_finds_closed_form_inverses(share: float) -> None:
    for schedule in (straight(), geometric(), linear_limit()):
        wanted = schedule.log_snr(torch.tensor([0.001 + 0.998 * share], dtype=torch.float64))
        torch.testing.assert_close(
            bisect(schedule.log_snr, wanted), schedule.time(wanted), rtol=1e-11, atol=0
        )


def test_bisection_stops_at_the_ends() -> None:
    ends = bisect(geometric().log_snr, torch.tensor([1e3, -1e3], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_time_beyond_the_ends_is_the_nearest_end() -> None:
    path = Path(PRESERVING, beta_table(cosine_betas(100)))
    ends = path.time(torch.tensor([torch.inf, 1e30, 1e-30], dtype=torch.float64))
    assert ends.tolist() == [0.0, 0.01, 1.0]


def scrambled(seed: int) -> LearnedSchedule:
    """A learned schedule after a training gone wild: every parameter is random."""
    schedule = LearnedSchedule(learn_ends=True)
    generator = torch.Generator().manual_seed(seed)
    for parameter in schedule.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        nn.init.zeros_(parameter).data.add_(drawn)
    return schedule


@given(seed=st.integers(0, 2**31))
def test_learned_schedule_falls_whatever_its_parameters(seed: int) -> None:
    """C7: by construction, and its time is the inverse."""
    path = Path(PRESERVING, scrambled(seed))
    t = torch.linspace(0, 1, 201, dtype=torch.float64)[1:]
    log_snr = path.log_snr(t)
    assert (log_snr.diff() < 0).all()
    torch.testing.assert_close(path.time(log_snr.exp()), t, rtol=1e-8, atol=0)


def test_learned_schedule_begins_as_a_line_between_its_ends() -> None:
    schedule = LearnedSchedule()
    t = torch.linspace(0, 1, 101)
    line = 13.3 - 18.3 * t
    torch.testing.assert_close(schedule.log_snr(t)[[0, -1]], line[[0, -1]])
    assert (schedule.log_snr(t) - line).abs().max() < 1.0


def test_gradient_reaches_every_parameter_of_a_learned_schedule() -> None:
    """C7: through alpha, sigma and c_noise; the ends only where they are learnt."""
    for learn_ends in (True, False):
        schedule = LearnedSchedule(learn_ends=learn_ends)
        path = Path(PRESERVING, schedule)
        t = torch.tensor([0.1, 0.4, 0.8])
        (path.alpha(t) + 2 * path.sigma(t) + path.log_snr(t)).square().sum().backward()
        gradients = {name: p.grad for name, p in path.named_parameters()}
        assert ("schedule.ends" in gradients) == learn_ends
        for name, gradient in gradients.items():
            assert gradient is not None, name
            assert gradient.isfinite().all(), name
            assert gradient.abs().max() > 1e-6, name


def test_gradient_of_a_learned_schedule_is_right() -> None:
    schedule = scrambled(3).double()
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    names, values = zip(*schedule.named_parameters(), strict=True)

    def log_snr(*parameters: Tensor) -> Tensor:
        given_ = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(_LogSNR(schedule), _under(given_), (t,))

    assert torch.autograd.gradcheck(log_snr, values)


def test_training_moves_a_learned_schedule() -> None:
    """C7: the bound's gradient reaches it, through x_t, the row and c_noise."""
    path = make_path("learned")
    denoiser = Denoiser(_Untaught(), path, PREDICTIONS["v"], sigma_data=0.5)
    x_0, eps = torch.linspace(-1, 1, 24).reshape(2, 3, 1, 2, 2).unbind(0)
    Bound()(denoiser, x_0, torch.tensor([0.2, 0.5, 0.9]), eps, None).sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in path.parameters())


class _Untaught(nn.Module):
    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None) -> Tensor:
        return x + c_noise[:, None, None, None]


class _LogSNR(nn.Module):
    def __init__(self, schedule: LearnedSchedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, t: Tensor) -> Tensor:
        return self.schedule.log_snr(t)


def _under(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"schedule.{name}": value for name, value in parameters.items()}


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_a_learned_schedule_is_trained_and_averaged_with_the_network(shift: float) -> None:
    """A denoiser's parameters include it, and copies have their own."""
    denoiser = Denoiser(
        nn.Linear(1, 1), make_path("learned", shift=shift), PREDICTIONS["v"], sigma_data=0.5
    )
    names = {name for name, _ in denoiser.named_parameters()}
    assert sum(name.startswith("path.") for name in names) == 4
    other = copy.deepcopy(denoiser)
    t = torch.tensor([0.3])
    before = denoiser.path.log_snr(t).item()
    for name, parameter in other.named_parameters():
        if name.endswith("slopes"):
            parameter.data.add_(torch.linspace(-1, 1, len(parameter)))
    assert denoiser.path.log_snr(t).item() == before
    assert other.path.log_snr(t).item() != pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(LearnedSchedule, clean=-5.0, noisy=13.3), "-5 to 13.3 rises; swap the ends"),
        (partial(Shifted, straight(), -1.0), "shift is -1; it has to be a number above 0"),
        (partial(beta_table, torch.tensor([0.5])), "give at least 2"),
        (partial(geometric_table, 3, 1.0, 0.1), "has to fall"),
    ],
)
def test_wrong_schedules_are_refused(make: partial[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
