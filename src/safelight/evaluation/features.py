"""The table of feature networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safelight.evaluation.classifier import classifier
from safelight.evaluation.network import Network
from safelight.evaluation.pretrained import efficientnet, inception
from safelight.images import ImageSource

# Labelled training images (for a network trained on the spot) and the store -> a network.
Loader = Callable[[ImageSource | None, Path], Network]

FEATURES: dict[str, Loader] = {
    "inception": lambda train, store: inception(),
    "efficientnet-lite0": lambda train, store: efficientnet(),
    "classifier": lambda train, store: classifier(train, store).network,
}
