"""Rules about the pictures themselves."""

from __future__ import annotations

import math

import numpy as np

from safelight.data.look import Size
from safelight.data.summary import by_reason
from safelight.profiling.originals import CUT
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import Advice, counted, listed, percent

LEAST_SIDE = 8  # pixels of a picture in which something is to be seen
SMALLER = 0.1  # of the originals may still be smaller than the size that is proposed


def grey_as_colour(profile: Profile, share: float) -> Advice | None:
    """No picture has a colour, and three channels are kept."""
    n, c = profile.cache.count, profile.cache.shape[0]
    if c != 3 or profile.surveyed.grey < share * n:
        return None
    return Advice(
        f"All {n:,} pictures are grey and stored in colour. In one channel they take a third of "
        "the space, and a model has no colours to get wrong.",
        {"channels": "grey"},
    )


def some_grey(profile: Profile, share: float) -> Advice | None:
    """Grey pictures among coloured ones."""
    n, grey = profile.cache.count, profile.surveyed.grey
    if profile.cache.shape[0] != 3 or not share * n <= grey < n:
        return None
    return Advice(
        f"{grey:,} of {n:,} pictures ({percent(grey / n)}) are grey among coloured ones, and a "
        "model will draw as many grey ones. Take them out of the folder if that is not meant, or "
        "make all of them grey.",
        {"channels": "grey"},
    )


def enlarged(profile: Profile, share: float) -> Advice | None:
    """Originals that were smaller than the cache's pictures."""
    found = profile.originals
    if found is None or found.enlarged < max(1, share * len(found.sizes)):
        return None
    text = (
        f"{found.enlarged:,} of {len(found.sizes):,} originals "
        f"({percent(found.enlarged / len(found.sizes))}) are smaller than the cache's pictures and "
        "were enlarged: a model learns their blur."
    )
    room, (width, height) = found.room(SMALLER), found.target
    smaller = (_whole(width * room), _whole(height * room))
    if min(smaller) < LEAST_SIDE:
        return Advice(f"{text} They are icons rather: do without enlarging.", {"enlarge": False})
    return Advice(f"{text} Prepare them smaller.", {"size": smaller})


def _whole(side: float) -> int:
    """Pixels of a side no longer than this, but for rounding."""
    return max(1, math.floor(side + 1e-6))


def cut_off(profile: Profile, share: float) -> Advice | None:
    """Originals of another aspect, of which much was cut off."""
    found = profile.originals
    if found is None:
        return None
    lost = found.lost
    cut = lost > CUT
    if cut.mean() < share:
        return None
    aspect = float(np.exp(np.median(np.log(found.aspects))))
    text = (
        f"{int(cut.sum()):,} of {len(cut):,} originals ({percent(float(cut.mean()))}) lost more "
        f"than a fifth of their area when the middle was cut out, {percent(float(lost.mean()))} "
        "on average of all."
    )
    fitting = _with_aspect(found.target, aspect)
    if fitting == found.target:
        return Advice(
            f"{text} They have many shapes, so that no size fits them all: keep them whole, "
            "between bars, or look whether what matters is still there.",
            {"fit": "letterbox"},
        )
    return Advice(
        f"{text} The usual one is {aspect:.2f} times as wide as high.",
        {"size": fitting},
    )


def _with_aspect(size: Size, aspect: float) -> Size:
    """A size as long as this one, with another width : height."""
    long = max(size)
    short = max(1, round(long * min(aspect, 1 / aspect)))
    return (long, short) if aspect >= 1 else (short, long)


def constant(profile: Profile, fewest: float) -> Advice | None:
    """Pictures with nothing in them."""
    count = profile.surveyed.constant
    if count < fewest:
        return None
    return Advice(
        f"{counted(count, 'picture is', 'pictures are')} of one colour all over. A model draws "
        "such ones too: delete the files, and prepare again.",
        change={},
    )


def repeated(profile: Profile, share: float) -> Advice | None:
    """Copies, wherever they are."""
    twins, n = profile.twins, profile.cache.count
    if twins is None or len(twins) < max(1, share * n):
        return None
    same = int(twins.same.sum())
    return Advice(
        f"{len(twins):,} of {n:,} pictures ({percent(len(twins) / n)}) are there before, {same:,} "
        f"to the last value and {len(twins) - same:,} nearly. What is there often is learnt by "
        "heart first, and drawn more often.",
        {"duplicates": "drop" if same == len(twins) else "drop-near"},
    )


def mirrored(profile: Profile, share: float) -> Advice | None:
    """Copies that were mirrored."""
    turned, n = profile.turned, profile.cache.count
    every = turned.against >= n
    # one that is found by chance would be many of a large set
    if len(turned) < (1 if every else 2) or turned.share(n) < share:
        return None
    found = f"{len(turned):,} of {turned.asked:,} pictures ({percent(len(turned) / turned.asked)})"
    if every:
        text = f"{found} are mirror images of others"
    else:
        text = (
            f"{found} are mirror images of others among {turned.against:,} of all {n:,}, so that "
            f"about {percent(turned.share(n))} of all are"
        )
    return Advice(
        f"{text}: somebody has multiplied them. Training mirrors pictures by itself, and copies on "
        "both sides of a split leak. Keep the originals alone, and prepare again.",
        change={},
    )


def left_out(profile: Profile, share: float) -> Advice | None:
    """Files that gave no picture."""
    meta = profile.cache.meta
    if len(meta.rejected) < max(1, share * (meta.count + len(meta.rejected))):
        return None
    said = [f"{reason} ({count:,})" for reason, _, count in by_reason(meta.rejected)]
    return Advice(
        f"{counted(len(meta.rejected), 'file', 'files')} gave no picture: {listed(said)}. Mend or "
        "fetch them again, and prepare again; all are listed below.",
        change={},
    )
