"""What a feature network says of some of the pictures, drawn evenly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from safelight.errors import MissingLibrary
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.moments import Floats
from safelight.evaluation.network import Network
from safelight.evaluation.store import features_of
from safelight.profiling.drawn import Positions
from safelight.profiling.view import LEAST_CONTRAST, Visible, thumbnails

NETWORK = "efficientnet-lite0"
SIDE = 8  # pixels of the thumbnails that stand in for it
DIRECTIONS = 50  # principal ones, in which clusters and maps are made
BATCH = 512


@dataclass(frozen=True)
class Looked:
    """Vectors (m, d) of the pictures at `positions`, ascending; equal ones look the same.

    network: whose they are. missing: why they are no network's, in words; else empty.
    """

    positions: Positions
    vectors: Floats
    network: str
    missing: str

    def principal(self) -> Floats:
        """The vectors in their DIRECTIONS of most variance, (m, at most DIRECTIONS), centred.

        A single column of zeros where all are the same.
        """
        centred = self.vectors - self.vectors.mean(0)
        if not centred.any():
            return np.zeros((len(centred), 1))
        most = min(DIRECTIONS, *centred.shape)
        return np.asarray(PCA(most, random_state=0).fit_transform(centred))


def look(source: Visible, positions: Positions, store: Path) -> Looked:
    """The network's features scaled to length 1, so that distance is the angle between them.

    Where the network is not installed the pixels of small thumbnails, which see colours and layout
    and nothing of what is shown.
    """
    try:
        network = FEATURES[NETWORK](Material(source.shape, None, store))
        missing = ""
    except MissingLibrary:
        network, missing = small(source.shape), f"{NETWORK} is not installed"
    (file,) = features_of(source, positions.tolist(), [network], store, BATCH)
    vectors = file[0 : len(file)].astype(np.float64)
    if not missing:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return Looked(positions, vectors, network.name, missing)


def small(shape: tuple[int, int, int]) -> Network:
    """Thumbnails of SIDE pixels a side as features: see `view.thumbnails`."""
    return Network(
        "thumbnails",
        shape[0] * SIDE**2,
        f"{SIDE}x{SIDE}, means of areas",
        f"none: mean 0, mean square 1 above {LEAST_CONTRAST:g} levels of contrast",
        False,
        lambda images: thumbnails(images, SIDE),
    )
