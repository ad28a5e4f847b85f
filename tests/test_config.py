"""The run's description: what old files say still holds."""

from __future__ import annotations

import pytest

from safelight.config import Config, Diffusion, Plan, RunFile
from safelight.presets import RECIPES
from safelight.training.options import settled

PLAN = Plan(
    steps=1,
    micro_batch=1,
    precision="float32",
    sigma_data=0.5,
    validate_every=1,
    preview_every=1,
    checkpoint_every=1,
    threads=1,
    processes=1,
    step_seconds=1.0,
)


def test_steps_that_edm_never_had_are_forgotten() -> None:
    """Runs of the first version have T: 1000 in their file, whatever their path."""
    for path, expected in (("edm", None), ("cosine", 1000)):
        file = RunFile(
            cache="c",
            fingerprint="f",
            shape=(1, 8, 8),
            classes=(),
            config=Config(diffusion=Diffusion(path=path, T=1000)),
            plan=PLAN,
        )
        read = RunFile.model_validate(file.model_dump(mode="json"))
        assert expected == read.config.diffusion.T


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_usual_need_not_be_said(recipe: str) -> None:
    """Older files say the mean and deviation of their times, whatever the times; they go on."""
    now = settled(RECIPES[recipe])
    normal = (0.0, 1.0) if recipe == "flow" else (-1.2, 1.2)
    older = {**now.model_dump(mode="json"), "log_mean": normal[0], "log_std": normal[1]}
    assert Diffusion.model_validate(older) == now
    own = Diffusion.model_validate({**older, "log_mean": 0.5})
    assert (own.log_mean, own.log_std) == (0.5, None)
    unlike = Diffusion(times="logit-normal", log_mean=-1.2, log_std=1.2)
    assert (unlike.log_mean, unlike.log_std) == (-1.2, 1.2)
