"""A trained model as a source of images: what it may be asked for, and what identifies it."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from safelight.config import Sampling
from safelight.data.cache import Cache
from safelight.diffusion.path import make_path
from safelight.errors import UserError
from safelight.samplers.steps import SAMPLERS
from safelight.training.checkpoint import Checkpoint, State
from safelight.training.diffusion import build_denoiser
from safelight.training.drawing import Drawing
from safelight.training.learner import Problem
from safelight.training.source import DiffusionSource, Model
from safelight.training.train import train
from tests.nets.stirring import stirred
from tests.training.conftest import SMALL

TEN = tuple("0123456789")


def made(sampling: Sampling = Sampling(), **how: object) -> DiffusionSource:  # noqa: B008 - frozen
    """A source of 8x8 images with untrained weights."""
    usual = {"classes": TEN, "name": "made", "shape": (1, 8, 8)}
    denoiser = build_denoiser(SMALL, Problem((1, 8, 8), 10, 0.5))
    return DiffusionSource(Model(denoiser, "w"), sampling=sampling, **{**usual, **how})  # type: ignore[arg-type]


def test_guidance_needs_something_to_lead_away_from(digits: Cache, out: Path) -> None:
    """X9: a model that saw each picture with its class has no other opinion; none is made up."""
    always = SMALL.diffusion.model_copy(update={"label_dropout": 0.0})
    run = train(digits, SMALL.model_copy(update={"diffusion": always}), out)
    source = run.source(Sampling(steps=2))
    assert source.drawing.guidance.weight == 1
    with source.counting() as seen:
        source.images([0])
    assert seen == [1, 1]
    for asked in ({"guidance": 2.0}, {"guidance_interval": (0.3, 5.0)}, {"guidance_rescale": 0.5}):
        with pytest.raises(UserError, match="label-dropout 0.; leave --guidance at 1, or name a"):
            run.source(Sampling(**asked))
    away = run.source(Sampling(steps=2, weaker="4"))
    assert away.drawing.guidance.weight == 1.5


def test_in_bf16_images_are_nearly_the_same() -> None:
    """Another source, that says so, whose images differ by little."""
    model = Model(stirred(lambda: build_denoiser(SMALL, Problem((1, 8, 8), 10, 0.5))), "w")
    exact, fast = (
        DiffusionSource(model, name="made", shape=(1, 8, 8), classes=TEN, sampling=sampling)
        for sampling in (Sampling(steps=5), Sampling(steps=5, precision="bf16"))
    )
    assert fast.fingerprint != exact.fingerprint
    assert fast.describe() == f"{exact.describe()}, in bf16"
    assert fast.record()["precision"] == "bf16"
    seeds = range(20)
    apart = (exact.images(seeds).float() - fast.images(seeds).float()).abs()
    assert 0 < apart.mean() < 1


def test_who_is_guided_unless_told_otherwise() -> None:
    weaker = Model(build_denoiser(SMALL, Problem((1, 8, 8), 10, 0.5)), "v")
    assert made().drawing.guidance.weight == 1.5
    assert made(classless=False).drawing.guidance.weight == 1
    assert made(classes=()).drawing.guidance.weight == 1
    assert made(classes=(), weaker=weaker).drawing.guidance.weight == 1.5
    assert made(classless=False, weaker=weaker).drawing.guidance.weight == 1.5
    with pytest.raises(UserError, match="trained without classes; leave --guidance at 1"):
        made(Sampling(guidance=2.0), classes=())


def test_what_identifies_a_source_stays() -> None:
    """Kept features are found by it: a change here has every run's images looked at again."""
    assert made().fingerprint == made(name="other").fingerprint
    assert (
        made().fingerprint
        == made(Sampling(sampler="dpm++", grid="logsnr", lowest=0.002)).fingerprint
    )
    assert made().fingerprint[:16] == "4286ecab2db7e005"
    assert made(Sampling(sampler="heun", guidance=2.0)).fingerprint[:16] == "4566768f0a12efbb"


