"""How times are drawn: their distributions, and that importance leaves the mean as it is."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from safelight.diffusion.objective import Bound, Denoising, asked, part
from safelight.diffusion.path import make_path
from safelight.diffusion.times import (
    TIMES,
    LossAware,
    logit_normal_times,
    lognormal_times,
    lowest_drawn,
    uniform_times,
)
from safelight.diffusion.weights import WEIGHTS
from safelight.errors import UserError
from safelight.seeding import ImageNoise

T = 12


def many(n: int = 50_000) -> Tensor:
    return ImageNoise(range(n)).uniform()


def steps_of(t: Tensor) -> Tensor:
    return (t * T).round().long()


def full(losses: Tensor) -> LossAware:
    """A history that is full of one loss for each step."""
    times = LossAware(T)
    t = (torch.arange(T) + 1) / T
    for _ in range(10):
        times.observe(t, losses)
    return times


def test_times_are_drawn_per_image() -> None:
    """K3: a time step for each image, over all of them alike."""
    steps = (uniform_times(make_path("linear", T=10), many()).t * 10).round()
    counts = torch.bincount(steps.long(), minlength=11)
    assert counts[0] == 0
    assert (counts[1:] - 5_000).abs().max() < 4 * 5_000**0.5
    path = make_path("edm")
    log_level = path.sigma(lognormal_times(path, many()).t).log()
    assert float(log_level.mean()) == pytest.approx(-1.2, abs=0.02)
    assert float(log_level.std()) == pytest.approx(1.2, abs=0.02)


def test_logit_normal_times() -> None:
    """X12: ln(t / (1 - t)) is normal."""
    t = logit_normal_times(make_path("edm"), many(), mean=0.5, std=0.8).t
    logit = t.logit()
    assert float(logit.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(logit.std()) == pytest.approx(0.8, abs=0.02)


# The thousandth part of a normal distribution lies 3.09 deviations below its mean.
@pytest.mark.parametrize(
    ("times", "path", "expected"),
    [
        ("logit-normal", "flow", math.exp(-3.09)),
        ("lognormal", "edm", math.exp(-1.2 - 3.09 * 1.2)),
        ("uniform", "flow", 1e-3),
        ("uniform", "linear", 0.01),  # sqrt(beta / (1 - beta)) of the first of 1000 steps
        ("importance", "linear", 0.01),
        ("uniform", "exploding", 0.01),
    ],
)
def test_the_lowest_level_that_training_knows(times: str, path: str, expected: float) -> None:
    """K3: one time in a thousand is below, but for a path's own first step."""
    levels = make_path(path)
    found = lowest_drawn(TIMES[times](levels, None, None), levels)
    assert found == pytest.approx(expected, rel=0.06)


def test_a_bound_asks_at_times_of_its_own() -> None:
    """C6: a path without steps is cut evenly in log-SNR, however times are drawn."""
    path = make_path("edm")
    levels = [
        lowest_drawn(uniform_times, path, partial(asked, objective, path))
        for objective in (Bound(), Denoising(WEIGHTS["edm"](5.0)))
    ]
    t = part(path, uniform_times(path, torch.linspace(0, 1, 5001)[:-1]).t)[0]
    drawn = path.noise_level(t).sort().values
    assert levels[0] == pytest.approx(float(drawn[5]), rel=0.02)
    assert levels[0] < 0.1 * levels[1]


@pytest.mark.parametrize("path_name", ["linear", "edm"])
@pytest.mark.parametrize("name", ["lognormal", "uniform", "logit-normal"])
def test_times_lie_on_the_path(name: str, path_name: str) -> None:
    path = make_path(path_name)
    u = torch.cat([torch.tensor([0.0, 1 - 2**-24]), many(2_000)])
    t, importance = TIMES[name](path, 0.0, 1.0)(path, u)
    assert ((t > 0) & (t <= 1)).all()
    assert (importance == 1).all()


def test_loss_aware_times_are_uniform_at_first() -> None:
    """B8: until ten losses of each step are known, section 3.3 of arXiv:2102.09672."""
    times = LossAware(T)
    t = (torch.arange(T) + 1) / T
    for _ in range(9):
        times.observe(t, torch.arange(T) + 1.0)
    torch.testing.assert_close(times.probabilities(), torch.full((T,), 1 / T, dtype=torch.float64))
    drawn = times(make_path("linear", T=T), many(1_000))
    torch.testing.assert_close(drawn.importance, torch.ones(1_000))
    times.observe(t, torch.arange(T) + 1.0)
    assert float(times.probabilities()[-1] / times.probabilities()[0]) == pytest.approx(
        12, rel=0.02
    )


def test_loss_aware_times_follow_the_root_mean_square() -> None:
    """B8: p_t ~ sqrt(E[L_t²]), eq. (18) of arXiv:2102.09672, and so are the steps drawn."""
    losses = torch.linspace(0.1, 2, T)
    times = full(losses)
    expected = 0.999 * losses.double() / losses.sum() + 0.001 / T
    torch.testing.assert_close(times.probabilities(), expected, rtol=1e-6, atol=0)
    n = 50_000
    counts = torch.bincount(steps_of(times(make_path("linear", T=T), many(n)).t), minlength=T + 1)[
        1:
    ]
    spread = (expected * (1 - expected) / n).sqrt()
    assert ((counts / n - expected).abs() < 4 * spread).all()


def test_importance_leaves_the_loss_unbiased() -> None:
    """B8: the mean of importance times loss is the mean over uniform times, exactly."""
    losses = torch.linspace(0.1, 2, T)
    times = full(losses)
    p = times.probabilities()
    inside = (p.cumsum(0) - p / 2).float()  # a u of each step
    t, importance = times(make_path("linear", T=T), inside)
    assert steps_of(t).tolist() == list(range(1, T + 1))
    asked = torch.rand(T, generator=torch.Generator().manual_seed(0))
    assert float((p * importance * asked).sum()) == pytest.approx(float(asked.mean()), rel=1e-6)


def test_a_loss_of_zero_does_not_end_looking() -> None:
    losses = torch.ones(T)
    losses[3] = 0
    assert float(full(losses).probabilities()[3]) == pytest.approx(1e-3 / T)
    torch.testing.assert_close(
        full(torch.zeros(T)).probabilities(), torch.full((T,), 1 / T, dtype=torch.float64)
    )


@given(
    steps=st.lists(st.integers(1, 3), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_the_history_is_that_of_one_loss_after_another(steps: list[int], cuts: list[int]) -> None:
    """However many images of one step come at once: the newest ten are kept."""
    t, losses = torch.tensor(steps) / 3, torch.arange(float(len(steps))) + 1
    times = LossAware(3)
    last = 0
    for cut in [*sorted(cuts), len(steps)]:
        times.observe(t[last:cut], losses[last:cut])
        last = max(last, cut)
    for step in (1, 2, 3):
        own = [loss for loss, k in zip(losses.tolist(), steps, strict=True) if k == step]
        newest = sorted(times.history[step - 1].tolist(), reverse=True)[: len(own)]
        assert newest == sorted(own[-10:], reverse=True)
        assert int(times.seen[step - 1]) == len(own)


def test_the_history_survives_a_state_dict() -> None:
    times, other = full(torch.linspace(0.1, 2, T)), LossAware(T)
    other.load_state_dict(times.state_dict())
    assert torch.equal(times.probabilities(), other.probabilities())


def test_importance_needs_steps() -> None:
    with pytest.raises(UserError, match="choose a path with steps, such as linear"):
        TIMES["importance"](make_path("edm"), 0.0, 1.0)
