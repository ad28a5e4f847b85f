"""The command line: every command is the function of the same name in `safelight.verbs`."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import ValidationError
from tyro.conf import Positional, arg

from safelight import __version__, verbs
from safelight.config import Config, Likelihood, Sampling, preset, with_recipe
from safelight.console import results, status
from safelight.editing.tasks import EDITS, Edit
from safelight.errors import UserError
from safelight.options import REGISTRY, Names, first_wrong, one_line

USAGE_ERROR, STOPPED = 2, 130
AUTO = "auto"
DESCRIPTION = "Train, sample and judge image generators on your own pictures."

Count = Annotated[int, arg(aliases=("-n",))]
Drawing = Annotated[Sampling, arg(name="")]
Command = partial[Any]


def prepare(
    source: Positional[str],
    /,
    *,
    size: int | None = None,
    out: Path | None = None,
    classes: Names = (),
    per_class: int | None = None,
    split: str | None = None,
    channels: Literal["auto", "grey", "rgb"] = "auto",
    labels: Literal["folders", "none"] = "folders",
    seed: int = 0,
    workers: int | None = None,
) -> Command:
    """Turn a folder or zip of pictures, or a named set, into a cache to train on.

    Args:
        source: a folder (sub-folders are classes), a zip of one, or digits, mnist,
            fashion-mnist, cifar10.
        size: side of the pictures in pixels: the short side is scaled, the centre cut out.
        out: folder of the cache; in the user's cache folder unless given.
        classes: only these, such as cat,frog.
        per_class: as many pictures of each class, over all splits.
        split: percents for train/validation/test, such as 80/10/10.
        channels: auto is grey where all pictures are stored so.
        labels: none ignores the folders' names.
        seed: decides which pictures, and their split.
        workers: decoding processes; one for each core unless given.
    """
    return partial(
        verbs.prepare,
        source,
        size=size,
        out=out,
        classes=classes,
        per_class=per_class,
        split=split,
        channels=channels,
        labels=labels,
        seed=seed,
        workers=workers,
    )


def train_command(base: Config) -> Callable[..., Command]:
    """The train command, whose options show and start from the configuration `base`."""

    def train(
        data: Positional[str],
        /,
        *,
        preset: str = AUTO,
        recipe: str | None = None,
        out: Path | None = None,
        size: int | None = None,
        resume: bool = False,
        config: Annotated[Config, arg(name="")] = base,
    ) -> Command:
        """Train a generator; the same command again goes on where it stopped.

        Args:
            data: a cache, a folder, a zip or a named set.
            preset: a row of `safelight presets`; auto chooses by the size of the pictures.
            recipe: the mathematics, as the literature names it: edm (unless given), ddpm,
                improved-ddpm, v, flow, smld, ve or vp; the options of --diffusion change it.
            out: folder of the run; runs/DATA-PRESET-RECIPE unless given.
            size: prepare the pictures at this size, if they are no cache yet.
            resume: go on with the run in --out, with all its options.
            config: all that decides the run.
        """
        return partial(
            verbs.train,
            data,
            out=out,
            preset=preset,
            recipe=recipe,
            config=config,
            size=size,
            resume=resume,
        )

    return train


def sample(
    run: Positional[str],
    /,
    *,
    number: Count = 64,
    classes: Names = (),
    sampling: Drawing = Sampling(),  # noqa: B008 - frozen
    seed: int = 0,
    checkpoint: str | None = None,
    weights: Literal["ema", "raw"] = "ema",
    out: Path | None = None,
) -> Command:
    """Draw images from a run, each from its own seed.

    Args:
        run: folder of the run.
        number: images (of each class, where there are classes).
        classes: only these, such as cat,frog.
        sampling: how they are drawn.
        seed: the first seed.
        checkpoint: a step, such as 1000; the newest unless given.
        weights: ema is the average over training, raw the last weights.
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


