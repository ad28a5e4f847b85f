"""The likelihood of a model that was really trained, for seconds, on the real digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from safelight.config import Config, Diffusion, Likelihood, Net, Optimiser, Watch
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.evaluation.evaluate import evaluate
from safelight.training.diffusion import build_denoiser
from safelight.training.learner import Problem
from safelight.training.likelihood import measures
from safelight.training.run import Run
from safelight.training.source import DiffusionSource
from safelight.training.train import train
from tests.training.conftest import SMALL

CONFIG = Config(
    budget="60steps",
    net=Net(widths=(16, 32), blocks=1, attention=()),
    diffusion=Diffusion(path="edm"),  # which soon learns the low noise that bits are about
    optimiser=Optimiser(batch=32, warmup=10, lr=4e-3),
    watch=Watch(tensorboard=False),
    precision="float32",
)
QUICK = Likelihood(terms=20, tolerance=1e-2)


@pytest.fixture(scope="module")
def run(digits: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(digits, CONFIG, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="module")
def held_out(digits: Cache) -> tuple[Tensor, Tensor]:
    test = digits.subset("test")
    labels = test.labels(range(6))
    assert labels is not None
    return test.images(range(6)), labels


def test_the_bound_is_above_the_ode(run: Run, digits: Cache) -> None:
    """X11: of the same images with the same noise, by more than two standard errors."""
    test, n = digits.subset("test"), 30
    bound, ode = (
        measure(test.images(range(n)), test.labels(range(n)), range(n))
        for measure in run.source().likelihoods(QUICK).values()
    )
    excess = bound - ode
    assert float(excess.mean() - 2 * excess.std() / n**0.5) > 0


def test_an_evaluation_has_both(run: Run, digits: Cache) -> None:
    """X11: both say less than the eight bits of chance, and more than nothing."""
    found = evaluate(
        run.source(), digits.subset("test"), pool=None, metrics=("bpd",), n=10, likelihood=QUICK
    )
    bound, ode = found.estimates
    assert 2 < ode.value < 7.5
    assert 2 < bound.value < 8
    assert "given its class" in bound.protocol.parameters
    assert bound.protocol.parameters.startswith("variational bound")
    assert "tolerance 0.01" in ode.protocol.parameters
    assert "1 Rademacher probe(s); normal dequantisation" in ode.protocol.parameters
    for estimate in found.estimates:
        assert "the variance that the model was trained with" in estimate.protocol.parameters


def test_a_model_is_judged_by_the_variance_that_it_was_trained_with(
    run: Run, held_out: tuple[Tensor, Tensor]
) -> None:
    """X11: the configuration's, down to the terms."""
    images, labels = held_out
    model = {"objective": "bound", "variance": "large", "times": "uniform", "path": "linear"}
    config = CONFIG.model_copy(update={"diffusion": Diffusion(**model)})
    assert build_denoiser(config, Problem((1, 8, 8), 10, 0.5)).variance == "large"
    bits = {}
    for variance in ("small", "large"):
        denoiser = run.denoiser()
        denoiser.variance = variance
        bits[variance] = measures(denoiser, QUICK, True, 64)["bound"](images, labels, range(6))
    assert ((bits["small"] - bits["large"]).abs() > 1e-3).all()


@pytest.mark.parametrize("method", ["bound", "ODE"])
def test_bits_are_the_images_own(run: Run, held_out: tuple[Tensor, Tensor], method: str) -> None:
    """B7, X11: the same again, alone or in company; other seeds move them."""
    images, labels = held_out
    options = Likelihood(terms=20, tolerance=1e-4)
    measure = run.source().likelihoods(options)[method]
    all_six = measure(images, labels, range(6))
    assert all_six.dtype == torch.float64
    assert torch.equal(measure(images, labels, range(6)), all_six)
    pieces = measures(run.denoiser(), options, True, micro_batch=2)[method]
    one = measure(images[4:5], labels[4:5], [4])
    torch.testing.assert_close(pieces(images, labels, range(6)), all_six, rtol=0, atol=1e-3)
    torch.testing.assert_close(one, all_six[4:5], rtol=0, atol=1e-3)
    moved = (measure(images, labels, range(6, 12)) - all_six).abs()
    assert 0.01 < float(moved.mean()) < 1


def test_the_class_counts_and_guidance_does_not(run: Run, held_out: tuple[Tensor, Tensor]) -> None:
    images, labels = held_out
    measure = run.source().likelihoods(QUICK)["bound"]
    own, other = (measure(images, y, range(6)) for y in (labels, (labels + 1) % 10))
    assert (own != other).all()
    guided = run.source().sampling.guidance
    assert guided != 1
    plain = measures(run.denoiser(), QUICK, True, 64)["bound"]
    assert torch.equal(plain(images, labels, range(6)), own)


def test_a_better_model_needs_fewer_bits(
    run: Run, digits: Cache, tmp_path: Path, held_out: tuple[Tensor, Tensor]
) -> None:
    hasty = train(digits, CONFIG.model_copy(update={"budget": "3steps"}), tmp_path / "hasty")
    images, labels = held_out
    for method in ("bound", "ODE"):
        worse, better = (
            r.source().likelihoods(QUICK)[method](images, labels, range(6)).mean()
            for r in (hasty, run)
        )
        assert worse > better + 0.3


@pytest.mark.parametrize("path", ["linear", "flow"])
def test_every_kind_of_model_has_a_likelihood(
    digits: Cache, tmp_path: Path, held_out: tuple[Tensor, Tensor], path: str
) -> None:
    """X11: on paths with steps and without, with a learned variance, hardly trained."""
    learned = {"objective": "hybrid", "variance": "learned"} if path == "linear" else {}
    how = Diffusion(path=path, prediction="v", weight="v", times="uniform", **learned)
    run = train(digits, SMALL.model_copy(update={"diffusion": how}), tmp_path / "run")
    images, labels = held_out
    for options in (QUICK, Likelihood(terms=20, probes=3, dequantisation="uniform")):
        for measure in run.source().likelihoods(options).values():
            assert 3 < measure(images, labels, range(6)).mean() < 10


def test_what_is_wrong_is_one_line(run: Run) -> None:
    source: DiffusionSource = run.source()
    with pytest.raises(UserError, match="unknown dequantisation 'unform'; did you mean 'uniform'"):
        source.likelihoods(Likelihood(dequantisation="unform"))
