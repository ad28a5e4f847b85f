"""What to do about what was found: the table of rules.

Each rule has a threshold, says what it found in sentences with numbers, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from safelight.profiling import rules_of_classes as classes
from safelight.profiling import rules_of_pictures as pictures
from safelight.profiling import rules_of_splits as splits
from safelight.profiling.profile import Profile
from safelight.profiling.remedy import Advice


@dataclass(frozen=True)
class Rule:
    """title: of the advice. when: it is given, with {} for the threshold; a share is given in %."""

    title: str
    when: str
    threshold: float
    find: Callable[[Profile, float], Advice | None]

    @property
    def said(self) -> str:
        share = "{} %" in self.when
        return self.when.format(f"{100 * self.threshold if share else self.threshold:,g}")


RULES: dict[str, Rule] = {
    "leaked": Rule(
        "Copies across splits",
        "{} picture or more has a copy, or nearly one, in another split",
        1,
        splits.leaked,
    ),
    "related": Rule(
        "Look-alikes across splits",
        "{} % of the held-out pictures look like a training picture but for light and details",
        0.01,
        splits.related,
    ),
    "missing": Rule("A split is missing", "a split has fewer than {} picture", 1, splits.missing),
    "differ": Rule(
        "Splits differ",
        "a split differs from training in {} respect or more, by more than chance and so that it "
        "matters",
        1,
        splits.differ,
    ),
    "few-to-judge": Rule(
        "Few pictures to judge by",
        "the test split has fewer pictures than {} times what the Fréchet distance needs",
        1,
        splits.few_to_judge,
    ),
    "few-to-learn": Rule(
        "Few pictures to learn from",
        "there are fewer than {} training pictures",
        1000,
        splits.few_to_learn,
    ),
    "imbalance": Rule(
        "Unequal classes",
        "the largest class has {} times as many pictures as the smallest, or more",
        3,
        classes.imbalance,
    ),
    "small-classes": Rule(
        "Very small classes", "a class has fewer than {} pictures", 50, classes.small_classes
    ),
    "same-name": Rule(
        "Class names that are nearly the same",
        "{} classes or more have a name that differs in case, blanks, hyphens or underscores alone",
        2,
        classes.same_name,
    ),
    "relabelled": Rule(
        "One picture, two classes",
        "{} picture or more has a copy, or nearly one, in another class",
        1,
        classes.relabelled,
    ),
    "look-alike": Rule(
        "Classes that look alike",
        "{} % of a class's pictures are taken for one other class by their nearest neighbours",
        0.4,
        classes.look_alike,
    ),
    "repeated": Rule(
        "Copies", "{} % of the pictures are there before, or nearly", 0.01, pictures.repeated
    ),
    "mirrored": Rule(
        "Mirrored copies",
        "{} % of the pictures are mirror images of others",
        0.01,
        pictures.mirrored,
    ),
    "grey-as-colour": Rule(
        "Grey pictures stored in colour",
        "{} % of the pictures have no colour, and three channels",
        1,
        pictures.grey_as_colour,
    ),
    "some-grey": Rule(
        "Some pictures are grey",
        "{} % of the pictures have no colour, and others have",
        0.05,
        pictures.some_grey,
    ),
    "enlarged": Rule(
        "Enlarged pictures", "{} % of the originals were enlarged", 0.1, pictures.enlarged
    ),
    "cut-off": Rule(
        "Much is cut off",
        "{} % of the originals lost over a fifth of their area to the cut",
        0.25,
        pictures.cut_off,
    ),
    "constant": Rule(
        "Empty pictures", "{} picture or more is of one colour all over", 1, pictures.constant
    ),
    "left-out": Rule(
        "Files that gave no picture", "{} % of the files gave none", 0.01, pictures.left_out
    ),
}


def advice(profile: Profile) -> dict[str, Advice]:
    """Rule -> what it has to say, in the order of the table.

    Of one split alone nothing can be prepared: the remedies are left to the whole cache's page.
    """
    said = {name: rule.find(profile, rule.threshold) for name, rule in RULES.items()}
    found = {name: each for name, each in said.items() if each is not None}
    if profile.cache.split is None:
        return found
    return {name: replace(each, change=None) for name, each in found.items()}
