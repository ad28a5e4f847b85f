"""Did the model copy? The samples beside their nearest training pictures, and the distances."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from safelight.reporting import plots, words
from safelight.reporting.collect import ReportData
from safelight.reporting.neighbours import share_nearer
from safelight.reporting.pictures import Picture, picture

CARDS = 16  # samples shown with their nearest training pictures
CONSPICUOUS = 0.05  # of the held-out pictures are as near as such a sample


@dataclass(frozen=True)
class Neighbour:
    picture: Picture
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
    plot: Markup
    held_out: str
    cards: list[Card]


def copying(data: ReportData) -> CopyingShown:
    held_out = data.copying.held_out
    own = data.copying.nearest.distances[:, 0]
    order = own.argsort(stable=True)[:CARDS].tolist()
    text = ""
    if held_out is not None:
        text = f"{words.count(len(held_out))} {data.copying.split} pictures"
    reference = None if held_out is None else held_out.double().numpy()
    svg = plots.distances(own.double().numpy(), reference)
    return CopyingShown(copying_sentences(data), svg, text, [_card(data, i) for i in order])


def copying_sentences(data: ReportData) -> list[str]:
    """The distances in words, with the held-out pictures as their measure."""
    own, held_out = data.copying.nearest.distances[:, 0], data.copying.held_out
    first = f"The median sample is {float(own.median()):.3f} from its nearest training picture."
    if held_out is None:
        return [
            first,
            "There are no held-out pictures to measure this against; prepare the data with "
            "--split 80/10/10.",
        ]
    near = sum(share_nearer(float(d), held_out) <= CONSPICUOUS for d in own)
    return [
        first,
        f"The median of {words.count(len(held_out))} real {data.copying.split} pictures, which "
        f"the model never saw, is {float(held_out.median()):.3f}. A model that copies makes "
        "samples that are far nearer.",
        f"Of the {len(own)} samples {near} {'is' if near == 1 else 'are'} nearer than 95 % of the "
        f"real ones; by chance it would be about {round(CONSPICUOUS * len(own))}.",
    ]


def _card(data: ReportData, i: int) -> Card:
    found, name = data.copying.nearest, f"seed {data.samples.seeds[i]}"
    neighbours = []
    for k in range(found.positions.shape[1]):
        title = f"training picture {words.count(int(found.positions[i, k]))}"
        distance = f"{float(found.distances[i, k]):.3f}"
        alt = f"{title}, {distance} from the sample of {name}"
        shown = picture(data.copying.pictures[i, k], alt)
        neighbours.append(Neighbour(shown, title, distance))
    sample = picture(data.samples.images[i], f"sample, {name}")
    return Card(name, sample, neighbours)
