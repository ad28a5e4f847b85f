from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from safelight.errors import MissingLibrary
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.network import Network
from safelight.profiling import profile as profiling
from safelight.profiling.looked import NETWORK
from safelight.profiling.profile import Profile, profile
from safelight.reporting.profile import maps
from tests.profiling.caches import write_cache

CLASSES = ("one", "three", "seven")


def _absent(material: Material) -> Network:
    raise MissingLibrary("not installed")


def quicker(patch: pytest.MonkeyPatch) -> None:
    """As where the feature network is not installed, and with few pictures on a small map."""
    patch.setitem(FEATURES, NETWORK, _absent)
    patch.setattr(profiling, "MAPPED", 60)
    patch.setattr(maps, "WIDTH", 330)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the feature network is not installed."""
    quicker(monkeypatch)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Of 360 real handwritten digits, enlarged to 16x16, with nothing wrong with them."""
    held = load_digits()
    chosen = np.concatenate([np.flatnonzero(held.target == d)[:120] for d in (1, 3, 7)])
    levels = np.rint(held.images[chosen] * (255 / 16)).astype(np.uint8)[:, None]
    images = levels.repeat(2, axis=2).repeat(2, axis=3)
    rng = np.random.default_rng(0)
    splits = np.concatenate([rng.permutation(np.repeat([0, 1, 2], [80, 20, 20])) for _ in range(3)])
    folder = tmp_path_factory.mktemp("base")
    cache = write_cache(
        folder / "digits",
        images,
        np.repeat([0, 1, 2], 120),
        CLASSES,
        splits,
        sizes=np.full((360, 2), 16, np.int32),
        names=[f"{i}.png" for i in range(360)],
    )
    with pytest.MonkeyPatch.context() as patch:
        quicker(patch)
        return profile(cache, folder / "store")
