"""X9: guidance against its closed forms, and what it costs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.path import broadcast, make_path
from safelight.diffusion.precond import PREDICTIONS
from safelight.errors import UserError
from safelight.samplers.grids import karras
from safelight.samplers.guidance import Clipped, Guidance, Guided, network_calls, rescaled
from safelight.samplers.steps import SAMPLERS
from safelight.samplers.trajectory import trajectory
from safelight.seeding import ImageNoise
from tests.samplers.worlds import Draws

PATH = make_path("edm")


class Opinion(nn.Module):
    """F = the image of a class, brighter by `bias`; counts its calls."""

    def __init__(self, bias: float = 0.0, variance: bool = False) -> None:
        super().__init__()
        self.images = Draws(4).normal(1, 6, 6) / 3  # the last one without a label
        self.bias, self.variance, self.calls = bias, variance, 0

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        self.calls += 1
        seen = torch.full((len(x),), 3) if y is None else y
        F = self.images[seen] + self.bias + 0.1 * x
        return torch.cat([F, broadcast(c_noise, x) * torch.ones_like(x)], 1) if self.variance else F


def model(bias: float = 0.0, variance: bool = False) -> Denoiser:
    name = "learned" if variance else "small"
    return Denoiser(Opinion(bias, variance), PATH, PREDICTIONS["image"], 0.5, name)


def at_level(level: float) -> Tensor:
    return torch.tensor(level / 80, dtype=torch.float64)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))


Y = torch.tensor([0, 2])


def test_guidance_is_the_line_through_both_guesses(x: Tensor) -> None:
    """X9: weight 0 is unconditional, 1 conditional, 2 as far again beyond (arXiv:2207.12598)."""
    denoiser, t = model(), at_level(1.0)
    zero, one, two, three = (Guided(denoiser, Y, Guidance(w))(x, t) for w in (0.0, 1.0, 2.0, 3.0))
    torch.testing.assert_close(zero, Guided(denoiser)(x, t))
    torch.testing.assert_close(one, denoiser(x, t.to(x).expand(2), Y))
    torch.testing.assert_close(two, one + (one - zero))
    torch.testing.assert_close(three, one + 2 * (one - zero))
    assert (one - zero).abs().max() > 0.1


@pytest.mark.parametrize("y", [None, Y])
def test_autoguidance_is_the_line_through_weak_and_strong(x: Tensor, y: Tensor | None) -> None:
    """X9: both with the label, and without any label too (arXiv:2406.02507)."""
    strong, weak, t = model(), model(bias=-0.2), at_level(1.0)
    at = t.to(x).expand(2)
    for w in (0.0, 1.0, 1.5, 3.0):
        expected = weak(x, at, y) + w * (strong(x, at, y) - weak(x, at, y))
        torch.testing.assert_close(Guided(strong, y, Guidance(w), weak)(x, t), expected)
    assert Guided(strong, y, Guidance(2.0), weak)(x, t).mean() > strong(x, at, y).mean() + 0.1


def test_outside_its_interval_the_model_is_as_trained(x: Tensor) -> None:
    """X9, arXiv:2404.07724: above `low` and up to `high`; elsewhere one call, the same value."""
    denoiser = model()
    always, between = Guidance(3.0), Guidance(3.0, interval=(0.5, 2.0))
    for level, inside in (
        (0.1, False),
        (0.499, False),
        (0.501, True),
        (1.999, True),
        (2.001, False),
    ):
        t = at_level(level)
        denoiser.net.calls = 0
        found = Guided(denoiser, Y, between)(x, t)
        assert denoiser.net.calls == 1 + inside == between.calls(PATH, t)
        expected = Guided(denoiser, Y, always if inside else Guidance())(x, t)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("phi", [0.0, 0.3, 1.0])
def test_rescaling_gives_contrast_back(x: Tensor, phi: float) -> None:
    """X9, section 3.4 of arXiv:2305.08891: phi = 1 the conditional guess's deviation; mean kept."""
    denoiser, t = model(), at_level(1.0)
    strong = denoiser(x, t.to(x).expand(2), Y)
    plain = Guided(denoiser, Y, Guidance(4.0))(x, t)
    found = Guided(denoiser, Y, Guidance(4.0, rescale=phi))(x, t)

    def std(images: Tensor) -> Tensor:
        return images.std(dim=(1, 2, 3), correction=0)

    torch.testing.assert_close(std(found), phi * std(strong) + (1 - phi) * std(plain))
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), plain.mean(dim=(1, 2, 3)))
    assert (std(plain) > 1.2 * std(strong)).all()
    alone = Guided(denoiser, Y[:1], Guidance(4.0, rescale=phi))(x[:1], t)
    torch.testing.assert_close(alone[0], found[0])  # no statistics over the batch


def test_a_picture_of_one_colour_has_no_contrast_to_rescale() -> None:
    flat = torch.full((1, 1, 4, 4), 0.3)
    assert torch.equal(rescaled(flat, Draws(1).normal(1, 4, 4)), flat)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0])
def test_learned_variance_is_the_guiding_models(x: Tensor, weight: float) -> None:
    """The image as without it, the variance from a call that is made anyway."""
    denoiser, t = model(variance=True), at_level(1.0)
    guided = Clipped(Guided(denoiser, Y, Guidance(weight)))
    denoiser.net.calls = 0
    x_0, v = guided.with_variance(x, t)
    assert denoiser.net.calls == (2 if weight == 2 else 1)
    assert torch.equal(x_0, guided(x, t))
    assert torch.equal(v, torch.full_like(x, 0.5))  # ln(1) / 4, between -1 and 1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("interval", [(0.0, math.inf), (0.05, 3.0), (1e-5, 2e-5)])
def test_calls_are_counted_as_they_are_made(
    sampler: str, steps: int, interval: tuple[float, float], x: Tensor
) -> None:
    """X8, X9: the count that is reported is what the network sees."""
    step, times = SAMPLERS[sampler].make(), karras(PATH, steps)
    for weight in (0.0, 1.0, 2.0):
        guidance, denoiser = Guidance(weight, interval), model()
        guided = Guided(denoiser, Y, guidance)
        for _ in trajectory(step, guided, PATH, times, x, ImageNoise([0, 1])):
            pass
        known = None if step.evaluations(steps) is None else denoiser.net.calls
        assert network_calls(step, PATH, times, guidance) == known


def test_paths_that_end_without_an_image_have_infinite_noise() -> None:
    """At alpha = 0 the level is infinite: beyond every interval."""

    path = make_path("flow")
    end = torch.tensor(1.0, dtype=torch.float64)
    assert not Guidance(2.0, (0.1, 5.0)).acts(path, end)
    assert Guidance(2.0).acts(path, end)


def test_wrong_options_are_refused() -> None:
    usual = Guidance()
    for wrong, said in (
        ({"weight": math.nan}, "finite number"),
        ({"interval": (2.0, 1.0)}, "is 2,1; give a low and a higher"),
        ({"interval": (-1.0, 1.0)}, "a low and a higher noise level"),
        ({"rescale": 1.5}, "between 0 and 1"),
    ):
        with pytest.raises(UserError, match=said):
            replace(usual, **wrong)
