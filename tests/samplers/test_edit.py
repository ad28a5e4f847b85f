"""X10: editing against closed forms and identities, with every sampler."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from safelight.diffusion.oracle import GaussianOracle
from safelight.diffusion.path import Path, make_path
from safelight.errors import UserError
from safelight.images import dequantise, quantise
from safelight.samplers.edit import (
    Arc,
    Between,
    Known,
    Pooled,
    Projected,
    develop,
    fitted,
    invert,
    redraw,
    resampled,
    restore,
    slerp,
    times_from,
)
from safelight.samplers.grids import GRIDS, karras
from safelight.samplers.guidance import Clipped
from safelight.samplers.state import noised
from safelight.samplers.steps import SAMPLERS, State
from safelight.seeding import ImageNoise
from tests.samplers.worlds import Draws

EDM = make_path("edm")


def pictures(n: int = 2, c: int = 1, size: int = 8, seed: int = 0) -> Tensor:
    """uint8 (n, c, size, size), black and white among them."""
    drawn = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, c, size, size, generator=drawn)
    return quantise(noise.clamp(-1, 1))


def oracle(path: Path = EDM) -> GaussianOracle:
    """A model of images that are nothing like the pictures."""
    return GaussianOracle(path, torch.full((1, 1, 1), 0.4), torch.tensor(0.3))


def usual_times(sampler: str, path: Path, steps: int = 7) -> Tensor:
    return GRIDS[SAMPLERS[sampler].usual_grid(path)](path, steps)


@pytest.mark.parametrize("path", ["edm", "cosine", "flow"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("repeats", [1, 3])
def test_known_pixels_come_back_as_they_are(sampler: str, path: str, repeats: int) -> None:
    """X10: bit for bit in uint8, with every sampler; the others are drawn."""
    walked, known = make_path(path), pictures()
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 3:] = True
    noise = ImageNoise([1, 2])
    found = quantise(
        restore(
            SAMPLERS[sampler].make(),
            Clipped(oracle(walked)),
            walked,
            usual_times(sampler, walked),
            Known(dequantise(known), mask),
            noise.normal(1, 8, 8),
            noise,
            repeats,
        )
    )
    assert torch.equal(found[..., 3:], known[..., 3:])
    assert (found[..., :3] != known[..., :3]).float().mean() > 0.9


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_end_on_what_is_known_by_themselves(sampler: str) -> None:
    """The last projection of `restore` only removes rounding."""
    known = dequantise(pictures())
    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    step, times, noise = SAMPLERS[sampler].make(), usual_times(sampler, EDM), ImageNoise([1, 2])
    guess = Projected(oracle(), Known(known, everything))
    state = State(EDM.sigma(times[0]) * noise.normal(1, 8, 8), times[0])
    for s in times[1:]:
        state = step(guess, EDM, state, s, noise)
    torch.testing.assert_close(state.x, known.to(state.x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("k", [2, 4])
def test_projections_are_projections(k: int) -> None:
    """X10: A P x = y, P P = P, and of all images with A x = y, P x is the nearest."""
    drawn = Draws(3)
    x, y = drawn.normal(2, 8, 8).double(), drawn.uniform(2, 8 // k, 8 // k).double() * 2 - 1
    project = Pooled(y)
    onto = project(x)
    torch.testing.assert_close(avg_pool2d(onto, k), y)
    torch.testing.assert_close(project(onto), onto)
    other = project(drawn.normal(2, 8, 8).double())
    # The way to the nearest point stands at a right angle to every way within the set.
    right_angle = ((x - onto) * (other - onto)).sum()
    assert abs(right_angle) < 1e-9
    known = Known(x, Draws(1).uniform(1, 8, 8) > 0.5)
    assert torch.equal(known(known(other)), known(other))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4, 8]), st.floats(0.1, 4))
def test_a_fitted_image_has_the_small_one_and_stays_in_range(
    seed: int, k: int, contrast: float
) -> None:
    """X10: exactly in floats, and to half a level of the mean in uint8."""
    drawn = torch.Generator().manual_seed(seed)
    small = pictures(2, 3, 8 // k, seed)
    x = torch.randn(2, 3, 8, 8, generator=drawn) * contrast
    found = fitted(x, dequantise(small))
    assert found.abs().max() <= 1
    torch.testing.assert_close(avg_pool2d(found, k), dequantise(small), atol=1e-6, rtol=0)
    means = avg_pool2d(quantise(found).double(), k)
    assert (means - small).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_super_resolution_pools_back(sampler: str) -> None:
    """X10: A(result) = y to rounding, with every sampler."""
    small, noise = pictures(2, 1, 4), ImageNoise([3, 4])
    onto = Pooled(dequantise(small))
    step, times = SAMPLERS[sampler].make(), usual_times(sampler, EDM)
    eps = noise.normal(1, 8, 8)
    found = restore(step, Clipped(oracle()), EDM, times, onto, eps, noise)
    torch.testing.assert_close(avg_pool2d(found.float(), 2), dequantise(small), atol=1e-5, rtol=0)
    final = quantise(fitted(found.float(), dequantise(small)))
    assert (avg_pool2d(final.double(), 2) - small).abs().max() <= 0.5 + 1e-4


def test_half_of_a_picture_is_drawn_to_fit_the_other_half() -> None:
    """Resampling: the mean of what is unknown nears what the known pixels say of it.

    Pixels are all of one colour, which differs from image to image. Knowing some of them says the
    rest, and each return adds what the guess had not taken in.
    """

    def one_colour(x_t: Tensor, t: Tensor) -> Tensor:
        mean = x_t.mean(dim=(1, 2, 3), keepdim=True)
        variance = 0.25 + EDM.sigma(t).to(x_t) ** 2 / x_t[0].numel()
        return (0.25 / variance * mean).expand_as(x_t)

    known = torch.full((64, 1, 4, 4), 0.8)
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :1] = True
    step, times = SAMPLERS["ddim"].make(eta=1.0), karras(EDM, 20)
    errors = []
    for repeats in (1, 10):
        noise = ImageNoise(range(64))
        eps = noise.normal(1, 4, 4)
        found = restore(step, one_colour, EDM, times, Known(known, mask), eps, noise, repeats)
        errors.append(float((found[..., 1:] - 0.8).square().mean().sqrt()))
    assert errors[1] < errors[0] / 2


def test_resampling_walks_each_stretch_again() -> None:
    """n steps, each `repeats` times, and one way back less for each stretch."""
    times = karras(EDM, 20)
    visited = list(resampled(times, 3))
    down = sum(bool(s < t) for t, s in zip([times[0], *visited], visited, strict=False))
    assert down == 60
    assert len(visited) - down == 10 * 2
    assert visited[-1] == 0
    assert torch.equal(torch.stack(list(resampled(times, 1))), times[1:])


@pytest.mark.parametrize("path", ["edm", "linear", "flow"])
def test_noise_added_again_has_the_level_of_its_time(path: str) -> None:
    """q(x_t | x_s) q(x_s | x_0) = q(x_t | x_0): mean and variance of 40,000 pixels."""
    walked = make_path(path)
    s, t = (torch.tensor(v, dtype=torch.float64) for v in (0.2, 0.7))
    noise = ImageNoise([0])
    x_s = walked.alpha(s) * 0.5 + walked.sigma(s) * noise.normal(1, 200, 200)
    x_t = noised(walked, State(x_s, s), t, noise).x
    sigma = float(walked.sigma(t))
    assert abs(float(x_t.mean() - walked.alpha(t) * 0.5)) < 4 * sigma / 200
    assert abs(float(x_t.std()) / sigma - 1) < 4 / math.sqrt(2 * 40_000)


@pytest.mark.parametrize("path", ["edm", "linear", "flow"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_from_no_noise_to_all_of_it(sampler: str, path: str) -> None:
    """X10: level 0 gives the picture itself, an infinite level forgets it."""
    walked, picture = make_path(path), dequantise(pictures())
    step, times = SAMPLERS[sampler].make(), usual_times(sampler, walked)

    def redrawn(image: Tensor, level: float) -> Tensor:
        model = Clipped(oracle(walked))
        return redraw(step, model, walked, times, image, level, ImageNoise([5, 6]))

    assert torch.equal(redrawn(picture, 0.0).to(picture), picture)
    new, others = (redrawn(image, math.inf) for image in (picture, -picture))
    assert (new - others).abs().mean() < 0.03 * (picture.abs().mean() * 2)
    assert (redrawn(picture, 0.2) - picture).abs().mean() < (new - picture).abs().mean() / 2


@settings(deadline=None, max_examples=100)
@given(
    st.floats(0.001, 60),
    st.sampled_from(["edm", "cosine", "flow"]),
    st.integers(1, 40),
)
def test_times_begin_at_the_level(level: float, path: str, n: int) -> None:
    """They fall from the level's own time to 0 and none but the first is new."""
    walked = make_path(path)
    times = karras(walked, n)
    found = times_from(walked, times, level)
    assert (found.diff() < 0).all()
    assert found[-1] == 0
    assert set(found[1:].tolist()) <= set(times.tolist())
    if path != "cosine":  # whose levels end where a table's first step is
        reached = walked.sigma(found[0]) / walked.alpha(found[0])
        torch.testing.assert_close(float(reached), level, rtol=1e-6, atol=0)


