"""The commands as functions: `safelight train` on the command line is `safelight.train` here.

What they need is imported when they are called: `safelight --help` and the processes that decode
pictures should not wait for torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from safelight.config import Config, Likelihood, Sampling
from safelight.console import inform, results, say
from safelight.editing.tasks import Edit
from safelight.errors import UserError
from safelight.files import require_file, write_json
from safelight.paths import place
from safelight.presets import AUTO, PRESETS, described, in_latents
from safelight.starting import (
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
    from safelight.evaluation.compare import Comparison
    from safelight.evaluation.estimate import Evaluation
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
    autoencoder: str | Path | None = None,
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
        autoencoder: learn in the latents of this one, a run or a folder of diffusers'; a whole
            configuration has it as `diffusion.autoencoder`.
    """
    from safelight.training import train as training
    from safelight.training.batches import centred

    require_one_description(preset, recipe, resume, out, config)
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
    return training.train(cache, config, out, judge)


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
        weights: ema (the average) or raw.
        out: a folder of its own in RUN/samples unless given.
    """
    from safelight.images import Restoring
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
        weights: ema (the average) or raw.
        out: a folder of its own in RUN/edits unless given.
    """
    from safelight.editing.edit import edit as carry_out
    from safelight.training.run import Run

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


def evaluate(
    source: str | Path,
    *,
    against: str | Path | None = None,
    train: str | Path | None = None,
    features: str = "efficientnet-lite0",
    resize: str | None = None,
    metrics: Sequence[str] = (),
    per_class: bool = False,
    n: int | None = None,
    seed: int = 0,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    checkpoint: str | None = None,
    weights: str = "ema",
    likelihood: Likelihood = Likelihood(),  # noqa: B008 - frozen
    json: Path | str | None = None,
) -> Evaluation:
    """Compare a source of images with real ones; a run's results are kept in its metrics.json.

    Of several checkpoints each is judged and kept; returned is what was found of the last.

    Args:
        source: run, cache, cache:split, folder, zip or named set.
        against: the same, real; for a run, the test split of its own data unless given.
        train: the pictures that the source learnt from, of which copies are looked for; a run
            knows its own.
        features: a row of `evaluation.features.FEATURES`.
        resize: a row of `evaluation.resizes.RESIZES`, for what is measured on inception.
        metrics: rows of `evaluation.metrics.METRICS`; none named, fd, kid and accuracy as far
            as the images allow.
        per_class: each of these of each class too, against real images of that class.
        n: images of the source; 2,000 of a model and all of a folder unless given. For bpd, real
            images; 200 unless given.
        sampling: how a run draws them.
        checkpoint, weights: of a run, as for `sample`; here several too, such as 500,1000 or all.
        likelihood: how bpd is measured.
        json: write the evaluation there too, or a list of those of several checkpoints.
    """
    from safelight.evaluation.estimate import parsed
    from safelight.evaluation.evaluate import evaluate as judge
    from safelight.evaluation.evaluate import require_known
    from safelight.evaluation.table import curves, table
    from safelight.sources import (
        learnt_from,
        open_source,
        real_images,
        require_heeded,
        require_named,
        sibling,
    )
    from safelight.training.run import Run

    require_known(metrics, features, resize)
    require_heeded(source, metrics, sampling, likelihood, checkpoint, weights)
    require_named(source, against, train)
    require_file(json)
    opened = open_source(source)
    if isinstance(opened, Run):
        parsed(opened.evaluations(), opened.metrics_file)  # to be refused before the work
    real = real_images(against, opened)
    known = learnt_from(opened, real, metrics, train)
    found: list[Evaluation] = []
    for step in opened.steps(checkpoint) if isinstance(opened, Run) else [None]:
        judged = judge(
            opened.source(sampling, step, weights) if isinstance(opened, Run) else opened,
            real,
            pool=sibling(real, "train"),
            train=sibling(real, "train"),
            learnt=known,
            features=features,
            resize=resize,
            metrics=metrics,
            per_class=per_class,
            n=n,
            seed=seed,
            likelihood=likelihood,
        )
        if isinstance(opened, Run):
            opened.add_evaluation(judged.to_json())
        for shown in (table(judged), *curves(judged)):
            results.print(shown)
        found.append(judged)
    if json is not None:
        kept = [judged.to_json() for judged in found]
        write_json(place(json), kept if len(kept) > 1 else kept[0])
    return found[-1]


