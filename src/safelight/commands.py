"""The commands: words that are typed, as arguments of the functions of `safelight`.

Each returns the call that it asks for, and its docstring is the command's help.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from safelight import judging, verbs
from safelight.config import Config, Likelihood, Sampling
from safelight.data.options import Names, Options
from safelight.editing.tasks import Edit
from safelight.presets import AUTO

RunFolder = Annotated[Positional[str], arg(metavar="RUN")]
OneSource = Annotated[Positional[str], arg(metavar="SOURCE")]
Count = Annotated[int | None, arg(aliases=("-n",))]
Weights = Annotated[str, arg(metavar="ema|raw|WIDTH")]
Drawing = Annotated[Sampling, arg(name="")]
Command = partial[Any]


def prepare_command(base: Options) -> Callable[..., Command]:
    """The prepare command, whose options show and start from `base`."""

    def prepare(
        sources: Annotated[
            Positional[tuple[str, ...]], arg(metavar="SOURCE [SOURCE ...]", help_behavior_hint="")
        ],
        /,
        *,
        options: Annotated[Options, arg(name="")] = base,
        out: Path | None = None,
        workers: int | None = None,
    ) -> Command:
        """Turn pictures into a cache to train on.

        Args:
            sources: a folder (sub-folders are classes), a zip or tar of one, shards, a table of
                paths (CSV, JSON), arrays (.npy, .npz, .pt, .safetensors), parquet, a video, a named
                set such as digits, mnist, cifar10, celeba or another of torchvision's, or
                hf:OWNER/NAME; several are merged. A cache stands for what it was made of, with its
                options where none are given.
            options: how they are prepared.
            out: folder of the cache; in the user's cache folder unless given.
            workers: decoding processes; one for each core unless given.
        """
        return partial(
            verbs.prepare,
            list(sources),
            out=out,
            workers=workers,
            **options.model_dump(mode="json"),
        )

    return prepare


def train_command(base: Config) -> Callable[..., Command]:
    """The train command, whose options show and start from the configuration `base`."""

    def train(
        data: OneSource,
        /,
        *,
        preset: str = AUTO,
        recipe: str | None = None,
        out: Path | None = None,
        size: str | None = None,
        resume: bool = False,
        profile: bool = False,
        config: Annotated[Config, arg(name="")] = base,
    ) -> Command:
        """Train a generator; the same command again goes on where it stopped.

        Args:
            data: a cache, a folder, a zip or a named set.
            preset: a row of `safelight presets`; auto chooses by the size of the pictures.
            recipe: the mathematics, as the literature names it: flow (unless given), edm,
                ddpm, improved-ddpm, v, smld, ve or vp; the options of --diffusion change it.
            out: folder of the run; runs/DATA-PRESET-RECIPE unless given.
            size: prepare the pictures at this size, such as 32 or 64x96, if they are no cache yet.
            resume: go on with the run in --out, with all its options.
            profile: look at some steps, not the first ones, and write where their time goes into
                RUN/step-times; changes nothing else.
            config: all that decides the run.
        """
        return partial(
            verbs.train,
            data,
            out=out,
            preset=preset,
            recipe=recipe,
            config=on_top(base, config),
            size=size,
            resume=resume,
            profile=profile,
        )

    return train


def on_top(base: Config, config: Config) -> Config:
    """The same, with those of the base's --net.options that were not given anew."""
    options = {**base.net.options, **config.net.options}
    return config.model_copy(update={"net": config.net.model_copy(update={"options": options})})


def sample(
    run: RunFolder,
    /,
    *,
    number: Count = None,
    classes: Names = (),
    sampling: Drawing = Sampling(),  # noqa: B008 - frozen
    seed: int = 0,
    checkpoint: str | None = None,
    weights: Weights = "ema",
    out: Path | None = None,
) -> Command:
    """Draw images from a run, each from its own seed.

    Args:
        run: folder of the run.
        number: images (of each class, where there are classes); 64 unless given, or all held-out
            pictures of an autoencoder where these are fewer.
        classes: only these, such as cat,frog.
        sampling: how they are drawn.
        seed: the first seed.
        checkpoint: a step, such as 1000; the newest unless given.
        weights: ema is the average over training, raw the last weights; a width such as 0.1
            is another average.
        out: a folder of its own in RUN/samples unless given.
    """
    return partial(
        verbs.sample,
        run,
        n=number,
        classes=classes,
        sampling=sampling,
        seed=seed,
        checkpoint=checkpoint,
        weights=weights,
        out=out,
    )


