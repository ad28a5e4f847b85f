"""What the data's page says of the whole: its headline, its counts, its sizes, its advice."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from safelight.data.options import Options
from safelight.data.splits import SPLITS
from safelight.data.summary import aside, by_reason
from safelight.evaluation.needs import DIMENSIONS, TELLING, fewest_images
from safelight.profiling.advice import RULES, advice
from safelight.profiling.groups import MOST_SHOWN
from safelight.profiling.looked import DIRECTIONS, SIDE
from safelight.profiling.profile import Profile
from safelight.reporting import words
from safelight.reporting.collect import Pictures
from safelight.reporting.counts import CountsShown, counts_shown, with_others
from safelight.reporting.shell import prepared_first, preparing_anew

WANTED = ("fd", "fd-infinity", "kid", "precision", "coverage", "memorisation")  # rows of METRICS
MOST_FOLDED = 1000  # classes that are listed when they are unfolded


def headline(profile: Profile) -> str:
    """The pictures in one sentence."""
    cache, counts = profile.cache, profile.groups.counts.sum(0).tolist()
    classes = ""
    if cache.classes:
        classes = f" in {words.plural(profile.groups.there, 'class', 'classes')}"
    uses = ("to train on", "to validate", "to test")
    parts = [f"{words.count(n)} {use}" for n, use in zip(counts, uses, strict=True) if n]
    whole = f"{words.plural(cache.count, 'picture')}{classes}, {words.look(cache.shape)}"
    return f"{whole}{words.shown(cache.shape[0])}: {', '.join(parts)}."


def facts(profile: Profile) -> list[tuple[str, str]]:
    """(value, name) of the figures under the headline."""
    twins = profile.twins
    found = [(words.count(profile.cache.count), "pictures")]
    if profile.cache.classes:
        found.append((words.count(profile.groups.there), "classes"))
    _, h, w = profile.cache.shape
    found.append((f"{w}×{h}", "pixels"))
    if twins is not None:
        found.append((words.count(len(twins)), "copy" if len(twins) == 1 else "copies"))
    left_out = len(profile.cache.meta.rejected)
    found.append((words.count(left_out), f"file{'' if left_out == 1 else 's'} left out"))
    return found


@dataclass(frozen=True)
class AdviceShown:
    """of_a_run: whether the command is for a run, which there may not be yet."""

    title: str
    text: str
    command: str
    of_a_run: bool


@dataclass(frozen=True)
class AdvicesShown:
    """checked: (title, when it is given, whether it was) of every rule.

    afterwards: the command for when files have been mended, if any advice is to do so.
    """

    given: list[AdviceShown]
    checked: list[tuple[str, str, bool]]
    afterwards: str


def advice_shown(profile: Profile) -> AdvicesShown:
    cache, found = profile.cache, advice(profile)
    before = cache.meta.options
    given, of_files = [], False
    for name, each in found.items():
        command = each.command
        if each.change is not None:
            options = Options.model_validate(before.model_dump() | dict(each.change))
            command = preparing_anew(cache, options) if options != before else ""
            of_files |= options == before
        given.append(AdviceShown(RULES[name].title, each.text, command, bool(each.command)))
    checked = [(rule.title, rule.said, name in found) for name, rule in RULES.items()]
    return AdvicesShown(given, checked, preparing_anew(cache, before) if of_files else "")


@dataclass(frozen=True)
class Needed:
    """What a metric needs on each network to say something, and whether the test split has it."""

    metric: str
    needs: list[tuple[str, bool]]


def measurable(profile: Profile) -> list[Needed]:
    """Empty where there is no test split."""
    n = int(profile.groups.counts.sum(0)[SPLITS.index("test")])
    if not n:
        return []
    needs = {
        m: [max(fewest_images(m, d), TELLING.get(m, 0)) for d in DIMENSIONS.values()]
        for m in WANTED
    }
    return [Needed(m, [(words.count(need), n >= need) for need in row]) for m, row in needs.items()]


@dataclass(frozen=True)
class TableShown:
    """shown: the classes by themselves; folded: the others, but for `more`. needed: of metrics."""

    shown: CountsShown
    folded: CountsShown | None
    more: int
    networks: tuple[str, ...]
    needed: list[Needed]


def counts_table(profile: Profile) -> TableShown:
    groups = profile.groups
    rows = [
        (name, dict(zip(SPLITS, row, strict=True)))
        for name, row in zip(groups.classes, groups.counts.tolist(), strict=True)
    ]
    by_name = [rows[k] for k in groups.shown]
    if not groups.folded:
        few = len(rows) <= MOST_SHOWN  # then those without pictures here are named too
        whole = counts_shown(rows if few else by_name)
        return TableShown(whole, None, 0, tuple(DIMENSIONS), measurable(profile))
    shown_rows = set(groups.shown)
    rest = [r for k, r in enumerate(rows) if k not in shown_rows and any(r[1].values())]
    called = words.plural(len(rest), "further class", "further classes")
    shown = with_others(counts_shown(by_name), called, counts_shown(rest))
    rest.sort(key=lambda row: -sum(row[1].values()))
    folded, more = counts_shown(rest[:MOST_FOLDED]), max(0, len(rest) - MOST_FOLDED)
    return TableShown(shown, folded, more, tuple(DIMENSIONS), measurable(profile))


@dataclass(frozen=True)
class FilesShown:
    """reasons: (reason, how many); ignored: kinds of files; rejected: (file, reason)."""

    reasons: list[tuple[str, str]]
    ignored: list[str]
    rejected: list[tuple[str, str]]


def files_shown(profile: Profile) -> FilesShown | None:
    """None where every file of the source is in the cache."""
    meta = profile.cache.meta
    if not meta.rejected and not meta.ignored:
        return None
    return FilesShown(
        [(reason, words.count(n)) for reason, _, n in by_reason(meta.rejected)],
        list(aside(meta)),
        [(each.file, each.reason) for each in meta.rejected],
    )


@dataclass(frozen=True)
class MeasuredShown:
    """rows: (what, how). command: that draws the page again."""

    rows: list[tuple[str, str]]
    command: str


def measured(profile: Profile, pictures: Pictures) -> MeasuredShown:
    looked, n = profile.looked, profile.cache.count
    m = len(looked.positions)
    directions = f"it and the clusters in the {DIRECTIONS} directions of most variance"
    rows = [
        ("counts, light, colours, means", f"all {words.count(n)} pictures"),
        ("neighbours, clusters, odd pictures", _of(m, n, "drawn evenly by class and split")),
        ("features", _features(profile)),
        ("map", f"t-SNE of {_of(len(profile.mapped), m, 'drawn evenly of these')}; {directions}"),
        ("chance", "all draws are seeded: the same pictures give the same page"),
        ("cache", f"{profile.cache.name}, {profile.cache.fingerprint[:12]}"),
        *sorted(profile.cache.meta.versions.items()),
    ]
    place = words.place(profile.cache.path)
    split = f":{profile.cache.split}" if profile.cache.split else ""
    again = f"safelight report {shlex.quote(place + split)}"
    return MeasuredShown(rows, prepared_first(pictures, again))


def _of(some: int, every: int, how: str) -> str:
    if some == every:
        return f"all {words.count(every)} pictures"
    return f"{words.count(some)} pictures of {words.count(every)}, {how}"


def _features(profile: Profile) -> str:
    if profile.looked.missing:
        return f"thumbnails of {SIDE}×{SIDE} pixels, whatever their brightness and contrast"
    return f"{profile.looked.network}, scaled to length 1"
