"""The originals: what they were, and what was done to make them equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from safelight.data.summary import changed
from safelight.profiling.originals import CUT, Originals
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import percent
from safelight.reporting import words
from safelight.reporting.profile import plots

COMMON = 8  # sizes that are listed


@dataclass(frozen=True)
class OriginalsShown:
    """sentences: what there is to say. common: (size, how many). plots: none of one size alone."""

    sentences: list[str]
    common: list[tuple[str, str]]
    plots: list[Markup]


def originals_shown(profile: Profile) -> OriginalsShown | None:
    """None of a cache that has no sizes of its originals."""
    found, meta = profile.originals, profile.cache.meta
    if found is None:
        return None
    common = [(_said(size), n) for size, n in found.commonest(COMMON)]
    formats = ", ".join(f"{words.count(n)} {name}" for name, n in meta.formats.items())
    sentences = [_sizes(found, common), *_fitted(found)]
    if profile.cache.split is None:  # these are counted of the whole cache
        sentences += [f"{formats}."] if formats else []
        sentences += [f"{line}." for line in changed(meta)]
    if len(common) == 1:
        return OriginalsShown(sentences, [], [])
    rows = [(size, words.count(n)) for size, n in common]
    return OriginalsShown(sentences, rows, [plots.sizes(found), plots.aspects(found)])


def _sizes(found: Originals, common: Sequence[tuple[str, int]]) -> str:
    cache = f"the cache's pictures {_said(found.target)}"
    if len(common) == 1:
        return f"All {words.count(len(found.sizes))} originals are {common[0][0]}, {cache}."
    low, high = found.sizes.min(0).tolist(), found.sizes.max(0).tolist()
    middle = np.rint(np.median(found.sizes, axis=0)).astype(np.int64).tolist()
    return (
        f"Originals are {low[0]} to {high[0]} pixels wide and {low[1]} to {high[1]} high, in the "
        f"middle {_said(middle)}; {cache}."
    )


def _said(size: Sequence[int]) -> str:
    return f"{size[0]}×{size[1]}"


def _fitted(found: Originals) -> Iterator[str]:
    """What was done to give them the cache's size."""
    n, enlarged = len(found.sizes), found.enlarged
    if enlarged:
        share = percent(enlarged / n)
        yield f"{words.plural(enlarged, 'was', 'were')} smaller, and enlarged ({share})."
    else:
        yield "None was enlarged."
    cut = int((found.lost > CUT).sum())
    if found.look.fit != "crop":
        yield f"Each was kept whole, with bars in {found.look.background} beside it."
    elif found.lost.any():
        yield (
            f"{words.plural(cut, 'picture')} lost more than a fifth of their area to the cut "
            f"({percent(cut / n)}); the mean of all is {percent(float(found.lost.mean()))}."
        )
    else:
        yield "Nothing was cut off."