def export_images(
    source: OneSource,
    /,
    *,
    out: Path,
    number: Count = None,
    classes: Names = (),
    sampling: Drawing = Sampling(),  # noqa: B008 - frozen
    seed: int = 0,
    checkpoint: str | None = None,
    weights: Weights = "ema",
    with_report: bool = False,
) -> Command:
    """Write the images of any source as PNGs, a folder for each class, or into one zip.

    Args:
        source: a run, a cache, cache:split, a folder, a zip or a named set.
        out: a folder, or FILE.zip.
        number: images of each class, or of all where there are no classes. A run draws so many, 64
            unless given; of pictures these are at most the first so many, all unless given.
        classes: only these, such as cat,frog.
        sampling: how a run draws its images.
        seed: of a run: the first seed.
        checkpoint: of a run: a step, such as 1000; the newest unless given.
        weights: of a run: ema is the average over training, raw the last weights; a width such
            as 0.1 is another average.
        with_report: of a run: report.html and metrics.json too, to take all of it away in one file.
    """
    return partial(
        verbs.export_images,
        source,
        out=out,
        n=number,
        classes=classes,
        sampling=sampling,
        seed=seed,
        checkpoint=checkpoint,
        weights=weights,
        with_report=with_report,
    )


def edit_command(kind: type[Edit]) -> Callable[..., Command]:
    """The command of one edit, whose own options are the fields of `kind`."""

    def edit(
        run: RunFolder,
        pictures: Annotated[Positional[tuple[str, ...]], arg(metavar="[PICTURES ...]")] = (),
        /,
        *,
        task: Any,
        number: Count = None,
        class_name: Annotated[str | None, arg(name="class")] = None,
        sampling: Drawing = Sampling(),  # noqa: B008 - frozen
        seed: int = 0,
        checkpoint: str | None = None,
        weights: Weights = "ema",
        out: Path | None = None,
    ) -> Command:
        return partial(
            verbs.edit,
            run,
            pictures,
            task,
            n=number,
            class_name=class_name,
            sampling=sampling,
            seed=seed,
            checkpoint=checkpoint,
            weights=weights,
            out=out,
        )

    edit.__annotations__["task"] = Annotated[kind, arg(name="")]
    edit.__doc__ = f"{kind.__doc__}\n{EDIT_HELP}"
    return edit


EDIT_HELP = """
    Args:
        run: folder of the run.
        pictures: files, folders of them, a cache or CACHE:SPLIT.
        task: what is done.
        number: how many pictures to edit, from the first on; 16 of a cache and all of a folder
            unless given.
        class_name: the class to draw them as; what their folder or their cache says unless given.
        sampling: how they are drawn.
        seed: of the first picture's noise; each further one has the next.
        checkpoint: a step, such as 1000; the newest unless given.
        weights: ema is the average over training, raw the last weights; a width such as 0.1
            is another average.
        out: a folder of its own in RUN/edits unless given.
"""