def edit_command(kind: type[Edit]) -> Callable[..., Command]:
    """The command of one edit, whose own options are the fields of `kind`."""

    def edit(
        run: Positional[str],
        pictures: Positional[tuple[str, ...]] = (),
        /,
        *,
        task: Any,
        number: Annotated[int | None, arg(aliases=("-n",))] = None,
        class_name: Annotated[str | None, arg(name="class")] = None,
        sampling: Drawing = Sampling(),  # noqa: B008 - frozen
        seed: int = 0,
        checkpoint: str | None = None,
        weights: Literal["ema", "raw"] = "ema",
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
        number: the first so many pictures; 16 of a cache and all of a folder unless given.
        class_name: what the pictures are to be of; else their folder's or the cache's name for it.
        sampling: how they are drawn.
        seed: of the first picture's noise; each further one has the next.
        checkpoint: a step, such as 1000; the newest unless given.
        weights: ema is the average over training, raw the last weights.
        out: a folder of its own in RUN/edits unless given.
"""


def evaluate(
    source: Positional[str],
    /,
    *,
    against: str | None = None,
    features: str = "efficientnet-lite0",
    metrics: Annotated[Names, arg(aliases=("--metric",))] = (),
    number: Annotated[int | None, arg(aliases=("-n",))] = None,
    seed: int = 0,
    sampling: Drawing = Sampling(),  # noqa: B008 - frozen
    likelihood: Likelihood = Likelihood(),  # noqa: B008 - frozen
    json: Path | None = None,
) -> Command:
    """Judge images by real ones, with intervals, floors and the protocol.

    Args:
        source: a run, a cache, cache:split, a folder, a zip or a named set.
        against: real images, the same; for a run the test split of its data unless given.
        features: inception, efficientnet-lite0 or classifier.
        metrics: any of fd, kid, accuracy, accuracy-per-class and bpd (bits per dimension); the
            first three, where the images allow them, unless given.
        number: images of the source; 2,000 of a run, all of a folder unless given. For bpd, real
            images; 200 unless given.
        seed: the first seed.
        sampling: how a run draws its images.
        likelihood: how bpd is measured.
        json: write the result to this file too.
    """
    return partial(
        verbs.evaluate,
        source,
        against=against,
        features=features,
        metrics=metrics,
        n=number,
        seed=seed,
        sampling=sampling,
        likelihood=likelihood,
        json=json,
    )


def report(run: Positional[str], /, *, out: Path | None = None) -> Command:
    """Write one HTML page about a run, which opens offline.

    Args:
        run: folder of the run.
        out: RUN/report.html unless given.
    """
    return partial(verbs.report, run, out=out)


def compare(runs: Positional[tuple[str, ...]], /) -> Command:
    """Set the evaluations of several runs side by side.

    Args:
        runs: folders of runs, evaluated by the same protocol.
    """
    return partial(verbs.compare, *runs)


def presets() -> Command:
    """List the presets and recipes of train."""
    return partial(verbs.presets)


def demo(*, out: Path = Path("demo"), budget: str = "150s") -> Command:
    """The whole way on the 1,797 handwritten digits that scikit-learn ships.

    Args:
        out: where the cache, the run and its report go.
        budget: of the training.
    """
    return partial(verbs.demo, out=out, budget=budget)


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit status 0 when done, 2 for a user's mistake, 130 when stopped by Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(ValueError):  # signals belong to the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(words)
    except UserError as error:
        status.print(f"safelight: {error}", markup=False, style="red")
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt as stop:
        said = str(stop) or "stopped; nothing is half-written, and the same command begins again"
        status.print(f"safelight: {said}", markup=False)
        sys.exit(STOPPED)


def run(words: Sequence[str]) -> None:
    if list(words) in (["--version"], ["-V"]):
        results.print(f"safelight {__version__}")
        return
    command = parse(words, base_config(words))
    if asks_for_auto(command):
        # The preset depends on the pictures, and the other options change that preset.
        cache = verbs.opened(command.args[0], command.keywords["size"])
        name, base = verbs.auto_config(cache, command.keywords["recipe"])
        chosen = parse([*words, "--preset", name], base)
        command = partial(chosen.func, cache, **chosen.keywords)
    elif resumes(command):
        # What is not given stays as it is in the run; what is given and differs is refused.
        command = parse(words, verbs.run_config(command.keywords["out"]))
    command()


def parse(words: Sequence[str], base: Config) -> Command:
    """What the words ask for, ready to be called; raises UserError in one line."""
    app, edits = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()
    for name, kind in EDITS.items():
        edits.command(name=name)(edit_command(kind))
    for command in (prepare, train_command(base), sample):
        app.command(command)
    app.command(edits, name="edit", help="Make other pictures of pictures, with a run.")
    for command in (evaluate, compare, report, presets, demo):
        app.command(command)
    wrong = io.StringIO()
    try:
        with contextlib.redirect_stderr(wrong):
            return app.cli(  # type: ignore[no-any-return]
                prog="safelight", description=DESCRIPTION, args=words, config=(), registry=REGISTRY
            )
    except SystemExit as end:
        if end.code:
            raise UserError(one_line(wrong.getvalue())) from None
        raise
    except ValidationError as error:
        raise UserError(first_wrong(error)) from None


def base_config(words: Sequence[str]) -> Config:
    """The configuration that `--preset NAME` and `--recipe NAME` among the words name."""
    name, recipe = named(words, "--preset"), named(words, "--recipe")
    return with_recipe(Config(), recipe) if name in (None, AUTO) else preset(name, recipe)


def named(words: Sequence[str], option: str) -> str | None:
    """What follows the last `option` among the words."""
    found = None
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.removeprefix(f"{option}=")
    return found


def asks_for_auto(command: Command) -> bool:
    options = command.keywords
    return command.func is verbs.train and options["preset"] == AUTO and not options["resume"]


def resumes(command: Command) -> bool:
    options = command.keywords
    return command.func is verbs.train and options["resume"] and options["out"] is not None
