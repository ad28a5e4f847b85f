"""Rules about classes: how large they are, how they are called, how they look."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np

from safelight.profiling.profile import Profile
from safelight.profiling.remedy import Advice, counted, listed, percent

FEW = 50  # pictures, fewer than which a class is not made the measure of others
EACH = 30  # pictures of a class that have to be seen before it is said to look like another


def imbalance(profile: Profile, most: float) -> Advice | None:
    """The largest class beside the smallest."""
    sizes, names = profile.groups.counts.sum(1), profile.groups.classes
    if len(sizes) < 2 or sizes.max() < most * sizes.min():
        return None
    large, small = int(sizes.argmax()), int(sizes.argmin())
    text = (
        f"{names[large]} has {sizes[large]:,} pictures and {names[small]} {sizes[small]:,}, "
        f"{sizes[large] / sizes[small]:.1f} times fewer. A model without classes draws them as "
        "often as they are there, and learns the small ones less well."
    )
    enough = np.flatnonzero(sizes >= FEW)
    if len(enough) < 2:
        return Advice(f"{text} Add pictures of the small ones.", {})
    change: dict[str, Any] = {"per_class": int(sizes[enough].min())}
    if len(enough) < len(sizes):
        change["classes"] = tuple(names[k] for k in enough.tolist())
    return Advice(f"{text} Take as many of each, or train with classes.", change)


def small_classes(profile: Profile, fewest: float) -> Advice | None:
    """Classes with less pictures than can be learnt from."""
    if len(profile.groups.classes) < 2:
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
    if len(left) >= 2 and len(",".join(left)) <= 200:
        return Advice(f"{text}.", {"classes": tuple(left)})
    return Advice(f"{text}; without classes they do no harm.", {"labels": "none"})


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
        f"These classes are probably one each: {pairs}. Rename the folder of one to the other's "
        "name, and prepare again.",
        change={},
    )


def plain_name(name: str) -> str:
    """What is left of a name without case, blanks, hyphens and underscores."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", name).casefold())


def look_alike(profile: Profile, share: float) -> Advice | None:
    """Two classes of which one is mostly taken for the other."""
    alike = profile.alike
    if alike is None:
        return None
    found = [c for c in alike.confused(20) if c.share >= share and alike.tally.seen[c.of] >= EACH]
    if not found:
        return None
    names = profile.groups.classes
    said = [f"{names[c.of]} for {names[c.taken_for]} ({percent(c.share)})" for c in found]
    return Advice(
        "By their nearest neighbours pictures are mostly taken for another class: "
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
