"""Rules about splits: whether they are there, apart, alike, and large enough."""

from __future__ import annotations

import math

from safelight.data.merge import PLUS
from safelight.data.splits import DEFAULT_SPLIT, SPLITS, TRAIN
from safelight.data.video import ENDINGS
from safelight.evaluation.needs import DIMENSIONS, TELLING, fewest_images
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
    anew = "" if _of_film(profile.cache.meta.source) else ", or divide anew: copies stay together"
    return Advice(
        f"{counted(count, 'picture is a copy', 'pictures are copies')} of one in another split, "
        f"{same:,} to the last value and {count - same:,} nearly. A model that learns it by heart "
        f"is flattered where it is tested. Leave them out{anew}.",
        {"duplicates": "drop" if same == count else "drop-near"},
    )


def related(profile: Profile, share: float) -> Advice | None:
    """Held-out pictures with a training picture that looks the same."""
    pairs = profile.pairs
    count = 0 if pairs is None else int(pairs.related.sum())
    if pairs is None or count < max(1, share * len(pairs)):
        return None
    copies = _looking_for_copies(profile)
    text = (
        f"{count:,} of {len(pairs):,} {profile.held_out} pictures ({percent(count / len(pairs))}) "
        "have a training picture that looks the same but for light and details. They come of one "
        "scene, or one series: divide by scenes if you can"
    )
    if not copies:
        return Advice(f"{text}.")
    return Advice(f"{text}, and see how many of a model's images are copies.", command=copies)


def _in_all(profile: Profile) -> list[int]:
    """How many pictures each split has, whichever of them is looked at."""
    rows = profile.cache.meta.counts.values()
    return [sum(row.get(name, 0) for row in rows) for name in SPLITS]


def _looking_for_copies(profile: Profile) -> str:
    """The command that does; nothing where it would be refused for want of pictures."""
    there, fewest = _in_all(profile), fewest_images("memorisation", 0)
    enough = min(there[TRAIN], there[TEST]) >= fewest
    return "safelight evaluate RUN --metrics memorisation" if enough else ""


def differ(profile: Profile, fewest: float) -> Advice | None:
    """Splits that differ from the training split, beyond chance."""
    found = [each for each in profile.apart if len(each.differs) >= fewest]
    if not found:
        return None
    said = [f"{each.split} in its {', '.join(each.differs)}" for each in found]
    text = (
        f"Splits differ from what is trained on: {'; '.join(said)}. A number on such a split "
        "counts that too, and no model will reach what real images get."
    )
    if _of_film(profile.cache.meta.source):
        return Advice(
            f"{text} They are the parts of a film, one after the other, since neighbouring frames "
            "are nearly the same: dividing anew changes nothing. Test on another film."
        )
    options = profile.cache.meta.options
    if options.split is not None:
        text += " They were divided at random, so that it came by chance, or by copies, which stay"
        return Advice(f"{text} together: divide with another seed.", {"seed": options.seed + 1})
    # another seed, since those that had no splits were divided so already
    change = {"split": DEFAULT_SPLIT, "seed": options.seed + 1}
    return Advice(f"{text} Unless the difference is meant, divide anew.", change)


def _of_film(source: str) -> bool:
    """Whether the pictures are frames alone."""
    return all(part.lower().endswith(ENDINGS) for part in source.split(PLUS))


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
    text = f"There are no pictures for {purposes}."
    if there.sum() < len(SPLITS):
        return Advice(f"{text} {len(SPLITS)} can be divided: add pictures.")
    return Advice(f"{text} Divide them.", {"split": DEFAULT_SPLIT})


def few_to_judge(profile: Profile, of_its_need: float) -> Advice | None:
    """A held-out split that is too small for a Fréchet distance, the number most people want."""
    n = _in_all(profile)[TEST]
    if not n or profile.cache.split not in (None, "test"):
        return None
    needs = {name: fewest_images("fd", width) for name, width in DIMENSIONS.items()}
    least = min(needs.values())
    if n >= of_its_need * least:
        return None
    said = " and ".join(f"{count:,} on {name}" for name, count in needs.items())
    text = (
        f"The test split has {counted(n, 'picture', 'pictures')}. A Fréchet distance needs {said}, "
        f"and is refused with fewer; KID says something from {TELLING['kid']:,} on."
    )
    if share := _held_out_share(least, profile):
        return Advice(f"{text} Hold more out.", {"split": f"{90 - share}/10/{share}"})
    if n >= TELLING["kid"]:
        kid = "safelight evaluate RUN --metrics kid"
        return Advice(f"{text} There are too few in all to hold out as many: use KID.", command=kid)
    if share := _held_out_share(TELLING["kid"], profile):
        return Advice(f"{text} Hold more out for KID.", {"split": f"{90 - share}/10/{share}"})
    return Advice(f"{text} Little can be measured on so few: add pictures.", {})


def _held_out_share(least: int, profile: Profile) -> int:
    """The percent of all pictures that are at least so many; 0 where one would not give as many.

    Each class is divided by itself, within one picture of its share.
    """
    with_margin = least + len(profile.groups.classes) / 2
    share = math.ceil(100 * with_margin / profile.cache.meta.count)
    return share if share <= 100 * MOST_TESTED else 0


def few_to_learn(profile: Profile, fewest: float) -> Advice | None:
    """So few training pictures that a model learns them by heart."""
    n = int(profile.groups.counts.sum(0)[TRAIN])
    if not n or n >= fewest:
        return None
    text = (
        f"There {'is' if n == 1 else 'are'} {counted(n, 'picture', 'pictures')} to train on. A "
        "model learns so few by heart within minutes: train briefly"
    )
    copies = _looking_for_copies(profile)
    if not copies:
        return Advice(f"{text} and watch the validation loss.")
    return Advice(f"{text}, watch the validation loss, and look for copies.", command=copies)