def evaluate(
    source: OneSource,
    /,
    *,
    against: str | None = None,
    train: str | None = None,
    features: str = "efficientnet-lite0",
    resize: str | None = None,
    metrics: Annotated[Names, arg(aliases=("--metric",))] = (),
    per_class: bool = False,
    number: Count = None,
    seed: int = 0,
    sampling: Drawing = Sampling(),  # noqa: B008 - frozen
    checkpoint: str | None = None,
    weights: Weights = "ema",
    likelihood: Likelihood = Likelihood(),  # noqa: B008 - frozen
    json: Path | None = None,
) -> Command:
    """Compare images with real ones, with intervals, floors and the protocol.

    Args:
        source: a run, a cache, cache:split, a folder, a zip or a named set.
        against: real images, the same; for a run the test split of its data unless given.
        train: the pictures that the images' generator learnt from, of which copies are looked for
            (and more by memorisation); a run knows its own.
        features: inception, efficientnet-lite0, efficientnet-lite0-bf16 (faster), dinov2, clip,
            classifier, pixels, colour, spectrum or lpips.
        resize: how pictures are made to fit inception: tensorflow (what FID means; the usual one),
            clean (as clean-fid) or pytorch (as pytorch-fid).
        metrics: any of fd, fd-infinity, kid, accuracy, svc (support vectors as the judge), cas (a
            classifier trained on them), these three with -per-class, precision, recall, density,
            coverage, memorisation (near-copies with it), mmd, swd (sliced Wasserstein distance of
            pixels), colour, spectrum, is (Inception Score), vendi and lpips (both of diversity),
            psnr (of what an autoencoder gives back) and bpd (bits per dimension); fd, kid and
            accuracy, where the images allow them, unless given.
        per_class: each metric of each class too, against real images of that class.
        number: images of the source; 2,000 of a run, all of a folder unless given. For bpd, real
            images; 200 unless given.
        seed: the first seed.
        sampling: how a run draws its images.
        checkpoint: of a run: a step, such as 1000, several, such as 500,1000, or all; the newest
            unless given.
        weights: of a run: ema is the average over training, raw the last weights; a width such
            as 0.1 is another average. Several, such as 0.02,ema,0.2,raw, are set side by side.
        likelihood: how bpd is measured.
        json: write the result to this file too.
    """
    return partial(
        judging.evaluate,
        source,
        against=against,
        train=train,
        features=features,
        resize=resize,
        metrics=metrics,
        per_class=per_class,
        n=number,
        seed=seed,
        sampling=sampling,
        checkpoint=checkpoint,
        weights=weights,
        likelihood=likelihood,
        json=json,
    )


def report(source: OneSource, /, *, size: str | None = None, out: Path | None = None) -> Command:
    """Write one HTML page about a run, or about pictures, which opens offline.

    Args:
        source: folder of a run; or a cache, cache:split, a folder, a zip or a named set.
        size: prepare the pictures at this size, such as 32 or 64x96, if they are no cache yet.
        out: RUN/report.html, or CACHE.html beside the cache, unless given.
    """
    return partial(judging.report, source, size=size, out=out)


def compare(
    runs: Annotated[
        Positional[tuple[str, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="")
    ],
    /,
    *,
    per_class: bool = False,
    published: str | None = None,
    plot: Path | None = None,
    json: Path | None = None,
) -> Command:
    """Set the evaluations of several runs side by side.

    Args:
        runs: folders of runs, and files of evaluate --json, evaluated by the same protocol.
            NAME=PLACE gives one a name. Those of one name, and runs that differ by the seed alone,
            are trainings of one recipe, whose interval covers retraining.
        per_class: a column for each class, where all were evaluated with --per-class.
        published: cifar10 or lsun-bedroom: published figures beside them, each marked as
            comparable or not, and why.
        plot: draw the intervals into this PNG.
        json: write the comparison to this file too.
    """
    return partial(
        judging.compare, *runs, per_class=per_class, published=published, plot=plot, json=json
    )


def presets(*, measure: bool = False, json: Path | None = None) -> Command:
    """List the presets and recipes of train, with parameters, arithmetic and memory.

    Args:
        measure: time a training step of each on this machine too, which takes minutes.
        json: write what they cost to this file too.
    """
    return partial(verbs.presets, measure=measure, json=json)


def demo(*, out: Path = Path("demo"), budget: str = "150s") -> Command:
    """Run the whole pipeline on the 1,797 handwritten digits that scikit-learn ships.

    Args:
        out: where the cache, the run and its report go.
        budget: of the training.
    """
    return partial(verbs.demo, out=out, budget=budget)
