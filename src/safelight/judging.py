"""The commands that judge, as functions: `safelight evaluate` is `safelight.evaluate` here.

What they need is imported when they are called, as in `safelight.verbs`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from safelight.config import Likelihood, Sampling
from safelight.console import inform, results, say
from safelight.errors import UserError
from safelight.files import require_file, write_json
from safelight.paths import place
from safelight.starting import opened

if TYPE_CHECKING:
    from safelight.data.cache import Cache
    from safelight.evaluation.compare import Comparison
    from safelight.evaluation.estimate import Evaluation
    from safelight.training.run import Run


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

    Of several checkpoints or averages each is judged and kept, with the same seeds; returned is
    what was found of the last.

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
        checkpoint, weights: of a run, as for `sample`; here several too, such as 500,1000 or all,
            and ema,0.1,raw: these are set side by side.
        likelihood: how bpd is measured.
        json: write the evaluation there too, or a list of those of several checkpoints.
    """
    from safelight.evaluation.estimate import parsed
    from safelight.evaluation.evaluate import evaluate as judge
    from safelight.evaluation.evaluate import require_known
    from safelight.evaluation.table import curves, table
    from safelight.machine import keep_memory
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
    keep_memory()
    opened = open_source(source)
    if isinstance(opened, Run):
        parsed(opened.evaluations(), opened.metrics_file)  # to be refused before the work
    real = real_images(against, opened)
    known = learnt_from(opened, real, metrics, train)
    states = opened.states(checkpoint, weights) if isinstance(opened, Run) else [(None, weights)]
    found: list[Evaluation] = []
    for step, word in states:
        judged = judge(
            opened.source(sampling, step, word) if isinstance(opened, Run) else opened,
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
    if isinstance(opened, Run) and len({word for _, word in states}) > 1:
        _set_side_by_side(opened, found)
    if json is not None:
        kept = [judged.to_json() for judged in found]
        write_json(place(json), kept if len(kept) > 1 else kept[0])
    return found[-1]


def _set_side_by_side(run: Run, found: Sequence[Evaluation]) -> None:
    """Print a table of several states of a run, and how to draw with the best."""
    from safelight.evaluation.compare import compare as set_side_by_side
    from safelight.evaluation.side_by_side import tables

    named = {each.source.removeprefix(f"{run.name} "): each for each in found}
    comparisons = set_side_by_side({name: [each] for name, each in named.items()})
    for table in tables(comparisons):
        results.print(table)
    of_kid = [each for each in comparisons if each.estimates[0][1].protocol.metric == "kid"]
    chosen = (of_kid or comparisons)[0]
    best, *near = chosen.foremost
    told = f"can't be told from {', '.join(near)}" if near else "told from all others"
    state = (word for name, value in named[best].trained.items() for word in (f"--{name}", value))
    command = shlex.join(("safelight", "sample", str(run.path), *state))
    say(f"best in {chosen.name}: {best}, {told}; draw with it: {command}")


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
    from safelight.machine import keep_memory
    from safelight.sources import is_run

    keep_memory()
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