def slope(errors: list[float], steps: list[int]) -> float:
    """How fast errors fall with the step size, in its powers."""
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (steps, errors))
    x, y = x - x.mean(), y - y.mean()
    return float(-(x * y).sum() / (x * x).sum())


@pytest.mark.parametrize("path", ["edm", "cosine", "flow"])
def test_inversion_follows_the_ode_to_second_order(path: str) -> None:
    """X10: against the exact flow of the Gaussian oracle, and there and back."""
    walked = make_path(path)
    model = oracle(walked)
    picture = dequantise(pictures()).double()
    steps, there, back = [20, 40, 80, 160], [], []
    for n in steps:
        times = karras(walked, n, low=0.02)
        noise = invert(model, walked, times, picture, torch.zeros_like(picture))
        low = times[-2]
        exact = model.flow(walked.alpha(low) * picture, low, noise.t)
        there.append(float((noise.x - exact).norm() / exact.norm()))
        # To the level at which the picture entered: the last step to 0 is no part of the ODE.
        rising = times[(times > 0) & (times < noise.t)]
        state = noise
        for s in rising:
            state = SAMPLERS["heun"].make()(model, walked, state, s, ImageNoise([]))
        back.append(float((state.x - walked.alpha(low) * picture).norm() / picture.norm()))
    assert abs(slope(there, steps) - 2) < 0.2
    assert slope(back, steps) > 1.8


