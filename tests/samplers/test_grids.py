"""Grids: what they promise on every path, and the spacings of the papers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from safelight.diffusion.path import Path, make_path
from safelight.errors import UserError
from safelight.samplers.grids import (
    EARLIEST,
    GRIDS,
    NOISE_GRIDS,
    karras,
    leading,
    logsnr,
    quadratic,
    trailing,
    uniform,
)
from safelight.samplers.steps import SAMPLERS
from tests.samplers.worlds import PATHS, every_path, path_of

EVERY = every_path()


def steps(times: Tensor) -> list[int]:
    return (times[:-1] * 1000).round().int().tolist()


def levels(path: Path, times: Tensor) -> Tensor:
    return path.sigma(times[:-1]) / path.alpha(times[:-1])


@settings(deadline=None, max_examples=300)
@given(
    grid=st.sampled_from(sorted(GRIDS)),
    name=st.sampled_from(sorted(EVERY)),
    n=st.integers(1, 1000),
)
def test_a_grid_gives_as_many_times_as_asked(grid: str, name: str, n: int) -> None:
    """X8: falling, all different, within the path, the last one 0."""
    path = EVERY[name]
    if grid not in ("karras", "logsnr"):
        n = min(n, path.levels or n)
    if grid == "leading" and path.levels is None:
        with pytest.raises(UserError, match="use --grid uniform, karras or logsnr"):
            leading(path, n)
        return
    if grid == "leading" and 1 + (n - 1) * (path.levels // n) < 0.9 * path.levels:
        with pytest.raises(UserError, match="use --grid trailing"):
            leading(path, n)
        return
    times = GRIDS[grid](path, n)
    assert times.dtype == torch.float64
    assert len(times) == n + 1
    assert (times.diff() < 0).all()
    assert times[0] <= 1
    assert times[-1] == 0
    if path.levels is not None and grid not in ("karras", "logsnr"):
        steps = times * path.levels
        torch.testing.assert_close(steps, steps.round(), atol=1e-9, rtol=0)


@settings(deadline=None, max_examples=100)
@given(
    grid=st.sampled_from(["uniform", "quadratic", "trailing", "karras", "logsnr"]),
    name=st.sampled_from(sorted(EVERY)),
    n=st.integers(2, 1000),
    low=st.floats(0.02, 2.0),
)
@example(grid="karras", name="scaled-linear", n=2, low=0.0234375)  # which ends at 0.029
def test_a_grid_goes_no_lower_than_it_is_told(grid: str, name: str, n: int, low: float) -> None:
    """X8: but the grids that count a path's steps, which are all of its levels."""
    path = EVERY[name]
    if path.levels is not None and grid not in NOISE_GRIDS:
        return
    times = GRIDS[grid](path, n, low)
    assert len(times) == n + 1
    assert (times.diff() < 0).all()
    reached = float(path.noise_level(times[-2]).detach())
    assert reached >= low * (1 - 1e-4)
    if grid in NOISE_GRIDS:
        least = float(path.noise_level(torch.tensor(EARLIEST, dtype=torch.float64)).detach())
        assert reached == pytest.approx(max(low, least), rel=1e-3)


def test_spacings_of_a_thousand_steps() -> None:
    """Table 2 of arXiv:2305.08891; beside diffusers' in test_diffusers."""
    path = path_of("preserving")
    assert steps(leading(path, 10)) == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert steps(trailing(path, 10)) == [1000, 900, 800, 700, 600, 500, 400, 300, 200, 100]
    assert steps(uniform(path, 10)) == [1000, 889, 778, 667, 556, 445, 334, 223, 112, 1]
    assert steps(quadratic(path, 10)) == [1000, 810, 640, 490, 360, 250, 160, 90, 40, 10]
    assert steps(quadratic(path, 1000)) == list(range(1000, 0, -1))
    assert steps(quadratic(path, 100))[-4:] == [4, 3, 2, 1]


def test_spacings_of_a_continuous_path() -> None:
    path = path_of("flow")
    for grid in (uniform, trailing):
        assert grid(path, 4).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert quadratic(path, 4).tolist() == [1, 0.5625, 0.25, 0.0625, 0]
    assert uniform(path, 4, 1.0).tolist() == pytest.approx([1, 5 / 6, 4 / 6, 0.5, 0])
    assert quadratic(path, 2, 9 / 16).tolist() == pytest.approx([1, 0.36, 0])


@pytest.mark.parametrize("kind", PATHS)
def test_levels_are_the_papers(kind: str) -> None:
    """X12: eq. (5) of arXiv:2206.00364, from 80 to 0.002, or to the path's own lowest level."""
    path = path_of(kind)
    lowest = 0.01 if kind == "preserving" else 0.002  # sqrt(beta / (1 - beta)) of the first step
    found = levels(path, karras(path, 18)) ** (1 / 7)
    torch.testing.assert_close(found.diff(), found.diff().mean().expand(17), rtol=1e-6, atol=0)
    even = levels(path, logsnr(path, 18)).log()
    torch.testing.assert_close(even.diff(), even.diff().mean().expand(17), rtol=1e-6, atol=0)
    for each in (found**7, even.exp()):
        assert each[[0, -1]].tolist() == pytest.approx([80, lowest], rel=1e-4)


def test_leading_begins_near_full_noise_or_not_at_all() -> None:
    """Published lengths pass, from 10 of 1000 on; longer ones may begin lower than those."""
    path = path_of("preserving")
    for n in (10, 20, 25, 50, 100, 125, 200, 250, 500, 1000):
        assert steps(leading(path, n))[0] == 1001 - 1000 // n
    for n in (1, 2, 9, 300, 600, 899):
        with pytest.raises(UserError, match=f"{n} steps of the grid leading begin at step"):
            leading(path, n)
    said = "begin at step 1000 of 1500, where 11% of the image is left, .*; use --grid trailing"
    with pytest.raises(UserError, match=said):
        leading(make_path("linear", T=1500), 1000)


@pytest.mark.parametrize("T", [500, 1000, 1500])
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_usual_times_begin_in_full_noise(sampler: str, zero_terminal_snr: bool, T: int) -> None:
    """At step T, or at the level 80 or the path's highest: what samplers draw there is noise."""
    path, row = make_path("linear", T=T, zero_terminal_snr=zero_terminal_snr), SAMPLERS[sampler]
    grid, n = row.usual_grid(path), row.usual_steps(path)
    times = GRIDS[grid](path, n)
    assert n == min(row.steps, T)
    if grid == "trailing":
        assert times[0] == 1
        assert (path.alpha(times[0]) == 0) == zero_terminal_snr
    else:
        highest = path.sigma(torch.tensor(1.0)) / path.alpha(torch.tensor(1.0))
        assert float(levels(path, times)[0]) == pytest.approx(min(80, float(highest)), rel=1e-3)


@pytest.mark.parametrize("grid", GRIDS)
def test_wrong_lengths_are_refused(grid: str) -> None:
    path = path_of("preserving")
    with pytest.raises(UserError, match="0 steps asked of a sampler; use at least 1"):
        GRIDS[grid](path, 0)
    if grid in ("karras", "logsnr"):  # which visit times between the path's steps too
        assert len(GRIDS[grid](path, 1001)) == 1002
        return
    with pytest.raises(UserError, match="1001 steps asked of a path of 1000; use at most 1000"):
        GRIDS[grid](path, 1001)


def test_levels_that_a_path_lacks_are_refused() -> None:
    with pytest.raises(UserError, match="no 3 different noise levels"):
        karras(path_of("preserving"), 3, low=0.0, high=0.001)