def test_other_images_are_another_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """F3: words that come to other images than they did, as when another grid becomes the usual."""
    different = [
        made(Sampling(**options)).fingerprint
        for options in (
            {},
            {"grid": "uniform"},
            {"lowest": 0.01},
            {"steps": 19},
            {"sampler": "unipc"},
            {"eta": 1.0},
            {"guidance": 1.0},
            {"guidance_interval": (0.3, 5.0)},
            {"guidance_rescale": 0.5},
        )
    ]
    assert len(set(different)) == len(different)
    monkeypatch.setitem(SAMPLERS, "dpm++", replace(SAMPLERS["dpm++"], grid="uniform"))
    assert made().fingerprint == different[1]


def test_sampling_goes_as_low_as_training_did(digits: Cache, out: Path) -> None:
    """K3: what a network leaves of noise that it never saw would stay in the image."""
    run = train(digits, SMALL, out)
    lowest = float(run.source().drawing.path.noise_level(run.source().drawing.times[-2]))
    assert lowest == pytest.approx(math.exp(-3.09), rel=0.06)  # of logit-normal times
    for options, expected in (
        ({"sampler": "heun"}, lowest),
        ({"sampler": "adaptive"}, lowest),
        ({"sampler": "ddpm", "grid": "uniform", "steps": 1000}, lowest),
        ({"grid": "uniform", "steps": 10}, 1 / 9),
        ({"lowest": 0.002}, 0.002),
    ):
        drawing = run.source(Sampling(**options)).drawing
        assert drawing.record()["lowest"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("linear", {"grid": "spiral", "lowest": 0.1}, "unknown grid 'spiral'"),
        (
            "linear",
            {"sampler": "ddpm", "lowest": 0.1},
            "the grid trailing counts the path's 1000 s",
        ),
        ("flow", {"lowest": 80.0}, "--lowest is 80; it has to be less than 80, the noise level"),
        ("exploding-continuous", {"lowest": 60.0}, "it has to be less than 50"),
        (
            "flow",
            {"sampler": "ddpm", "steps": 20, "grid": "uniform", "lowest": 0.002},
            "20 steps of the grid uniform end at the noise level 0.0526 and not at --lowest 0.002; "
            "use more --steps, or --grid karras or logsnr",
        ),
        ("flow", {"steps": 1, "lowest": 0.002}, "not at --lowest 0.002; use more --steps$"),
    ],
)
def test_a_lowest_level_that_changes_nothing_is_refused(
    path: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Drawing.of(Sampling(**options), make_path(path))  # type: ignore[arg-type]


def test_a_level_that_an_even_grid_nearly_has_is_taken() -> None:
    options = {"sampler": "ddpm", "grid": "uniform", "steps": 100, "lowest": 0.01}
    drawing = Drawing.of(Sampling(**options), make_path("flow"))  # type: ignore[arg-type]
    assert drawing.lowest == pytest.approx(1 / 99)


def test_a_training_above_all_levels_of_sampling_is_told_so() -> None:
    with pytest.raises(UserError, match="hardly trains below a noise level of 100, and sampling"):
        Drawing.of(Sampling(), make_path("flow"), lowest=100.0)
    counted = Drawing.of(Sampling(sampler="ddpm"), make_path("linear"), lowest=200.0)
    assert counted.lowest == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("flow", {}, "dpm++, 20 steps (logsnr down to 0.045)"),
        ("flow", {"lowest": 0.002}, "dpm++, 20 steps (logsnr down to 0.002)"),
        ("linear", {"lowest": 0.002}, "dpm++, 20 steps (logsnr down to 0.01)"),
        ("flow", {"sampler": "ddim", "grid": "uniform", "steps": 1}, "ddim, 1 step (uniform)"),
        (
            "flow",
            {"sampler": "unipc", "solver_order": 3},
            "unipc, solver order 3, 20 steps (logsnr down to 0.045)",
        ),
    ],
)
def test_it_says_what_it_came_to(path: str, options: dict[str, Any], words: str) -> None:
    """X1: drawn to other ends are other images, and no two of them are described alike."""
    drawing = Drawing.of(Sampling(guidance=1, **options), make_path(path), lowest=0.045)
    assert drawing.describe() == words
    if "1 step" in words:
        assert drawing.record()["lowest"] is None  # infinite, which JSON has no word for