@pytest.mark.parametrize("path", ["edm", "cosine", "flow"])
def test_a_picture_comes_back_from_its_noise(path: str) -> None:
    """X10: PSNR of at least 35 dB at 100 steps; a picture far from what the model draws."""
    walked = make_path(path)
    picture, times = dequantise(pictures()), karras(walked, 100)
    eps = ImageNoise([1, 2]).normal(1, 8, 8)
    noise = invert(oracle(walked), walked, times, picture, eps)
    found = develop(oracle(walked), walked, times, noise)
    mse = float((found - picture).square().mean())
    assert 10 * math.log10(4 / mse) > 35
    assert noise.x.std() > 0.5 * float(walked.sigma(noise.t))


def test_a_picture_is_not_found_in_pure_noise_alone() -> None:
    walked, picture = make_path("flow"), dequantise(pictures())
    with pytest.raises(UserError, match="use more --steps"):
        invert(oracle(walked), walked, torch.tensor([1.0, 0.0]).double(), picture, picture)


shares = st.floats(0, 1)
vectors = st.lists(st.floats(-10, 10), min_size=4, max_size=4).map(
    lambda v: torch.tensor(v, dtype=torch.float64).reshape(1, 1, 2, 2)
)


@settings(deadline=None)
@given(vectors, vectors, shares)
@example(torch.ones(1, 1, 2, 2).double(), torch.full((1, 1, 2, 2), 1e-200).double(), 0.5)
def test_slerp_keeps_norm_and_ends(a: Tensor, b: Tensor, share: float) -> None:
    """X10: norms go evenly from one's to the other's, on a circle, from a to b."""
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(slerp(a, b, torch.tensor([0.0])), a, **close)
    torch.testing.assert_close(slerp(a, b, torch.tensor([1.0])), b, **close)
    between = slerp(a, b, torch.tensor([share]).double())
    cosine = float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-12))
    if min(float(a.norm()), float(b.norm())) > 1e-3 and cosine > -0.999999:
        expected = (1 - share) * a.norm() + share * b.norm()
        torch.testing.assert_close(between.norm(), expected, **close)
        along = float((between * a).sum() / (between.norm() * a.norm()))
        angle = math.acos(max(-1, min(1, cosine)))
        assert abs(math.acos(max(-1, min(1, along))) - share * angle) < 1e-3


def test_slerp_of_noise_is_noise() -> None:
    """Where the straight line between two has half of the variance."""
    a, b = (torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    halfway = slerp(a, b, torch.full((8,), 0.5))
    torch.testing.assert_close(halfway.var(dim=(1, 2, 3)), torch.ones(8), atol=0.15, rtol=0)
    assert ((a + b) / 2).var() < 0.6


def test_an_arc_of_noise_ends_in_that_of_each_seed() -> None:
    """X10: with every sampler the ends are the images of the two seeds."""
    arc = Arc(ImageNoise([1] * 3), ImageNoise([2] * 3), torch.tensor([0.0, 0.3, 1.0]))
    one, two = ImageNoise([1]), ImageNoise([2])
    for _ in range(2):  # draw after draw
        found = arc.normal(1, 4, 4)
        torch.testing.assert_close(found[:1], one.normal(1, 4, 4))
        torch.testing.assert_close(found[2:], two.normal(1, 4, 4))
    assert arc.uniform(5).shape == (3, 5)


def test_between_two_denoisers() -> None:
    """Linear in the share, and each alone at the ends."""
    share = torch.tensor([0.0, 0.25, 1.0]).view(3, 1, 1, 1)
    mixed = Between(lambda x, t: x, lambda x, t: 3 * x, share)
    x = Draws(3).normal(1, 2, 2)
    torch.testing.assert_close(mixed(x, torch.tensor(0.5)), x * (1 + 2 * share))
