"""What is wrong with the images themselves, found and said: the table of guards.

Each guard compares the generated images with the real ones by their signatures and has a stated
threshold; docs/metrics.md gives them, and what real images gave. A finding changes no number: it
stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from safelight.evaluation.counting import CHANCE, Flags, by_no_chance, counted, more_often
from safelight.evaluation.evidence import Collected, Evidence
from safelight.evaluation.finding import Finding
from safelight.evaluation.signature import CONSTANT, END
from safelight.evaluation.twins import copies, near_copies, repeats

RANGE = 48.0  # levels between the brightest, or darkest, values of the sides
ENDS = 0.25  # of the values at an end of the range, between the sides
DETAIL = 0.85  # in log10 of the median fine detail: seven times
BLOCKS = 0.12  # of the cosine coefficients that JPEG made 0, between the sides
COLOURLESS = 0.5  # levels between the channels, below which a picture is grey
GREY = 0.25  # of the images without colour, between the sides
BALANCE = 0.05  # of the images in another class than they would be


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """What the guards say of these images, in the order of the table."""
    said = {name: text for name, find in GUARDS.items() if (text := find(evidence))}
    follow = {name for cause in said for name in FOLLOW.get(cause, ())}
    return tuple(Finding(name, text) for name, text in said.items() if name not in follow)


def same(evidence: Evidence) -> str:
    if not evidence.is_one_set:
        return ""
    return (
        f"{evidence.generated.side.name} is on both sides: the distance of a set from itself is "
        "zero, or less, and says nothing"
    )


def unreadable(evidence: Evidence) -> str:
    """Files among the generated images that gave no picture."""
    source = evidence.generated.side.source
    count = source.rejected if isinstance(source, Collected) else 0
    if not count:
        return ""
    files = "1 file" if count == 1 else f"{count:,} files"
    return f"{files} of {source.name} gave no picture, and only the others are judged"


def overlap(evidence: Evidence) -> str:
    """Any image that is on both sides."""
    if evidence.is_one_set:
        return ""
    both = copies(evidence.generated.signatures, evidence.reference.signatures)
    return f"{counted(both, 'generated')} on the other side too" if both.any() else ""


def copied(evidence: Evidence) -> str:
    """Copies of training pictures, more of them than among real images that were held out."""
    training = evidence.training
    if training is None or training.side.fingerprint == evidence.generated.side.fingerprint:
        return ""
    generated, real = (
        (
            copies(each.signatures, training.signatures),
            near_copies(each.signatures, training.signatures),
        )
        for each in (evidence.generated, evidence.reference)
    )
    return _twins(generated, real, "copies of training pictures, or nearly")


def repeated(evidence: Evidence) -> str:
    """Images that are there twice, more of them than among as many real ones."""
    generated, real = (
        (repeats(each), near_copies(each, each))
        for each in (evidence.generated.signatures, evidence.reference.signatures)
    )
    # Of more images a larger share has another that is the same, at most in proportion.
    growth = max(1.0, len(evidence.generated) / len(evidence.reference))
    return _twins(generated, real, "the same as another of them, or nearly", growth)


def constant(evidence: Evidence) -> str:
    found, real = (each.column("deviation") < CONSTANT for each in evidence.sides)
    return (
        f"{counted(found, 'generated')} of one colour all over" if more_often(found, real) else ""
    )


def value_range(evidence: Evidence) -> str:
    """One side's values all lie within a part of the other's."""
    for narrow, wide, name in evidence.both_ways():
        low, high = narrow.column("lowest").min(), narrow.column("highest").max()
        if high <= 1 < wide.column("highest").max():
            return (
                f"all values of the {name} images are 0 or 1 of 255: they were in [0, 1] when they "
                "were saved as bytes; multiply them by 255 first"
            )
        darker = high <= wide.column("highest").max() - RANGE
        if darker or low >= wide.column("lowest").min() + RANGE:
            return (
                f"the values of the {name} images reach from {low:.0f} to {high:.0f} only, those "
                "of the others further: they were scaled wrongly when they were saved"
            )
    return ""


def clipped(evidence: Evidence) -> str:
    """Many more values at one end of the range."""
    for more, less, name in evidence.both_ways():
        for column, level in (("black", f"0 to {END}"), ("white", f"{255 - END} to 255")):
            here, there = float(more.column(column).mean()), float(less.column(column).mean())
            if here - there >= ENDS:
                return (
                    f"{here:.0%} of the values of the {name} images are {level}, and {there:.0%} "
                    "of the others': they were cut off, as [-1, 1] is when saved as [0, 1]"
                )
    return ""


def compressed(evidence: Evidence) -> str:
    """The blocks of JPEG on one side."""
    if not evidence.have_pictures:
        return ""
    for blocky, other, name in evidence.both_ways():
        if blocky.of_pictures("blocks").mean() - other.of_pictures("blocks").mean() >= BLOCKS:
            return (
                f"the {name} images were compressed as JPEG and the others were not: a distance "
                "counts that too; keep pictures as PNG"
            )
    return ""


def enlarged(evidence: Evidence) -> str:
    """Next to no fine detail on one side."""
    if not evidence.have_pictures:
        return ""
    for smooth, sharp, name in evidence.both_ways():
        here, there = (float(np.median(each.of_pictures("detail"))) for each in (smooth, sharp))
        if there - here >= DETAIL:
            return (
                f"the {name} images have {_times(10 ** (there - here))} less fine detail than the "
                "others: they were enlarged from smaller ones, or blurred, or the others are full "
                "of noise"
            )
    return ""


def grey(evidence: Evidence) -> str:
    """Pictures without colour on one side of two in colour."""
    if evidence.generated.side.source.shape[0] != 3:
        return ""
    for colourless, other, name in evidence.both_ways():
        here, there = (each.column("colour") < COLOURLESS for each in (colourless, other))
        if here.mean() - there.mean() >= GREY and by_no_chance(here, there):
            return f"{counted(here, name)} grey, and {there.mean():.0%} of the others are"
    return ""


def balance(evidence: Evidence) -> str:
    """Classes that one side has more of, where the sides have classes in common."""
    counts = _class_counts(evidence)
    if counts is None:
        return ""
    names, generated, real = counts
    apart = generated / generated.sum() - real / real.sum()
    seen = generated + real > 0
    if abs(apart).sum() / 2 < BALANCE or seen.sum() < 2:
        return ""
    if chi2_contingency(np.stack([generated, real])[:, seen]).pvalue >= CHANCE:
        return ""
    i = int(np.argmax(abs(apart)))
    return (
        f"the classes are not as frequent on both sides: {names[i]} is "
        f"{generated[i] / generated.sum():.0%} of the generated and {real[i] / real.sum():.0%} of "
        "the real images, and a distance counts that too"
    )


GUARDS: Mapping[str, Callable[[Evidence], str]] = {
    "same": same,
    "unreadable": unreadable,
    "overlap": overlap,
    "copies": copied,
    "duplicates": repeated,
    "constant": constant,
    "range": value_range,
    "clipped": clipped,
    "jpeg": compressed,
    "enlarged": enlarged,
    "grey": grey,
    "balance": balance,
}

# Of nearly black images all of these are true too, and their advice is wrong.
FOLLOW: Mapping[str, Sequence[str]] = {"range": ("constant", "clipped", "jpeg", "enlarged", "grey")}


def _class_counts(
    evidence: Evidence,
) -> tuple[Sequence[str], NDArray[np.int64], NDArray[np.int64]] | None:
    """The classes of both sides, and how many images each has; None where they share none."""
    sides = [each.side for each in evidence.sides]
    first, second = (each.source.classes for each in sides)
    names = list(dict.fromkeys((*first, *second)))
    labels = [side.labels(names) for side in sides]
    if not {*first} & {*second} or labels[0] is None or labels[1] is None:
        return None
    generated, real = (
        np.bincount(each, minlength=len(names)) for each in labels if each is not None
    )
    return names, generated, real


def _twins(
    generated: tuple[Flags, Flags], real: tuple[Flags, Flags], what: str, growth: float = 1.0
) -> str:
    """(exactly, nearly) of each side. Exact ones are counted; near ones need a test."""
    (exact, near), (real_exact, real_near) = generated, real
    if not more_often(exact, real_exact, growth) and not by_no_chance(near, real_near, growth):
        return ""
    either, real_either = exact | near, real_exact | real_near
    return (
        f"{counted(either, 'generated')} {what} ({exact.sum():,} to the last value); of "
        f"{len(real_either):,} real ones {real_either.sum():,}"
    )


def _times(factor: float) -> str:
    return f"{factor:.0f} times" if factor < 1000 else "over a thousand times"
