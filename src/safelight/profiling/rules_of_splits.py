"""Rules about splits: whether they are there, apart, alike, and large enough."""

from __future__ import annotations

import math

from safelight.data.splits import DEFAULT_SPLIT, SPLITS, TRAIN
from safelight.evaluation.needs import DIMENSIONS, fewest_images
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import Advice, counted, percent

TEST = SPLITS.index("test")
MOST_TESTED = 0.3  # of all pictures that one would give away to test


def leaked(profile: Profile, fewest: float) -> Advice | None:
    """Copies of one picture in several splits."""
    twins = profile.twins
    if twins is None or twins.across.sum() < fewest:
        return None
    count, same = int(twins.across.sum()), int((twins.across & twins.same).sum())
    return Advice(
        f"{counted(count, 'picture is a copy', 'pictures are copies')} of one in another split, "
        f"{same:,} to the last value and {count - same:,} nearly. A model that learns it by heart "
        "is flattered where it is tested. Leave them out, or divide anew, which keeps copies on "
        "one side.",
        {"duplicates": "drop" if same == count else "drop-near"},
    )


def related(profile: Profile, share: float) -> Advice | None:
    """Held-out pictures with a training picture that looks the same."""
    pairs = profile.pairs
    count = 0 if pairs is None else int(pairs.related.sum())
    if pairs is None or count < max(1, share * len(pairs)):
        return None
    return Advice(
        f"{count:,} of {len(pairs):,} {profile.held_out} pictures ({percent(count / len(pairs))}) "
        "have a training picture that looks the same but for light and details. They come of one "
        "scene, or one series: divide by scenes if you can, and see how many of a model's images "
        "are copies.",
        command="safelight evaluate RUN --metrics memorisation",
    )


def differ(profile: Profile, fewest: float) -> Advice | None:
    """Splits that differ from the training split, beyond chance."""
    found = [each for each in profile.apart if len(each.differs) >= fewest]
    if not found:
        return None
    said = [f"{each.split} in its {', '.join(each.differs)}" for each in found]
    return Advice(
        f"Splits differ from what is trained on: {'; '.join(said)}. A number on such a split "
        "counts that too, and no model will reach what real images get. Unless the difference is "
        "meant, divide anew.",
        {"split": DEFAULT_SPLIT},
    )


def missing(profile: Profile, fewest: float) -> Advice | None:
    """A split without pictures, of a whole cache."""
    if profile.cache.split is not None:
        return None
    there = profile.groups.counts.sum(0)
    without = [name for name, n in zip(SPLITS, there.tolist(), strict=True) if n < fewest]
    if not without:
        return None
    uses = {"train": "train on", "validation": "notice overfitting by", "test": "judge a model by"}
    purposes = " and ".join(f"{name} ({uses[name]})" for name in without)
    return Advice(f"There are no pictures for {purposes}. Divide them.", {"split": DEFAULT_SPLIT})


def few_to_judge(profile: Profile, of_its_need: float) -> Advice | None:
    """A held-out split that is too small for a Fréchet distance, the number most people want."""
    there = profile.groups.counts.sum(0)
    n, total = int(there[TEST]), int(there.sum())
    if not n or profile.cache.split not in (None, "test"):
        return None
    needs = {name: fewest_images("fd", width) for name, width in DIMENSIONS.items()}
    least = min(needs.values())
    if n >= of_its_need * least:
        return None
    said = " and ".join(f"{count:,} on {name}" for name, count in needs.items())
    text = (
        f"The test split has {n:,} pictures. A Fréchet distance needs {said}, and is refused with "
        f"fewer; KID takes {fewest_images('kid', 0):,}."
    )
    if n < max(fewest_images("kid", 0), fewest_images("memorisation", 0)):
        return Advice(f"{text} Next to nothing can be measured on so few: add pictures.", {})
    share = math.ceil(100 * least / total)
    if share <= 100 * MOST_TESTED:
        return Advice(f"{text} Hold more out.", {"split": f"{90 - share}/10/{share}"})
    kid = "safelight evaluate RUN --metrics kid"
    return Advice(f"{text} There are too few in all to hold out as many: use KID.", command=kid)


def few_to_learn(profile: Profile, fewest: float) -> Advice | None:
    """So few training pictures that a model learns them by heart."""
    n = int(profile.groups.counts.sum(0)[TRAIN])
    if not n or n >= fewest:
        return None
    return Advice(
        f"There are {n:,} pictures to train on. A model learns so few by heart within minutes: "
        "train briefly, watch the validation loss, and look for copies.",
        command="safelight evaluate RUN --metrics memorisation",
    )