def report(
    source: str | Path | Cache, *, size: int | str | None = None, out: Path | str | None = None
) -> Path:
    """Write one self-contained HTML page about a run, or about pictures.

    Args:
        source: a run, a cache, cache:split, a folder, a zip or a named set.
        size: prepare the pictures at this size, if they are no cache yet.
        out: RUN/report.html, CACHE.html beside the cache, or NAME.html here for pictures that are
            no cache yet, unless given.
    """
    from safelight.data.cache import Cache
    from safelight.sources import is_run

    to = None if out is None else place(out)
    if not isinstance(source, Cache) and is_run(source):
        page = _report_of_run(source, size, to)
    else:
        page = _report_of_pictures(source, size, to)
    say(f"report: {page} (open it in a browser; it needs no network)")
    return page


def _report_of_run(run: str | Path, size: int | str | None, out: Path | None) -> Path:
    from safelight.reporting.page import report as write
    from safelight.training.run import Run

    if size is not None:
        raise UserError(f"--size is of pictures that are no cache yet, and {run} is a run")
    return write(Run.open(run), out)


def _report_of_pictures(
    source: str | Path | Cache, size: int | str | None, out: Path | None
) -> Path:
    from safelight.reporting.profile.page import report as write
    from safelight.reporting.profile.page import require_place, usual_place

    cache = opened(source, size)
    place = out or usual_place(cache)
    require_place(cache, place)
    return write(cache, place)


def compare(
    *runs: str | Path,
    per_class: bool = False,
    published: str | None = None,
    plot: Path | str | None = None,
    json: Path | str | None = None,
) -> list[Comparison]:
    """Set the newest evaluations of several runs side by side, metric by metric.

    Raises UserError where one has not been evaluated, and where the protocols differ.

    Args:
        runs: runs, and files of `evaluate(json=...)`; NAME=PLACE gives one a name. Those of one
            name, and runs that differ by the seed alone, are trainings of one recipe: one source,
            whose interval covers retraining.
        per_class: each class too, as `evaluate(per_class=True)` found it.
        published: a row of `evaluation.published.PUBLISHED`: figures of papers, each marked as
            comparable or not, and why. One run is enough then.
        plot: draw the intervals into this file, a PNG.
        json: write the comparisons there too.
    """
    from safelight.evaluation import published as figures
    from safelight.evaluation.cautions import cautions
    from safelight.evaluation.compare import compare as set_side_by_side
    from safelight.evaluation.compare import lacking
    from safelight.evaluation.side_by_side import tables
    from safelight.judged import judged

    require_file(json)
    if plot is not None:
        from safelight.reporting.intervals import draw, require_png  # loads matplotlib

        require_png(place(plot))
    rows = () if published is None else figures.rows(published)
    read = judged(runs)
    fewest = 1 if rows else 2
    comparisons = set_side_by_side(read.evaluations, per_class, read.recipes, fewest)
    beside = figures.beside(comparisons, rows) if rows else []
    wrong = cautions(read.evaluations, comparisons, read.called)
    for table in (*tables(comparisons), *map(figures.table, beside)):
        results.print(table)
    if missing := lacking(read.evaluations, comparisons, per_class):
        inform(f"left out, since not all of them have it: {', '.join(missing)}")
    for caution in wrong:
        say(f"look out: {caution}")
    if plot is not None:
        say(f"intervals: {draw(comparisons, place(plot), wrong)}")
    if json is not None:
        found = [each.to_json() for each in comparisons]
        kept = [each.to_json() for each in beside]
        write_json(place(json), {"comparisons": found, "published": kept, "look out": wrong})
    return comparisons


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
