"""The command line: every command is the function of the same name in `safelight`."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial

import tyro
from pydantic import ValidationError

from safelight import __version__, verbs
from safelight.commands import (
    Command,
    compare,
    demo,
    edit_command,
    evaluate,
    export_images,
    prepare_command,
    presets,
    report,
    sample,
    train_command,
)
from safelight.config import Config
from safelight.console import results, status
from safelight.data.options import Options
from safelight.editing.tasks import EDITS
from safelight.errors import UserError, first_wrong
from safelight.options import REGISTRY, one_line, switched
from safelight.presets import AUTO, described, preset, with_recipe
from safelight.starting import (
    further_config,
    latent_shape,
    of_kind,
    opened,
    require_family,
    require_one_description,
    run_config,
    run_folder,
)

USAGE_ERROR, STOPPED = 2, 130
DESCRIPTION = "Train, sample and judge image generators on your own pictures."


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
    if command.func is verbs.train:
        command = settled(command, words)
    if command.func is verbs.prepare:
        command = as_before(command, words)
    command()


def as_before(prepare: Command, words: Sequence[str]) -> Command:
    """The same command, its options on top of those of the cache that is to be made again."""
    from safelight.data.again import options_before

    before = options_before(prepare.args[0])
    return prepare if before is None else parse(words, Config(), before)


def settled(train: Command, words: Sequence[str]) -> Command:
    """The same command, its options on top of the configuration that they are to change."""
    asked = train.keywords
    preset_and_recipe, start = (asked["preset"], asked["recipe"]), named(words, "--start")
    require_one_description(*preset_and_recipe, asked["resume"], asked["out"], start=start)
    if start is not None:
        base = further_config(start)
        config = parse(words, base).keywords["config"]
        config = config.model_copy(update={"start": base.start})
        kept = {name: asked[name] for name in ("out", "size", "profile")}
        return partial(verbs.train, train.args[0], config=config, **kept)
    if asked["resume"]:
        # What is not given stays as it is in the run; what is given and differs is refused.
        return parse(words, run_config(asked["out"]))
    # The preset may depend on the pictures.
    cache = opened(train.args[0], asked["size"])
    coder = named(words, "--diffusion.autoencoder")
    window = asked["config"].data.window
    seen = cache.shape if window is None else cache.cropped(*window).shape
    shape = seen if coder is None else latent_shape(coder, cache.shape, asked["out"])
    name, base = described(shape, asked["preset"], asked["recipe"])
    require_family(base, named(words, "--family"))
    config = parse(words, of_kind(base, named(words, "--net.kind"))).keywords["config"]
    out = asked["out"] or run_folder(cache, name, asked["recipe"], latent=coder is not None)
    return partial(verbs.train, cache, config=config, out=out, profile=asked["profile"])


def parse(words: Sequence[str], base: Config, options: Options = Options()) -> Command:  # noqa: B008 - frozen
    """What the words ask for, ready to be called; raises UserError in one line."""
    words = switched(words)
    app, edits = tyro.extras.SubcommandApp(), tyro.extras.SubcommandApp()
    for name, kind in EDITS.items():
        edits.command(name=name)(unwrapped(edit_command(kind)))
    for command in (prepare_command(options), train_command(base), sample):
        app.command(unwrapped(command))
    app.command(edits, name="edit", help="Edit pictures with a trained model.")
    for command in (evaluate, compare, report, export_images, presets, demo):
        app.command(unwrapped(command))
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
    except BrokenPipeError:  # `--help | head`: who reads it has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def unwrapped(command: Callable[..., Command]) -> Callable[..., Command]:
    """The same, what is said of each argument in one line, which is wrapped where it is shown."""
    command.__doc__ = re.sub(r"\n {8,}", " ", inspect.getdoc(command) or "")
    return command


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
