"""What is usual of the mathematics, and what is refused of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.config import Config, Diffusion, Gan
from safelight.data.cache import Cache
from safelight.diffusion.path import PATHS
from safelight.diffusion.precond import PREDICTIONS
from safelight.diffusion.times import TIMES
from safelight.diffusion.weights import WEIGHTS
from safelight.errors import UserError
from safelight.presets import RECIPES
from safelight.training.diffusion import build_learner
from safelight.training.learner import Problem
from safelight.training.options import (
    check_objective,
    chosen,
    require_heeded,
    settled,
    unsettled,
)
from safelight.training.train import start_run, train
from tests.training.conftest import SMALL, plan
from tests.training.test_objectives import with_diffusion

OPTIONS = st.builds(
    Diffusion,
    path=st.sampled_from(list(PATHS)),
    prediction=st.none() | st.sampled_from(list(PREDICTIONS)),
    times=st.none() | st.sampled_from(list(TIMES)),
    weight=st.none() | st.sampled_from(list(WEIGHTS)),
    objective=st.sampled_from(["denoising", "bound", "mmd"]),
    zero_terminal_snr=st.booleans(),
)
# As in the papers that `presets` names.
PAPERS = {
    "flow": ("flow", "logit-normal", "flow"),
    "edm": ("edm", "lognormal", "edm"),
    "ddpm": ("noise", "uniform", "simple"),
    "improved-ddpm": ("noise", "uniform", "simple"),
    "v": ("v", "uniform", "v"),
    "smld": ("score", "uniform", "simple"),
    "ve": ("score", "uniform", "simple"),
    "vp": ("noise", "uniform", "simple"),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_that_of_its_paper(recipe: str) -> None:
    """C7, X12: what is not given of prediction, times and weight follows from the path."""
    assert chosen(RECIPES[recipe]) == PAPERS[recipe]


def test_what_is_given_is_heeded_and_the_rest_follows() -> None:
    """A weight follows the prediction; the bound is a sum over times; pure noise has no noise."""
    assert chosen(Diffusion(path="linear", prediction="v")) == ("v", "uniform", "v")
    assert chosen(Diffusion(path="edm", times="uniform")) == ("edm", "uniform", "edm")
    assert chosen(Diffusion(objective="bound")).times == "uniform"
    assert chosen(Diffusion(path="linear", zero_terminal_snr=True)).prediction == "v"


@given(OPTIONS)
def test_what_is_settled_can_be_said_in_fewer_words(options: Diffusion) -> None:
    """F7: a run writes down all of it, and the command that makes it again only what is its own."""
    whole, short = settled(options), unsettled(options)
    assert None not in (whole.prediction, whole.times, whole.weight)
    assert settled(whole) == whole
    assert settled(short) == whole
    assert unsettled(whole) == short


def test_a_run_writes_down_what_was_usual(digits: Cache, tmp_path: Path) -> None:
    """F7: a later version may have other defaults; the same words go on with the same run."""
    config = with_diffusion(Diffusion(path="edm"))
    start_run(digits, config, plan(steps=1, checkpoint_every=1), tmp_path)
    run = train(digits, config, tmp_path)
    assert chosen(run.config.diffusion.model_copy(update={"path": "linear"})) == PAPERS["edm"]


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"objective": "hybrid"}, "add --diffusion.variance learned"),
        (
            {"objective": "hybrid", "variance": "learned"},
            "choose a path with steps, such as cosine",
        ),
        ({"variance": "learned"}, "leave --diffusion.variance at small"),
        ({"variance": "huge"}, "choose one of: small, large, learned"),
        (
            {"objective": "bound", "times": "lognormal"},
            "use --diffusion.times uniform or importance",
        ),
        ({"objective": "bound", "pairing": "optimal"}, "leave --diffusion.pairing at none"),
        ({"objective": "mmd", "uncertainty": True}, "leave --diffusion.uncertainty out"),
        ({"objective": "mmd", "times": "importance"}, "use other --diffusion.times"),
        ({"times": "importance"}, "choose a path with steps"),
        ({"path": "learned"}, "add --diffusion.objective bound"),
        ({"objective": "adversarial"}, "choose one of: denoising, hybrid"),
        ({"times": "often"}, "choose one of: lognormal, uniform"),
        ({"weight": "heavy"}, "choose one of: edm, simple"),
        ({"pairing": "best"}, "choose one of: none, optimal"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], remedy: str) -> None:
    config = with_diffusion(Diffusion(**options))
    with pytest.raises(UserError, match=remedy) as refusal:
        build_learner(config, Problem((1, 8, 8), 0, 1))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"objective": "mmd", "weight": "simple"}, "leave --diffusion.weight out"),
        ({"objective": "bound", "weight": "v"}, "leave --diffusion.weight out"),
        ({"min_snr": 3.0}, "add --diffusion.weight min-snr"),
        ({"times": "uniform", "log_mean": 0.0}, "choose --diffusion.times lognormal"),
        ({"times": "importance", "path": "linear", "log_std": 2.0}, "leave them out"),
    ],
)
def test_what_would_change_nothing_is_refused(
    options: dict[str, Any], remedy: str, digits: Cache, tmp_path: Path
) -> None:
    """Of a new run; one that was begun before this was refused goes on."""
    config, out = with_diffusion(Diffusion(**options)), tmp_path / "run"
    with pytest.raises(UserError, match=remedy) as refusal:
        train(digits, config, out)
    assert "\n" not in str(refusal.value)
    start_run(digits, config, plan(steps=1, checkpoint_every=1), out)
    assert train(digits, config, out).summary.finished


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_recipes_say_nothing_in_vain(recipe: Diffusion) -> None:
    check_objective(recipe)
    capped = recipe.model_copy(update={"weight": "min-snr", "min_snr": 3.0})
    for diffusion in (recipe, capped):
        require_heeded(Config(diffusion=diffusion))


def test_options_of_other_families_make_no_other_run(digits: Cache, tmp_path: Path) -> None:
    """What is usual there may have been something else when the run was begun."""
    config = SMALL.model_copy(update={"gan": Gan(latent=7)})
    start_run(digits, config, plan(steps=1, checkpoint_every=1), tmp_path)
    assert train(digits, SMALL, tmp_path).path == tmp_path
