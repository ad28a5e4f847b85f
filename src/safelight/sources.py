"""SOURCE of the commands: a run, a cache, cache:split, a folder, a zip or a named set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from safelight.config import Likelihood, Sampling
from safelight.data.cache import Cache, open_data, require_there
from safelight.errors import UserError
from safelight.paths import expanded, is_there
from safelight.training.run import Run


def is_run(source: str | Path) -> bool:
    return is_there(expanded(source) / "config.yaml")


def require_named(source: str | Path, against: str | Path | None, train: str | Path | None) -> None:
    """Raise UserError where nothing is at one of these, or the real images are not named, before
    any of them is opened."""
    for place in (source, against, train):
        if place is not None and not is_run(place):
            require_there(place)
    if not is_run(source) and against is None:
        raise UserError("name the real images to judge by with --against CACHE:test (or a folder)")


def open_source(source: str | Path) -> Run | Cache:
    """What `source` names; pictures that are no cache yet are made one, as large as they are."""
    if is_run(source):
        return Run.open(source)
    return open_data(source, judged=True)


def real_images(against: str | Path | None, source: Run | Cache) -> Cache:
    """The real images to judge by; for a run, its own held-out test split unless others are named.

    They are not resized to the size of the source's images: that would change what is measured. But
    of a run's own pictures, if it learnt from parts of them, their centres are taken.
    """
    if against is not None:
        found = open_source(against)
        if isinstance(found, Run):
            raise UserError(
                f"{against} is a run; --against takes real images, such as its data: "
                f"{found.file.cache}:test"
            )
        return source.alike(found) if isinstance(source, Run) else found
    assert isinstance(source, Run)  # see require_named
    return source.cache().subset("test")


def learnt_from(
    source: Run | Cache, real: Cache, metrics: Sequence[str], named: str | Path | None
) -> Cache | None:
    """The pictures that `source` learnt from, copies of which are looked for: a run's own, else
    those that are named.

    None where they are not known; memorisation then says what it lacks. Raises UserError where they
    would not be heeded, and where memorisation is asked for and `real` holds them too.
    """
    from safelight.evaluation.copying import Copying
    from safelight.evaluation.kinds import OnFeatures, Share
    from safelight.evaluation.metrics import METRICS

    rows = [METRICS[name] for name in metrics]
    asked = any(isinstance(row, Copying) for row in rows)
    if named is not None and rows and not any(isinstance(row, OnFeatures | Share) for row in rows):
        raise UserError(
            "--train names the pictures that a generator learnt from, and copies of them are "
            f"looked for among its images, of which {', '.join(metrics)} takes none; leave it "
            "out, or add memorisation to --metrics"
        )
    if isinstance(source, Run):
        if named is not None:
            raise UserError(f"--train is of images from elsewhere; {source.path} knows its own")
        try:
            found = source.cache().subset("train")
        except UserError:
            if asked:
                raise
            return None  # the pictures were moved, or changed
    elif named is None:
        return None
    else:
        found = _pictures(named)
    if not asked:
        return found
    if real.split is None and real.path == found.path:
        raise UserError(
            f"{real.name} holds the training pictures {found.name} too; name a split that the "
            f"generator has not seen with --against, such as {real.name}:test"
        )
    return found


def _pictures(named: str | Path) -> Cache:
    found = open_source(named)
    if isinstance(found, Run):
        raise UserError(
            f"{named} is a run; --train takes pictures, such as its data: {found.file.cache}:train"
        )
    return found


def sibling(cache: Cache, split: str) -> Cache | None:
    """The split of that name beside `cache`, which is another split of the same pictures."""
    if cache.split in (None, split):
        return None
    try:
        return cache.subset(split)
    except UserError:
        return None


def require_heeded(
    source: str | Path,
    metrics: Sequence[str],
    sampling: Sampling,
    likelihood: Likelihood,
    checkpoint: str | None,
    weights: str,
) -> None:
    """Raise UserError for an option of `evaluate` that would change nothing."""
    require_drawn(source, sampling, checkpoint, weights)
    drawing = _named(sampling.changes())
    if drawing and metrics and set(metrics) <= {"bpd"}:
        raise UserError(
            f"{', '.join(drawing)} says how images are drawn, and bpd draws none; leave it out, or "
            "add another metric, such as kid"
        )
    if "bpd" not in metrics and (measuring := _named(likelihood.changes(), "likelihood.")):
        raise UserError(
            f"{', '.join(measuring)} says how bpd is measured; leave it out, or add bpd to "
            "--metrics"
        )


def require_drawn(
    source: str | Path,
    sampling: Sampling,
    checkpoint: str | None,
    weights: str,
    more: Sequence[str] = (),
) -> None:
    """Raise UserError for options of drawing, and for those of `more`, where `source` is no run."""
    named = _named(sampling.changes())
    named += ["--checkpoint"] * bool(checkpoint) + ["--weights"] * (weights != "ema")
    if not is_run(source) and (named := [*named, *more]):
        raise UserError(
            f"{', '.join(named)} is of a run, and {source} is none: its images are there already; "
            "leave it out"
        )


def _named(changes: Iterable[str], prefix: str = "") -> list[str]:
    """The options as they are typed."""
    return [f"--{prefix}{name.replace('_', '-')}" for name in changes]
