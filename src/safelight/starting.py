"""What a training starts from: the pictures, the run that goes on, and the folder.

Light: what it needs is imported when it is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safelight.config import Config, Watch
from safelight.errors import UserError
from safelight.naming import shortened
from safelight.paths import expanded, is_there
from safelight.presets import AUTO, PRESETS

if TYPE_CHECKING:
    from safelight.data.cache import Cache
    from safelight.evaluation.underway import Underway


def require_one_description(
    preset: str,
    recipe: str | None,
    resume: bool,
    out: Path | str | None,
    config: Config | None = None,
    start: Path | str | None = None,
) -> None:
    """Raise UserError where a run is described twice, or not at all."""
    if start is not None and (resume or config is not None):
        raise UserError(
            "--start begins a new run with the weights of another, and --resume or a configuration "
            "says what a run is; give one of them"
        )
    if start is not None and out is None:
        raise UserError("--start begins a new run; name its folder with --out")
    if start is not None and (preset != AUTO or recipe is not None):
        raise UserError("--start takes that run's preset and recipe; leave these two out")
    if resume and out is None:
        raise UserError("--resume goes on with the run in --out; name its folder there")
    whole = "--resume takes the run's own configuration" if resume else "a configuration is given"
    if (resume or config is not None) and (preset != AUTO or recipe is not None):
        raise UserError(f"{whole}, which has a preset and a recipe; leave these two out")


def run_folder(cache: Cache, preset: str, recipe: str | None, latent: bool = False) -> Path:
    """Where a run is put unless told otherwise."""
    words = (cache.name, "latent" if latent else None, preset, recipe)
    return Path("runs") / shortened("-".join(filter(None, words)))


def latent_shape(
    autoencoder: str, shape: tuple[int, int, int], out: Path | None = None
) -> tuple[int, int, int]:
    """What a network in the latents of this autoencoder sees of pictures of this shape.

    By the copy that a run in `out` has of it, if there is one: the original may be gone.
    """
    from safelight.training.latents import open_autoencoder
    from safelight.training.run import Run

    if out is not None and is_there(expanded(out) / "config.yaml"):
        run = Run.open(out)
        if run.config.diffusion.autoencoder == autoencoder and run.codec is not None:
            return run.codec.latent
    return open_autoencoder(autoencoder, shape).coder.latent


def opened(data: str | Path | Cache, size: int | str | None = None) -> Cache:
    """The cache that `data` is or names; pictures that are no cache yet are prepared first."""
    from safelight.data.cache import Cache, open_data

    return data if isinstance(data, Cache) else open_data(data, size=size)


def run_config(out: Path) -> Config:
    """The configuration of the run in `out`."""
    from safelight.training.run import Run

    return Run.open(out).config


def further_config(start: Path | str) -> Config:
    """That of the run `start`, for one that begins with its weights."""
    from safelight.training.further import further_config

    return further_config(start)


def judge_of(cache: Cache, watch: Watch) -> Underway | None:
    """What measures images while a model is trained on this cache, if anything is to.

    By the validation split, or where there is none by the training split; never by the test split,
    since one chooses by what is seen on the way.
    """
    from safelight.evaluation.underway import Underway
    from safelight.training.watching import validation_split

    if not watch.evaluate_every:
        return None
    held_out, train = validation_split(cache), cache.subset("train")
    return Underway(
        held_out or train,
        pool=train if held_out else None,
        train=train,
        features=watch.evaluate_features,
        n=watch.evaluate_images,
    )


def of_kind(config: Config, kind: str | None) -> Config:
    """The same with another kind of network, if one is asked for, and what that has of options."""
    from safelight.training.networks import suited

    if kind is None or kind == config.net.kind:
        return config
    return config.model_copy(update={"net": suited(config.net, kind)})


def require_family(config: Config, family: str | None) -> None:
    """Raise UserError where another family is asked for than the preset's: it has other options."""
    if family in (None, config.family):
        return
    presets = [name for name, preset in PRESETS.items() if preset.family == family]
    remedy = f"choose a preset of it: {', '.join(presets)}" if presets else "leave --family out"
    raise UserError(
        f"the preset is of the family {config.family} and --family says {family}; {remedy}"
    )