def test_a_weaker_model_is_not_asked_where_it_was_not_trained() -> None:
    """X9: both are asked at every level."""
    weaker = Model(build_denoiser(SMALL, Problem((1, 8, 8), 10, 0.5)), "v", lowest=0.1)
    asked = Sampling(weaker="1")
    assert made(asked, weaker=weaker).drawing.lowest == pytest.approx(0.1)
    assert made(asked, weaker=weaker, lowest=0.003).drawing.lowest == pytest.approx(0.003)


def test_a_source_is_one_checkpoint_while_the_run_goes_on(
    digits: Cache, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, name and fingerprint are of one checkpoint, whose files are hashed once."""
    run = train(digits, SMALL, out)
    newest = run.checkpoint()
    shutil.move(newest.path, out / "later")
    step_8 = run.source()
    shutil.move(out / "later", newest.path)
    hashed, state = [], Checkpoint.state

    def another_appears(self: Checkpoint) -> State:
        """The training saves its next checkpoint just after a state is read."""
        hashed.append(self.path.name)
        found = state(self)
        if (out / "later").exists():
            shutil.move(out / "later", newest.path)
        return found

    monkeypatch.setattr(Checkpoint, "state", another_appears)
    shutil.move(newest.path, out / "later")
    source = run.source()
    assert source.name == step_8.name == "run (step 8, ema)"
    assert source.fingerprint == step_8.fingerprint
    assert torch.equal(source.images([0]), step_8.images([0]))
    assert hashed == ["step-00000008"]
    hashed.clear()
    sweep = Sampling(guidance=(1.0, 2.0, 3.0), weaker="8").each()
    assert len({source.fingerprint for source in run.sources(sweep)}) == 3
    assert hashed == ["step-00000012", "step-00000008"]


def test_the_network_is_asked_in_full_float32_and_nothing_else_is_touched() -> None:
    """B7: TF32's ten bits of mantissa would make an image depend on the device and its company.

    The flags are set for each call: between two states of a trajectory they are the caller's.
    """
    source, during = made(Sampling(steps=3), micro_batch=2), []
    source._denoiser.net.register_forward_hook(
        lambda *_: during.append(torch.backends.cudnn.allow_tf32)
    )
    before = torch.backends.cudnn.allow_tf32
    with torch.backends.cudnn.flags(allow_tf32=True):
        for _ in source._states([0, 1], None):
            assert torch.backends.cudnn.allow_tf32
        source.develop([0, 1, 2], None, 3)
        source.denoise(None).with_variance  # noqa: B018 - what samplers look for
    assert torch.backends.cudnn.allow_tf32 == before
    assert len(during) == 2 * 3 * 3
    assert not any(during)


def test_no_more_images_at_once_than_a_micro_batch() -> None:
    """X5, L3: neither drawing nor the strip from noise to image, which is the same in pieces."""
    few, all_at_once = made(Sampling(steps=4), micro_batch=3), made(Sampling(steps=4))
    seeds = [0, 1, 2, 3, 4, 5, 6, 7]
    with few.counting() as seen:
        few.images(seeds)
        pieces = few.develop(seeds, None, 3)
    assert max(seen) == 3
    whole = all_at_once.develop(seeds, None, 3)
    assert pieces[0] == whole[0]
    for one, other in zip(pieces[1:], whole[1:], strict=True):
        assert one.shape == (3, 8, 1, 8, 8)
        assert (one.int() - other.int()).abs().max() <= 1


def test_an_option_that_changes_nothing_is_refused() -> None:
    for asked in ({"guidance_interval": (0.3, 5.0)}, {"guidance_rescale": 0.5}, {"weaker": "4"}):
        with pytest.raises(UserError, match="at --guidance 1 there is none; leave them out, or"):
            made(Sampling(guidance=1.0, **asked))
        swept = Sampling(guidance=(1.0, 2.0), **asked).each()
        assert swept[0] == Sampling(guidance=1.0)
        assert swept[1] == Sampling(guidance=2.0, **asked)
        assert made(swept[0]).fingerprint == made(Sampling(guidance=1.0)).fingerprint
