"""The run's description: what old files say still holds."""

from __future__ import annotations

from safelight.config import Config, Diffusion, Plan, RunFile

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
