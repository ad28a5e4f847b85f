"""The commands as functions: `safelight train` on the command line is `safelight.train` here.

Those that judge are in `safelight.judging`. What they need is imported when they are called:
`safelight --help` and the processes that decode pictures should not wait for torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from safelight.config import Config, Sampling
from safelight.console import results, say
from safelight.editing.tasks import Edit
from safelight.errors import UserError
from safelight.files import require_file, write_json
from safelight.judging import evaluate, report
from safelight.paths import place
from safelight.presets import AUTO, PRESETS, described, in_latents
from safelight.starting import (
    further_config,
    judge_of,
    latent_shape,
    opened,
    require_one_description,
    run_config,
    run_folder,
)

if TYPE_CHECKING:
    from safelight.data.cache import Cache
    from safelight.data.options import Wanted
    from safelight.data.origins import Source
    from safelight.training.loop import Profiled
    from safelight.training.run import Run


def prepare(
    source: Source,
    *,
    out: Path | str | None = None,
    workers: int | None = None,
    **options: Unpack[Wanted],
) -> Cache:
    """Turn pictures into a cache; `safelight.data.prepare.prepare` says what each option does."""
    from safelight.data import prepare as data

    return data.prepare(source, out=out, workers=workers, **options)


def train(
    data: str | Path | Cache,
    *,
    out: Path | str | None = None,
    preset: str = AUTO,
    recipe: str | None = None,
    budget: str | None = None,
    config: Config | None = None,
    size: int | str | None = None,
    resume: bool = False,
    profile: bool = False,
    autoencoder: str | Path | None = None,
    start: str | Path | None = None,
) -> Run:
    """Train on a cache, a folder, a zip or a named set; goes on where `out` holds this run.

    Args:
        out: folder of the run; runs/<data>-<preset>-<recipe> unless given.
        preset: a row of `PRESETS`; "auto" chooses by the size of the pictures.
        recipe: a row of `RECIPES`; the preset's unless given, which is flow.
        budget: 90s, 10m, 5000steps, 20epochs, 500kimg; replaces the configuration's.
        config: the whole configuration, in place of a preset and a recipe.
        size: prepare the pictures at this size, if they are no cache yet.
        resume: take everything from the run in `out`, in place of a preset and a recipe.
        profile: look at some steps, not the first ones, and write where their time goes into the
            run's folder, as step-times; changes nothing else.
        autoencoder: learn in the latents of this one, a run or a folder of diffusers'; a whole
            configuration has it as `diffusion.autoencoder`.
        start: a run; begin with its averaged weights, and take from it what is not given here.
    """
    from safelight.training import train as training
    from safelight.training.batches import centred

    require_one_description(preset, recipe, resume, out, config, start)
    if start is not None:
        config = further_config(start)
    if autoencoder is not None and (resume or config is not None):
        raise UserError(
            "the run or the configuration says whether there is an autoencoder; leave it out"
        )
    cache = opened(data, size)
    if cache.split is not None:
        raise UserError(f"{cache.name} is a split; give the cache, whose training split is used")
    coder = None if autoencoder is None else str(autoencoder)
    if config is not None:
        coder = config.diffusion.autoencoder
    there = None if out is None else place(out)
    shape = cache.shape if coder is None else latent_shape(coder, cache.shape, there)
    name, fitting = described(shape, preset, recipe)
    if autoencoder is not None:
        fitting = in_latents(fitting, str(autoencoder))
    out = there or run_folder(cache, name, recipe, latent=coder is not None)
    config = config or (run_config(out) if resume else fitting)
    if budget is not None:
        config = config.model_copy(update={"budget": budget})
    judge = judge_of(centred(cache, config.data), config.watch)
    return training.train(cache, config, out, judge, _teller() if profile else None)


def _teller() -> Profiled:
    """Who is told where the time of a step goes."""
    from safelight.reporting.step_times import tell  # loads matplotlib

    return tell


def sample(
    run: str | Path,
    *,
    n: int | None = None,
    classes: Sequence[str] = (),
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    seed: int = 0,
    checkpoint: str | None = None,
    weights: str = "ema",
    out: Path | str | None = None,
) -> Path:
    """Draw n images (of each class, where there are classes) into a folder; returns the folder.

    Args:
        n: 64 unless given, or all that an autoencoder can give back where these are fewer.
        classes: only these.
        sampling: sampler, steps, guidance and the like.
        seed: the first seed; each image has its own.
        checkpoint: a step, such as 1000; the newest unless given.
        weights: ema (the average), raw, or the width of another average, such as 0.1.
        out: a folder of its own in RUN/samples unless given.
    """
    from safelight.images import Restoring
    from safelight.machine import keep_memory
    from safelight.sampling import (
        USUAL,
        identity,
        seeds_of,
        sweep_identity,
        write_samples,
        write_sweep,
    )
    from safelight.training.run import Run

    if n is not None and n < 1:
        raise UserError(f"-n {n} asks for no image; give 1 or more")
    keep_memory()
    opened = Run.open(run)
    sources = opened.sources(sampling.each(), checkpoint, weights)
    source, places = sources[0], opened.path / "samples"
    usual = min(USUAL, source.count or USUAL)
    seeds = seeds_of(source, usual if n is None else n, classes, seed)
    if len(sources) > 1:
        name = f"sweep-{sweep_identity(sources, seeds)[:8]}"
        folder = write_sweep(sources, seeds, place(out or places / name))
        say(f"{len(sources)} times {len(seeds)} images in {folder}; look at {folder / 'sweep.png'}")
        return folder
    name = f"{source.slug}-{identity(source, seeds)[:8]}"
    folder = write_samples(source, seeds, place(out or places / name))
    sheet = folder / ("compare.png" if isinstance(source, Restoring) else "grid.png")
    say(f"{len(seeds)} images in {folder} ({source.describe()}); look at {sheet}")
    return folder


def export_images(
    source: str | Path,
    *,
    out: Path | str,
    n: int | None = None,
    classes: Sequence[str] = (),
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    seed: int = 0,
    checkpoint: str | None = None,
    weights: str = "ema",
    with_report: bool = False,
) -> Path:
    """Write the images of any source as PNGs by class, into a folder or a zip; returns its place.

    Args:
        source: run, cache, cache:split, folder, zip or named set.
        out: a folder, or a FILE.zip.
        n: images of each class (of all where there are no classes). A run draws so many, 64 unless
            given; of stored pictures these are at most the first so many, all unless given.
        classes: only these.
        sampling, seed, checkpoint, weights: of a run, as for `sample`.
        with_report: of a run: its report and its numbers too.
    """
    from safelight import exporting
    from safelight.machine import keep_memory
    from safelight.sources import open_source, require_drawn
    from safelight.training.run import Run

    out = place(out)
    exporting.require_place(out)
    more = ["--seed"] * (seed != 0) + ["--with-report"] * with_report
    require_drawn(source, sampling, checkpoint, weights, more)
    if n is not None and n < 1:
        raise UserError(f"-n {n} asks for no image; give 1 or more")
    opened = open_source(source)
    if isinstance(opened, Run):
        keep_memory()
        export = exporting.of_run(
            opened, n, classes, sampling, seed, checkpoint, weights, with_report
        )
    else:
        export = exporting.of_pictures(opened, n, classes)
    exporting.write(export, out)
    say(exporting.told(export, out))
    return out


def edit(
    run: str | Path,
    pictures: str | Path | Sequence[str | Path],
    task: Edit,
    *,
    n: int | None = None,
    class_name: str | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    seed: int = 0,
    checkpoint: str | None = None,
    weights: str = "ema",
    out: Path | str | None = None,
) -> Path:
    """Edit pictures with a trained model, into a folder; returns the folder.

    Args:
        pictures: files, folders of them, caches or cache:split; none with `Interpolate(seeds=...)`.
        task: what is done: Inpaint, ImageToImage, SuperResolution, Invert or Interpolate.
        n: how many pictures to edit, from the first on; 16 of a cache and all of a folder unless
            given.
        class_name: the class to draw them as; the names of their folders, or the cache, tell it
            otherwise, and where they don't it is left open.
        sampling: sampler, steps, guidance and the like.
        seed: of the first picture's noise; each further picture has the next.
        checkpoint: a step, such as 1000; the newest unless given.
        weights: ema (the average), raw, or the width of another average, such as 0.1.
        out: a folder of its own in RUN/edits unless given.
    """
    from safelight.editing.edit import edit as carry_out
    from safelight.machine import keep_memory
    from safelight.training.run import Run

    keep_memory()
    return carry_out(
        Run.open(run),
        [pictures] if isinstance(pictures, str | Path) else pictures,
        task,
        n=n,
        class_name=class_name,
        sampling=sampling,
        seed=seed,
        checkpoint=checkpoint,
        weights=weights,
        out=None if out is None else place(out),
    )


def presets(*, measure: bool = False, json: Path | str | None = None) -> dict[str, Config]:
    """Print the presets and recipes of `train`, with what they cost; returns the presets.

    Args:
        measure: time a training step of each on this machine too, which takes minutes.
        json: write what they cost there too.
    """
    from safelight.listing import find_prices, listing

    require_file(json)
    prices = find_prices(measure)
    if json is not None:
        write_json(place(json), prices.to_json())
    results.print(listing(prices))
    return dict(PRESETS)


def demo(*, out: Path | str = "demo", budget: str = "150s") -> Path:
    """Prepare, train, sample, evaluate and report on scikit-learn's digits; returns the report."""
    out = place(out)
    cache, run = out / "digits", out / "run"
    prepare("digits", out=cache, split="70/5/25")
    train(cache, out=run, budget=budget)
    sample(run, n=50, out=run / "samples" / "demo")
    evaluate(run, features="classifier", metrics=("accuracy", "kid"), n=500)
    page = report(run)
    say(f"the same with your own pictures: safelight train FOLDER --size 32 --out {out / 'mine'}")
    return page
