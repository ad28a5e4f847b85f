"""Did the model copy? The samples between their nearest training and held-out pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from safelight.evaluation.estimate import Estimate
from safelight.evaluation.memorisation import near_copies
from safelight.evaluation.moments import Floats
from safelight.reporting import plots, words
from safelight.reporting.collect import Neighbours, ReportData
from safelight.reporting.pictures import Picture, picture

CARDS = 16  # samples shown with their nearest pictures
CONSPICUOUS = 0.05  # of the held-out pictures are as near as such a sample


@dataclass(frozen=True)
class Neighbour:
    picture: Picture
    kind: str
    title: str
    distance: str


@dataclass(frozen=True)
class Card:
    title: str
    sample: Picture
    neighbours: list[Neighbour]


@dataclass(frozen=True)
class CopyingShown:
    sentences: list[str]
    tested: list[str]
    plot: Markup
    held_out: str
    cards: list[Card]


def copying(data: ReportData) -> CopyingShown:
    found, own = data.copying.held_out, data.copying.nearest.distances
    order = np.argsort(_suspicion(data), kind="stable")[:CARDS].tolist()
    text = f"{words.count(len(found.distances))} {found.split} pictures" if found else ""
    svg = plots.distances(own, found.distances if found else None)
    cards = [_card(data, i) for i in order]
    return CopyingShown(copying_sentences(data), tested(data), svg, text, cards)


def _suspicion(data: ReportData) -> Floats:
    """The lower, the more a sample looks like a copy: its distance, by that of held-out ones."""
    own, found = data.copying.nearest.distances, data.copying.held_out
    if found is None:
        return own
    return own / np.maximum(found.nearest.distances, np.finfo(np.float64).tiny)


def copying_sentences(data: ReportData) -> list[str]:
    """The distances in words, with the held-out pictures as their measure."""
    own, found = data.copying.nearest.distances, data.copying.held_out
    first = f"The median sample is {np.median(own):.3f} from its nearest training picture."
    if found is None:
        return [
            first,
            "There are no held-out pictures to measure this against; prepare the data with "
            "--split 80/10/10.",
        ]
    near = int((own <= np.quantile(found.distances, CONSPICUOUS)).sum())
    copied = int(near_copies(own, found.nearest.distances).sum())
    return [
        first,
        f"The median of {words.count(len(found.distances))} real {found.split} pictures, which "
        f"the model never saw, is {np.median(found.distances):.3f}. {near} of the {len(own)} "
        f"samples {'is' if near == 1 else 'are'} nearer than 95 % of the real ones; by chance it "
        f"would be about {round(CONSPICUOUS * len(own))}. Blurred samples are near to everything.",
        f"{copied} of the {len(own)} samples {'is' if copied == 1 else 'are'} less than a third "
        f"as far from a training picture as from any of {words.count(found.count)} {found.split} "
        "pictures, whatever their sharpness: that is what a copy looks like.",
    ]


def tested(data: ReportData) -> list[str]:
    """What the newest evaluation says of it; nothing where none has asked."""
    for evaluation in reversed(data.evaluations):
        every = [each for each in evaluation.estimates if not each.of_class]
        if found := [each for each in every if each.protocol.metric == "memorisation"]:
            return [_tested(each) for each in found]
    return []


def _tested(found: Estimate) -> str:
    verdict = "as of a model that copies nothing, which comes to one half"
    if found.low > 0.5:
        verdict = "more than the half that a model which copies nothing comes to"
    elif found.high < 0.5:
        verdict = "less than one half, as where the two kinds of pictures differ"
    return (
        f"Of {words.count(found.n)} images {found.show(found.value)} "
        f"[{found.show(found.low)}, {found.show(found.high)}] are nearer to a training picture "
        f"than to any of as many held-out ones ({found.protocol.network}): {verdict}."
    )


def _card(data: ReportData, i: int) -> Card:
    name, found = f"seed {data.samples.seeds[i]}", data.copying.held_out
    sides = [_neighbour(data.copying.nearest, i, "training", name)]
    if found:
        sides.append(_neighbour(found.nearest, i, found.split, name))
    return Card(name, picture(data.samples.images[i], f"sample, {name}"), sides)


def _neighbour(found: Neighbours, i: int, kind: str, sample: str) -> Neighbour:
    title = f"{kind} picture {words.count(int(found.positions[i]))}"
    distance = f"{found.distances[i]:.3f}"
    alt = f"{title}, {distance} from the sample of {sample}"
    return Neighbour(picture(found.pictures[i], alt), kind, title, distance)
