"""What an evaluation will cost, said before it starts where that is over a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from safelight.console import inform
from safelight.evaluation.network import MICRO_BATCH, Network
from safelight.evaluation.store import Part, extract, images_of
from safelight.images import ImageSource

WORTH_SAYING = 60.0  # seconds
QUICK = 0.2  # seconds
SHARE = 32  # of the images to draw one in so many is drawn to time it, and drawn again


def announce(parts: Sequence[Part]) -> None:
    """Time a few images, and say in one line how long all of them will take, if it is long."""
    if parts and (seconds := expected_seconds(parts)) > WORTH_SAYING:
        inform(f"{told(seconds)}: {_counted(parts)}")


def expected_seconds(parts: Sequence[Part]) -> float:
    """Of drawing these images, and of looking at them with each network that has not.

    A source and a network are timed once each, on at most MICRO_BATCH images.
    """
    sources: dict[str, tuple[ImageSource, list[int]]] = {}
    networks: dict[tuple[str, ...], tuple[Network, ImageSource]] = {}
    for part in parts:
        sources.setdefault(part.source.fingerprint, (part.source, []))[1].extend(part.seeds)
        for network in part.networks:
            networks.setdefault(network.key, (network, part.source))
    drawing = sum(_drawing(source, seeds) * len(seeds) for source, seeds in sources.values())
    looking = {key: _looking(*each) for key, each in networks.items()}
    return drawing + sum(
        len(part.seeds) * looking[network.key] for part in parts for network in part.networks
    )


def told(seconds: float) -> str:
    """ "about 7 minutes", "about 2.5 hours"."""
    minutes = max(round(seconds / 60), 1)
    if minutes > 90:
        return f"about {minutes / 60:.1f} hours"
    return f"about {minutes} minute{'s' if minutes > 1 else ''}"


def _drawing(source: ImageSource, seeds: Sequence[int]) -> float:
    """Seconds for an image."""
    few = seeds[: min(MICRO_BATCH, max(1, len(seeds) // SHARE))]
    return _timed(images_of, source, few) / len(few)


def _looking(network: Network, source: ImageSource) -> float:
    """Seconds for an image. The first batch is not timed: it sets libraries up."""
    blank = torch.zeros(MICRO_BATCH, *source.shape, dtype=torch.uint8)
    extract(network, blank[:1], source)
    return _timed(extract, network, blank, source) / MICRO_BATCH


def _timed(work: Callable[..., object], *arguments: object) -> float:
    """Seconds. What is quick is done again: most of its first time may be for setting up."""

    def once() -> float:
        began = time.perf_counter()
        work(*arguments)
        return time.perf_counter() - began

    first = once()
    return first if first > QUICK else min(first, once(), once())


def _counted(parts: Sequence[Part]) -> str:
    drawn = sum(len(part.seeds) for part in parts if part.source.count is None)
    looked = sum(len(part.seeds) for part in parts)
    if not drawn:
        return f"{looked:,} images to look at"
    return f"{drawn:,} images to draw, {looked:,} to look at"
