"""Rules about classes: how large they are, how they are called, how they look."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from safelight.data.splits import SPLITS, TRAIN
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import Advice, counted, listed, percent

FEW = 50  # pictures, fewer than which a class is not made the measure of others
LONGEST = 200  # characters of names in a command
WITHOUT_CLASSES = {"labels": "none", "classes": (), "rename": {}, "label_by": ()}
EACH = 30  # pictures of a class that have to be seen before it is said to look like another


def _learnt(profile: Profile) -> bool:
    """Whether models learn from these pictures: of what is held out the rest says too little."""
    return profile.cache.split in (None, SPLITS[TRAIN])


def imbalance(profile: Profile, most: float) -> Advice | None:
    """The largest class beside the smallest that has pictures."""
    sizes, names = profile.groups.counts.sum(1), profile.groups.classes
    there = np.flatnonzero(sizes)
    large, small = int(sizes.argmax()), int(there[sizes[there].argmin()])
    if not _learnt(profile) or large == small or sizes[large] < most * sizes[small]:
        return None
    text = (
        f"{names[large]} has {sizes[large]:,} pictures and {names[small]} {sizes[small]:,}, "
        f"{sizes[large] / sizes[small]:.1f} times fewer. A model without classes draws them as "
        "often as they are there, and learns the small ones less well."
    )
    enough = np.flatnonzero(sizes >= FEW)
    if len(enough) < 2:
        return Advice(f"{text} Add pictures of the small ones.", {})
    change: dict[str, Any] = {"per_class": int(sizes[enough].min()), "fraction": None}
    if len(enough) < len(sizes):
        kept = tuple(names[k] for k in enough.tolist())
        if not can_be_typed(kept):
            return Advice(f"{text} Add pictures of the small ones.", {})
        change["classes"] = kept
    return Advice(f"{text} Take as many of each, or train with classes.", change)


def small_classes(profile: Profile, fewest: float) -> Advice | None:
    """Classes with less pictures than can be learnt from."""
    if len(profile.groups.classes) < 2 or not _learnt(profile):
        return None
    sizes = profile.groups.counts.sum(1)
    few = np.flatnonzero(sizes < fewest)
    if not len(few):
        return None
    order = few[np.argsort(sizes[few], kind="stable")]
    named = [f"{profile.groups.classes[k]} ({sizes[k]:,})" for k in order.tolist()]
    left = [name for k, name in enumerate(profile.groups.classes) if sizes[k] >= fewest]
    text = (
        f"{counted(len(few), 'class has', 'classes have')} fewer than {fewest:,g} pictures: "
        f"{listed(named)}. A model learns so few by heart, and no number of one class can be "
        "trusted. Add pictures, unite them with others, or leave them out"
    )
    if len(left) >= 2 and can_be_typed(left):
        return Advice(f"{text}.", {"classes": tuple(left)})
    return Advice(f"{text}; without classes they do no harm.", WITHOUT_CLASSES)


def same_name(profile: Profile, least: float) -> Advice | None:
    """Classes whose names differ in case, blanks, hyphens or underscores alone."""
    alike: dict[str, list[str]] = {}
    for name in profile.groups.classes:
        alike.setdefault(plain_name(name), []).append(name)
    found = [names for names in alike.values() if len(names) >= least]
    if not found:
        return None
    pairs = listed([" and ".join(f"“{name}”" for name in names) for names in found])
    return Advice(
        f"These classes are probably one each: {pairs}. Give them one name.",
        _one_name(found, profile),
    )


def _one_name(found: Sequence[Sequence[str]], profile: Profile) -> dict[str, Any]:
    """The names that are to be others: those of the smaller classes become the largest's.

    None new where one can't be typed. What has been renamed before goes on to the new name, and so
    does what was chosen, which is chosen by the new names.
    """
    groups, options = profile.groups, profile.cache.meta.options
    before = options.rename
    size = dict(zip(groups.classes, groups.counts.sum(1).tolist(), strict=True))
    renamed: dict[str, str] = {}
    for names in found:
        largest = max(names, key=lambda name: size[name])
        renamed |= {name: largest for name in names if name != largest}
    if not can_be_typed([name for names in found for name in names]):
        return {"rename": dict(before)}
    onwards = {old: renamed.get(new, new) for old, new in before.items()}
    first = {old: new for old, new in renamed.items() if old not in before.values()}
    change: dict[str, Any] = {"rename": onwards | first}
    if options.classes:
        change["classes"] = tuple(sorted({renamed.get(name, name) for name in options.classes}))
    return change


def can_be_typed(names: Sequence[str]) -> bool:
    """Whether these names make one word of a command line that a person would type."""
    return len(",".join(names)) <= LONGEST and not any(c in name for name in names for c in ",=")


def plain_name(name: str) -> str:
    """What is left of a name without case, blanks, hyphens and underscores."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", name).casefold())


def look_alike(profile: Profile, share: float) -> Advice | None:
    """Two classes of which one is often taken for the other."""
    alike = profile.alike
    if alike is None:
        return None
    found = [c for c in alike.confused(20) if c.share >= share and alike.tally.seen[c.of] >= EACH]
    if not found:
        return None
    names = profile.groups.classes
    said = [f"{names[c.of]} for {names[c.taken_for]} ({percent(c.share)})" for c in found]
    return Advice(
        "By their nearest neighbours, all classes weighing the same, pictures are often taken for "
        "another class: "
        f"{listed(said)}. Look whether the labels are right, or whether they are one class; a "
        "classifier that judges a model will not tell them apart either.",
        command="safelight evaluate RUN --metrics accuracy --per-class",
    )


def relabelled(profile: Profile, fewest: float) -> Advice | None:
    """Copies of one picture in several classes."""
    twins = profile.twins
    if twins is None or twins.relabelled.sum() < fewest:
        return None
    count = int(twins.relabelled.sum())
    return Advice(
        f"{counted(count, 'picture is', 'pictures are')} there in another class too. One of the "
        "two labels is wrong, or both are true of it: decide, and delete one of the files, whose "
        "names are with the copies below.",
        change={},
    )
